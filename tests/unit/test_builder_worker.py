"""A part of a build in a process of its own: what it is given and tells, how it fails, and how it ends."""

import json
import os
import subprocess
import sys

import pytest
from quiet import Silent

from launcher.builder import worker
from launcher.errors import BuildFailed, MissingPart, UsageError

FAILED = "It could not be done."
SERVES = """\
import sys
from launcher.builder import worker
from launcher.errors import BuildFailed, MissingPart, UsageError

def work(given, progress):
    {}

sys.exit(worker.serve(work, "Not done."))
"""


class Told(Silent):
    """Progress that remembers."""

    def __init__(self):
        self.told = []

    def step(self, text):
        self.told.append(text)

    def advance(self, done, total):
        self.told.append((done, total))

    def note(self, text):
        self.told.append(f"({text})")


def served(work, given=None, progress=None):
    """Have a process of this project's do some lines of Python; return its answer."""
    code = SERVES.format("\n    ".join(work.splitlines()))
    return worker.call([sys.executable, "-P", "-c", code], given, progress or Silent(), FAILED)


def shell(script, progress=None):
    return worker.call(["sh", "-c", script], None, progress or Silent(), FAILED)


def test_it_answers_what_it_makes_of_what_it_is_given():
    assert served("return [given['a'], len(given['b'])]", {"a": "ä\n", "b": "x" * 200_000}) == [
        "ä\n",
        200_000,
    ]


def test_it_tells_how_far_it_is():
    progress = Told()
    served("progress.step('a')\nprogress.advance(1, 2)\nprogress.note('b')", progress=progress)
    assert progress.told == ["a", (1, 2), "(b)"]


def test_what_it_makes_nobody_else_can_write_to(tmp_path):
    old = os.umask(0)
    try:
        served("open(given, 'w').close()", tmp_path / "file")
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("kind", [BuildFailed, MissingPart])
def test_its_errors_are_those_of_the_build(kind):
    with pytest.raises(kind) as error:
        served(f"raise {kind.__name__}('No.', why='Because.', todo='Go.')")
    assert (error.value.what, error.value.why, error.value.todo) == ("No.", "Because.", "Go.")


def test_another_error_is_a_build_that_failed():
    assert not issubclass(UsageError, BuildFailed)
    with pytest.raises(BuildFailed) as error:
        served("raise UsageError('No.')")
    assert error.value.what == "No."


def test_what_the_system_refuses_is_said_in_words():
    with pytest.raises(BuildFailed) as error:
        served("open('/nowhere/x')")
    assert (error.value.what, error.value.why) == ("Not done.", "No such file or directory: /nowhere/x.")


@pytest.mark.parametrize(
    "script", ["exec <&-; echo mount failed >&2; exit 32", "echo mount failed >&2; kill $$"]
)
def test_one_that_ends_without_a_word_has_failed(script):
    with pytest.raises(BuildFailed, match=FAILED) as error:
        shell(script)
    assert error.value.why == "mount failed"


def test_what_a_site_prints_as_python_starts_is_no_answer():
    assert shell("""cat; echo welcome; echo '{"answer": 1}'""") == 1


def test_its_python_takes_no_module_of_the_directory_that_it_runs_in(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('taken')")
    monkeypatch.chdir(tmp_path)
    done = subprocess.run(
        [*worker.python("json.tool"), "--compact"], input="{}", capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("{}\n", "")


def test_what_it_says_beside_its_answer_never_holds_it_up():
    assert served("sys.stderr.write('x' * 1_000_000)\nreturn 1") == 1


class Interrupted(Silent):
    """A person who interrupts the build."""

    def step(self, text):
        raise KeyboardInterrupt


def has_ended(path):
    """Tell whether the process is gone whose number is in a file."""
    try:
        os.kill(int(path.read_text()), 0)
    except ProcessLookupError:
        return True
    return False


def test_an_interrupted_build_takes_it_along(tmp_path):
    step = json.dumps({"call": "step", "arguments": ["x"]})
    with pytest.raises(KeyboardInterrupt):
        shell(f"echo $$ >{tmp_path}/pid; echo '{step}'; exec sleep 600", Interrupted())
    assert has_ended(tmp_path / "pid")


CLEANS = """\
import pathlib, subprocess
given = pathlib.Path(given)
try:
    progress.step("x")
    subprocess.run(["sleep", "600"])
finally:
    (given / "cleaned").touch()
"""


def test_one_that_is_interrupted_cleans_up_before_the_build_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        served(CLEANS, tmp_path, Interrupted())
    assert (tmp_path / "cleaned").exists()


STAYS = """\
import os, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(given).write_text(str(os.getpid()))
progress.step("x")
time.sleep(600)
"""


def test_one_that_does_not_end_when_it_should_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "_END", 0.05)
    with pytest.raises(KeyboardInterrupt):
        served(STAYS, tmp_path / "pid", Interrupted())
    assert has_ended(tmp_path / "pid")
