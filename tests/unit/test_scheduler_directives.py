"""What a batch script asks for."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scheduler_spec import REFUSALS

from launcher.sandbox.scheduler import SubmitRefused
from launcher.sandbox.scheduler.directives import read


def asked(*lines: str, **options: str):
    return read("\n".join(["#!/bin/bash", *(f"#SBATCH {line}" for line in lines), "true", ""]), options)


def test_a_script_that_asks_for_nothing():
    found = asked()
    assert found.interpreter == ("/bin/bash",)
    assert (found.name, found.partition, found.project, found.working_directory) == ("sbatch", None, "", None)
    assert (found.nodes, found.limit, found.signal) == (1, None, None)
    assert (found.standard_input, found.standard_output, found.standard_error) == (None, None, None)


def test_the_templates_options():
    found = asked(
        "--job-name='my job'",
        "--output=%x-%j.log --error=%j.err",
        "--time=1:00:00",
        "--chdir=/tmp",
        "--partition=debug",
        "--nodes=1-2",
        "--no-requeue",
        "--signal=B:USR1@90",
        "--account=proj",
    )
    assert (found.name, found.partition, found.project) == ("my job", "debug", "proj")
    assert (found.standard_output, found.standard_error) == ("%x-%j.log", "%j.err")
    assert (found.working_directory, found.nodes, found.limit) == ("/tmp", 1, 3600)
    assert (found.signal, found.signal_time) == ("USR1", 90)


def test_short_and_shortened_options():
    found = asked("-J one -pdebug -t 5 -N2", "--job-n two --parti=normal -t10")
    assert (found.name, found.partition, found.limit, found.nodes) == ("two", "normal", 600, 2)


def test_options_that_plain_processes_can_not_give_are_taken():
    asked(
        "--mem=4G --cpus-per-task 4 --gres=gpu:1 --exclusive --nice=3 -H --hint=nomultithread --mail-type=END"
    )


def test_the_command_line_wins():
    found = asked("--job-name=script", **{"job-name": "given"})
    assert found.name == "given"


def test_no_limit_at_all():
    assert asked("--time=UNLIMITED").limit == math.inf


@pytest.mark.parametrize(
    ("text", "signal", "time"),
    [
        ("B:USR1", "USR1", 60),
        ("B:SIGUSR2@30", "USR2", 30),
        ("B:10@5", "USR1", 5),
        ("RB:TERM@5", "TERM", 5),
        ("USR1@60", None, 60),
        ("R:USR1@60", None, 60),
    ],
)
def test_only_a_signal_for_the_batch_shell_is_one(text, signal, time):
    found = asked(f"--signal={text}")
    assert (found.signal, found.signal_time) == (signal, time)


@pytest.mark.parametrize("text", ["B:", "@60", "B:USR1@", "B:USR1@x", "X:USR1", "B:99", "B:USR9"])
def test_a_signal_that_is_none_is_refused(text):
    with pytest.raises(SubmitRefused, match="Invalid --signal specification"):
        asked(f"--signal={text}")


def test_an_interpreters_argument_is_kept_whole():
    assert read("#! /usr/bin/env -S bash -l\n", {}).interpreter == ("/usr/bin/env", "-S bash -l")


def test_directives_stand_between_blank_lines_and_comments():
    script = (
        "#!/bin/bash\n\n# words\n#SBATCH -J one # words\n  # indented\n#SBATCH -t 5\n\necho\n#SBATCH -J two\n"
    )
    found = read(script, {})
    assert (found.name, found.limit) == ("one", 300)


def test_an_empty_script_is_refused():
    with pytest.raises(SubmitRefused, match="Batch script is empty!"):
        read("", {})


@pytest.mark.parametrize("case", [case for case in REFUSALS if case != "partition"])
def test_a_refusal_has_sbatchs_words_and_exit_status(case):
    script, exit_status, words = REFUSALS[case]
    with pytest.raises(SubmitRefused) as refused:
        read(script, {})
    assert (str(refused.value), refused.value.exit_status) == (words, exit_status)


def test_a_short_option_without_its_value_is_refused():
    with pytest.raises(SubmitRefused, match="option requires an argument -- 't'"):
        asked("-t")


@given(st.lists(st.text(st.characters(exclude_characters="\n\r")), max_size=4))
def test_any_other_text_is_taken_or_refused(lines):
    with contextlib.suppress(SubmitRefused):
        asked(*lines)
