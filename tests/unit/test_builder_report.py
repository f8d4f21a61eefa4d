"""How a `verify` is listened to, and what is told of it."""

import json
import subprocess

import pytest

from launcher.builder.report import Check, Report, answers, last_lines

SCRIPT = "meta/recipe/verify"
GOOD = b'{"name": "a", "ok": true, "text": "b"}\n'


def answered(output, code=0, errors=b""):
    """Return what a `verify` is taken for that prints and ends so."""
    return answers(subprocess.CompletedProcess([], code, output, errors), SCRIPT)


def test_lines_become_checks():
    begin = b'{"known": ["*.pem", "a\\u0000b"], "checks": 1}\n'
    assert answered(begin + GOOD) == ([Check("a", ok=True, text="b")], ("*.pem",))


@pytest.mark.parametrize("count", [b"2", b"0", b"null", b'"1"'])
def test_checks_that_are_missing_have_failed(count):
    checks, _ = answered(b'{"known": [], "checks": ' + count + b"}\n" + GOOD)
    assert [each.ok for each in checks] == [True, False]


@pytest.mark.parametrize("first", [b'{"known": 3, "checks": 1}\n', b'{"known": null, "checks": 1}\n'])
def test_what_is_known_must_be_a_list(first):
    assert answered(first + GOOD)[1] == ()


@pytest.mark.parametrize(
    ("output", "code", "words"),
    [
        (b"", 0, "checked nothing"),
        (GOOD, 1, "ended with 1"),
        (GOOD, -11, "ended with -11"),
        (b"", 1, "ended with 1.\nlast words"),
        (b"hello\n" + GOOD, 0, "no check: hello"),
        (b'{"name": "a"}\n', 1, "no check"),
        (b'{"name": "a", "ok": 1}\n', 1, ""),
        (b"[" * 100_000, 1, "no check"),
    ],
)
def test_a_verify_that_is_silent_or_breaks_has_failed(output, code, words):
    report = Report(tuple(answered(output, code, b"last words")[0]), ran=True, seconds=1)
    assert not report.ok
    assert words in "\n".join(each.text for each in report.checks)
    assert json.dumps(report.plain())


def test_what_an_image_says_is_told_in_few_plain_lines():
    told = Check("\x1b[2Jname", ok=False, text="\x1b]0;title\x07\n\ud800\n" + "line\n" * 100).printable()
    assert (told.name + told.text.replace("\n", "")).isprintable()
    assert len(told.text.splitlines()) == 20


def test_only_what_failed_is_an_objection():
    checks = (Check("one", ok=True, text="fine"), Check("two", ok=False, text="No."))
    report = Report(checks, ran=True, seconds=1)
    assert (report.ok, report.objections) == (False, "two: No.")
    assert Report(checks[:1], ran=True, seconds=1).ok


def test_of_what_a_program_has_said_the_end_is_kept():
    text = "\n".join(map(str, range(20))).encode() + b"\xff\n"
    assert last_lines(text).splitlines() == [*map(str, range(12, 19)), "19\ufffd"]
