"""The cache: nothing half-made gets a name, and who is killed is in nobody's way."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from quiet import Silent

from launcher.builder.cache import cache_directory, kept, made, words, work_directory

KEY = "0" * 64
HOLDS = """
import sys, time
from pathlib import Path
from unittest.mock import Mock
from launcher.builder.cache import made, work_directory
with work_directory(Path(sys.argv[1]), "0" * 64, Mock()) as own, made(own / "step") as aside:
    aside.write_text("half")
    print("ready", flush=True)
    time.sleep(600)
"""


class Notes(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def holder(tmp_path):
    """Another process that is in the middle of a step of the same build."""
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


def test_a_digest_that_is_none_is_taken_for_another(tmp_path):
    step = tmp_path / "step"
    step.write_text("done")
    (tmp_path / "step.digest").write_bytes(b"\xff")
    assert not kept(step, lambda _: "digest")
    assert not step.exists()


@pytest.mark.parametrize("make", ["file", "directory"])
def test_what_is_made_appears_as_a_whole(tmp_path, make):
    path = tmp_path / "below/thing"
    with made(path) as aside:
        if make == "file":
            aside.write_text("whole")
        else:
            aside.mkdir()
            (aside / "inner").write_text("whole")
        assert not path.exists()
        assert aside.parent == path.parent
    assert (path if make == "file" else path / "inner").read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def _half(path, error):
    path.write_text("half")
    raise error


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, SystemExit])
def test_what_fails_leaves_what_was_there_and_nothing_else(tmp_path, error):
    path = tmp_path / "thing"
    path.write_text("before")
    with pytest.raises(error), made(path) as aside:
        _half(aside, error)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["before"]


def test_a_file_is_replaced_and_a_directory_of_another_process_stays(tmp_path):
    path = tmp_path / "thing"
    path.write_text("before")
    with made(path) as aside:
        aside.write_text("after")
    assert path.read_text() == "after"
    with made(tmp_path / "tree") as aside:
        aside.mkdir()
        (tmp_path / "tree").mkdir()
        (tmp_path / "tree/others").touch()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["thing", "tree"]
    assert (tmp_path / "tree/others").exists()


def test_a_build_goes_on_where_the_one_before_failed(tmp_path):
    with pytest.raises(ZeroDivisionError), work_directory(tmp_path, KEY, Silent()) as own:
        _half(own / "step", ZeroDivisionError)
    with work_directory(tmp_path, KEY, Silent()) as again:
        assert (again / "step").exists()


def test_two_builds_of_the_same_take_turns_and_the_second_says_that_it_waits(tmp_path, holder):
    progress = Notes()
    entered = threading.Event()

    def second():
        with work_directory(tmp_path, KEY, progress):
            entered.set()

    thread = threading.Thread(target=second)
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while not progress.notes and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not entered.is_set()
    finally:
        holder.kill()
        thread.join(30)
    assert entered.is_set()
    assert progress.notes == ["Waiting: another process builds the same image."]


def test_another_build_does_not_wait(tmp_path, holder):
    progress = Notes()
    with work_directory(tmp_path, "1" * 64, progress):
        assert progress.notes == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_who_is_killed_leaves_no_lock_and_nothing_half_made(tmp_path, holder, number):
    holder.send_signal(number)
    holder.wait()
    progress = Notes()
    with work_directory(tmp_path, KEY, progress) as own:
        assert list(own.iterdir()) == []
    assert progress.notes == []


def test_work_of_long_ago_is_removed_unless_somebody_is_at_it(tmp_path, holder):
    old = time.time() - 8 * 86400
    for name in ("a" * 64, "b" * 64):
        (tmp_path / "work" / name / "tree").mkdir(parents=True)
        (tmp_path / "work" / f"{name}.lock").touch()
    for name in ("a" * 64, KEY):
        os.utime(tmp_path / "work" / name, (old, old))
        os.utime(tmp_path / "work" / f"{name}.lock", (old, old))
    with work_directory(tmp_path, "c" * 64, Silent()):
        there = {each.name for each in (tmp_path / "work").iterdir()}
    kept = ("b" * 64, KEY, "c" * 64)
    assert there == {*kept, *(f"{name}.lock" for name in kept)}


def test_who_waits_for_a_lock_that_is_removed_meanwhile_takes_the_new_one(tmp_path, holder):
    lock = tmp_path / f"work/{KEY}.lock"
    progress = Notes()
    progress.note = lambda _: (lock.unlink(), holder.kill())
    with work_directory(tmp_path, KEY, progress):
        assert lock.exists()
        with lock.open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_cache_is_the_one_named_or_the_users_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAUNCHER_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/alice")
    assert str(cache_directory()) == "/home/alice/.cache/firecrest-launcher"
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert str(cache_directory()) == "/caches/firecrest-launcher"
    monkeypatch.setenv("LAUNCHER_CACHE", "own")
    assert cache_directory() == tmp_path / "own"
    assert cache_directory(tmp_path / "given") == tmp_path / "given"


def test_what_the_system_refuses_is_said_in_words(tmp_path):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/scratch/tree")
    assert words(full) == "No space left on device: /scratch/tree."
    assert words(OSError("odd")) == "odd."
    with pytest.raises(OSError) as error:
        shutil.copytree(tmp_path / "none", tmp_path / "to")
    assert words(error.value) == f"No such file or directory: {tmp_path / 'none'}."
    many = shutil.Error([("/from/a", "/to/a", "No space left on device"), ("/from/b", "/to/b", "too")])
    assert words(many) == "No space left on device: /to/a."
