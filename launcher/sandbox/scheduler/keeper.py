"""Runs one command, and ends with it everything that came of it.

A program of its own, standard library only. Linux makes it the parent of every orphan among its descendants
(PR_SET_CHILD_SUBREAPER), so what left its session or became a daemon is still found by its parents, where
slurmstepd would ask a cgroup. On its standard input it gets

* an `Order` as one line of JSON: not in the argument list, which every user of the machine can read;
* then lines that name a signal for the command itself, such as `USR1`;
* then the end of the input, which it also gets when the process that started it dies: all processes get
  SIGCONT and SIGTERM, and SIGKILL after the order's `kill_wait` seconds.

When the command has ended, whatever is left gets SIGKILL. The keeper then ends as the command did: by the
same exit status or by the same signal, or by `LAUNCH_FAILURE` if it could not be started.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn, TypedDict

LAUNCH_FAILURE = 53
"""The "signal" by which a command ends that could not be started; slurmstepd's number for it."""
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None)


class Order(TypedDict):
    """What to run, and as whom; null stands for the keeper's own user, group and groups."""

    command: list[str]
    environment: dict[str, str]
    uid: int | None
    gid: int | None
    groups: list[int] | None
    kill_wait: float


def main() -> NoReturn:
    """Keep one command until nothing of it is left."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    order: Order = json.loads(sys.stdin.readline())
    try:
        command = subprocess.Popen(
            order["command"],
            env=order["environment"],
            user=order["uid"],
            group=order["gid"],
            extra_groups=order["groups"],
            umask=0o022,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            # Safe: there is one thread so far. Done after the change of user, which would undo it.
            preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM),  # noqa: PLW1509
        )
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        _end_like(LAUNCH_FAILURE)
    threading.Thread(target=_obey, args=(os.pidfd_open(command.pid), order["kill_wait"]), daemon=True).start()
    status = None
    while status is None:
        pid, ended = os.waitpid(-1, 0)
        status = ended if pid == command.pid else None
    while _signal_descendants(signal.SIGKILL):
        _reap()
        time.sleep(0.01)
    _reap()
    _end_like(status)


def _obey(command: int, kill_wait: float) -> None:
    for line in sys.stdin:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(command, signal.Signals[f"SIG{line.strip()}"])
    _signal_descendants(signal.SIGCONT)
    _signal_descendants(signal.SIGTERM)
    time.sleep(kill_wait)
    _signal_descendants(signal.SIGKILL)


def _signal_descendants(number: signal.Signals) -> int:
    """Signal every living descendant, and tell how many took it."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name in brackets may hold anything, brackets and blanks too: read from its end.
            state, parent = stat.read_bytes().rpartition(b")")[2].split()[:2]
            if state not in (b"Z", b"X"):
                parents[int(stat.parent.name)] = int(parent)
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    signalled = 0
    for pid in found - {os.getpid()}:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
            signalled += 1
    return signalled


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _end_like(status: int) -> NoReturn:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
