"""A part of a build that runs in a process of its own, in other namespaces.

It reads what it is given from standard input, and tells how far it is on standard output, a JSON object a
line.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from launcher.builder.cache import words
from launcher.builder.progress import Progress
from launcher.errors import BuildFailed, LauncherError, MissingPart

_END = 20.0
"""Seconds that a process has to clean up after itself."""
_ERRORS = {each.__name__: each for each in (BuildFailed, MissingPart)}


def python(module: str) -> list[str]:
    """Return the command that runs a module of the launcher."""
    return [sys.executable, "-P", "-m", module]


def environment() -> dict[str, str]:
    """Return the variables by which such a command finds what this process has."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def call(command: Sequence[str], given: object, progress: Progress, failed: str) -> Any:
    """Run a worker, and return what it answers.

    Args:
        command: What starts it.
        given: What it is given, for JSON.
        progress: Told what the worker tells.
        failed: What to say where it ends without a word.

    Raises:
        LauncherError: The error that ended it: `BuildFailed` or `MissingPart`.
    """
    text = json.dumps(given, default=str)
    answer = None
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
            env={**environment(), "PYTHONHASHSEED": "0"},
            start_new_session=True,
        ) as worker:
            assert worker.stdin
            assert worker.stdout
            try:
                with contextlib.suppress(BrokenPipeError):
                    worker.stdin.write(text)
                    worker.stdin.close()
                for line in worker.stdout:
                    # What a site's own Python may print as it starts is none.
                    with contextlib.suppress(json.JSONDecodeError):
                        told = json.loads(line)
                        if "answer" in told:
                            answer = told["answer"]
                        else:
                            _told(told, progress)
            except BaseException:
                # It writes into what is removed next, and has mounted what it unmounts itself.
                end(worker)
                raise
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    if worker.returncode:
        raise BuildFailed(failed, why=said.strip()[-2000:])
    return answer


def end(process: subprocess.Popen[str]) -> None:
    """End a process that leads a session, with all that it has started; it may clean up."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_END)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def serve(work: Callable[[Any, Progress], Any], failed: str) -> int:
    """Be a worker; return the exit code.

    Args:
        work: What is done with what is given; what it returns is the answer.
        failed: What to say where the system refuses something.
    """
    os.umask(0o022)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _tell(answer=work(json.load(sys.stdin), _Telling()))
    except LauncherError as error:
        kind = type(error).__name__ if type(error).__name__ in _ERRORS else BuildFailed.__name__
        _tell(error=kind, what=error.what, why=error.why, todo=error.todo)
        return 1
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        _tell(error=BuildFailed.__name__, what=failed, why=words(error), todo="")
        return 1
    return 0


def _told(message: dict[str, Any], progress: Progress) -> None:
    """Hand on what the worker says."""
    if "error" in message:
        raise _ERRORS.get(message["error"], BuildFailed)(
            message["what"], why=message["why"], todo=message["todo"]
        )
    getattr(progress, message["call"])(*message["arguments"])


class _Telling:
    """Progress that is told to the process outside."""

    def step(self, text: str) -> None:
        _tell(call="step", arguments=[text])

    def advance(self, done: int, total: int) -> None:
        _tell(call="advance", arguments=[done, total])

    def note(self, text: str) -> None:
        _tell(call="note", arguments=[text])


def _tell(**message: Any) -> None:
    print(json.dumps(message, default=str), flush=True)  # noqa: T201 - it is how the two processes talk
