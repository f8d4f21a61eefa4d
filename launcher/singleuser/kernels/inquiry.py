"""What an interpreter says of itself: it is run once, and again only after something has changed."""

from __future__ import annotations

import json
import os
import queue
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

TIMEOUT = 8.0
"""Seconds that an interpreter has to answer."""

_AT_ONCE = 4
_FAILURES_STAY = 600.0
_LONGEST_PROBLEM = 200
_MOST_DIRECTORIES = 20
_MOST_OUTPUT = 65536
_STEP = 0.05

# One line is the answer: what runs at the start of an interpreter may print as well.
_PYTHON = """\
import json, site, sys
from importlib.util import find_spec
has = [name for name in ("ipykernel", "debugpy", "pip", "ensurepip") if find_spec(name)]
users = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
print("")
print(json.dumps({"version": "%d.%d" % sys.version_info[:2], "has": has, "directories": sys.path + users}))
"""
_R = """\
texts <- function(them) paste0(encodeString(them, quote = '"'), collapse = ",")
kernel <- system.file("kernelspec", package = "IRkernel")
version <- paste0(R.version$major, ".", sub("[.].*", "", R.version$minor))
has <- if (nzchar(kernel)) texts("IRkernel") else ""
form <- '\\n{"version": %s, "has": [%s], "directories": [%s], "resources": %s}\\n'
libraries <- c(.libPaths(), path.expand(Sys.getenv("R_LIBS_USER")))
cat(sprintf(form, texts(version), has, texts(libraries), texts(kernel)))
"""


class Question(NamedTuple):
    """Whom to ask.

    Attributes:
        command: The interpreter, and what it is told.
        environment: The environment that it runs in.
    """

    command: tuple[str, ...]
    environment: dict[str, str]

    @classmethod
    def python(cls, program: str, environment: dict[str, str]) -> Question:
        """Return what to ask a Python."""
        return cls((program, "-c", _PYTHON), environment)

    @classmethod
    def r(cls, program: str, environment: dict[str, str]) -> Question:
        """Return what to ask an R."""
        return cls((program, "--slave", "--no-save", "--no-restore", "-e", _R), environment)


class Answer(NamedTuple):
    """What an interpreter said.

    Attributes:
        version: Its version, such as `3.12`, or empty.
        has: Those of the packages that matter here that it can load.
        directories: Where it looks for packages.
        resources: The directory of its kernel's logo, or empty.
        problem: What went wrong, or empty.
    """

    version: str = ""
    has: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    resources: str = ""
    problem: str = ""


Key = tuple[tuple[str, ...], frozenset[tuple[str, str]]]
Stamp = tuple[int, ...]


class Inquiry:
    """Asks interpreters, a few at a time, and remembers their answers."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: dict[Key, tuple[Stamp, float, Answer]] = {}
        self._asked: set[Key] = set()

    def known(self, question: Question) -> Answer | None:
        """Return the answer to a question if it is known and still right."""
        stamp, until, answer = self._answers.get(_key(question), ((), 0.0, None))
        if answer is None or self._clock() > until or stamp != _stamp(question, answer):
            return None
        return answer

    def ask(self, questions: Iterable[Question]) -> None:
        """Ask what is not known, and return when all have answered or had their time."""
        left: queue.SimpleQueue[Question] = queue.SimpleQueue()
        for question in questions:
            if _key(question) not in self._asked and self.known(question) is None:
                self._asked.add(_key(question))
                left.put(question)
        end = time.monotonic() + (TIMEOUT + 2) * -(-left.qsize() // _AT_ONCE)
        # Daemons: what hangs in a file system that hangs must not keep the server from ending.
        workers = [
            threading.Thread(target=self._work, args=(left,), daemon=True)
            for _ in range(min(_AT_ONCE, left.qsize()))
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(max(0.0, end - time.monotonic()))

    def _work(self, left: queue.SimpleQueue[Question]) -> None:
        while True:
            try:
                question = left.get_nowait()
            except queue.Empty:
                return
            try:
                answer = _ask(question)
                until = self._clock() + _FAILURES_STAY if answer.problem else float("inf")
                self._answers[_key(question)] = (_stamp(question, answer), until, answer)
            finally:
                self._asked.discard(_key(question))


def _key(question: Question) -> Key:
    return question.command, frozenset(question.environment.items())


def _stamp(question: Question, answer: Answer) -> Stamp:
    """Return what changes when the interpreter, or the packages that it has, change."""
    program = question.command[0]
    configuration = f"{os.path.dirname(os.path.dirname(program))}/pyvenv.cfg"
    return tuple(_changed(each) for each in (program, configuration, *answer.directories))


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except (OSError, ValueError):
        return 0


def _ask(question: Question) -> Answer:
    try:
        process = subprocess.Popen(
            question.command,
            env=question.environment,
            # Files of the start directory must not come in place of modules.
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # All that it starts ends with it.
            process_group=0,
            bufsize=0,
        )
    except (OSError, ValueError) as error:
        return Answer(problem=f"{getattr(error, 'strerror', None) or error}")
    assert process.stdout
    assert process.stderr
    with process.stdout, process.stderr:
        try:
            return _listen(process.pid, process.stdout.fileno(), process.stderr.fileno())
        finally:
            _end(process)


def _listen(process: int, stdout: int, stderr: int) -> Answer:
    """Return what a process answers, without waiting for its end, nor for that of what it has started."""
    said, complained = bytearray(), bytearray()
    end = time.monotonic() + TIMEOUT
    with selectors.DefaultSelector() as streams:
        streams.register(stdout, selectors.EVENT_READ, said)
        streams.register(stderr, selectors.EVENT_READ, complained)
        while True:
            # Asked before reading: what an ended process has written is there by then.
            code = _exit_code(process)
            ready = streams.select(_STEP if code is None else 0)
            for stream, _ in ready:
                piece = os.read(stream.fd, _MOST_OUTPUT)
                stream.data.extend(piece)
                if not piece:
                    streams.unregister(stream.fd)
                elif stream.fd == stdout and b"\n" in piece and (answer := _said(said)):
                    return answer
            if len(said) + len(complained) > _MOST_OUTPUT:
                return Answer(problem="its output has no end")
            if code is not None and not ready:
                break
            if time.monotonic() > end:
                return Answer(problem=f"no answer within {TIMEOUT:g} seconds")
    if code:
        return Answer(problem=_last(complained)[:_LONGEST_PROBLEM] or f"exit code {code}")
    last = _last(said)
    return _answer(last) if last else Answer(problem="it ended without an answer")


def _exit_code(process: int) -> int | None:
    """Return the exit code of a process, or None while it runs, and leave its number its own."""
    try:
        state = os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        # Where SIGCHLD is ignored, nothing is left of it.
        return 0
    if state is None:
        return None
    return state.si_status if state.si_code == os.CLD_EXITED else -state.si_status


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it has started, and wait no longer than it takes."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=1)
    except (OSError, subprocess.TimeoutExpired):
        pass


def _said(text: bytearray) -> Answer | None:
    """Return the answer if a whole line is one."""
    for line in text.split(b"\n")[:-1]:
        if line.startswith(b"{") and not (answer := _answer(line.decode(errors="replace"))).problem:
            return answer
    return None


def _last(text: bytearray) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


def _answer(text: str) -> Answer:
    try:
        given = json.loads(text)
        return Answer(
            version=str(given["version"]),
            has=tuple(map(str, given["has"])),
            directories=tuple(str(each) for each in given["directories"] if str(each).startswith("/"))[
                :_MOST_DIRECTORIES
            ],
            resources=str(given.get("resources", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Answer(problem=f"an unexpected answer: {text[:_LONGEST_PROBLEM]}")
