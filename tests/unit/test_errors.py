"""One tree of errors: what happened, why, what to do next, and an exit code."""

import inspect
import re

import pytest

from launcher import errors
from launcher.errors import (
    FirecrestError,
    InvalidFile,
    InvalidOptions,
    JobRejected,
    LauncherError,
    LaunchError,
)

CLASSES = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, Exception)]


def test_an_error_says_what_happened_why_and_what_to_do_line_by_line():
    error = LauncherError("It broke.", why="The disk is full.", todo="Delete something.")
    assert (error.what, error.why, error.todo) == ("It broke.", "The disk is full.", "Delete something.")
    assert str(error) == "It broke.\nThe disk is full.\nDelete something."


def test_what_is_not_known_takes_no_line():
    assert str(LauncherError("It broke.", todo="Try again.")) == "It broke.\nTry again."
    assert str(LauncherError("It broke.")) == "It broke."


def test_every_error_is_in_the_one_tree():
    assert all(issubclass(each, LauncherError) for each in CLASSES)


def test_no_two_errors_share_an_exit_code():
    codes = [each.exit_code for each in CLASSES]
    assert len(set(codes)) == len(codes)


def test_exit_codes_are_those_of_the_tree_in_the_modules_docstring():
    shown = dict(re.findall(r"(\w+) +(\d+)(?= |$)", str(errors.__doc__), re.MULTILINE))
    assert shown == {each.__name__: str(each.exit_code) for each in CLASSES}


def test_an_exit_code_is_none_that_a_shell_gives_a_meaning():
    assert all(0 < each.exit_code < 126 for each in CLASSES)


def test_what_ends_a_launch_on_a_node_has_a_code_from_20_on():
    assert all(each.exit_code >= 19 for each in CLASSES if issubclass(each, LaunchError))
    assert all(each.exit_code < 19 for each in CLASSES if not issubclass(each, LaunchError))


def test_all_problems_of_a_file_come_at_once():
    error = InvalidFile(["a.yaml:1: name: missing", "a.yaml:3: ports: wrong"])
    assert error.problems == ["a.yaml:1: name: missing", "a.yaml:3: ports: wrong"]
    assert str(error) == "a.yaml:1: name: missing\na.yaml:3: ports: wrong"


def test_wrong_options_are_told_by_field():
    error = InvalidOptions({"time": "must be shorter", "": "Use the form."})
    assert error.fields == {"time": "must be shorter", "": "Use the form."}
    assert str(error) == "time: must be shorter; Use the form."


@pytest.mark.parametrize("kind", [FirecrestError, JobRejected])
def test_a_refusal_of_firecrest_keeps_its_status(kind):
    assert kind("No.", why="busy", status=503).status == 503
    assert kind("No answer.").status is None
