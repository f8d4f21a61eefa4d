"""Commands in the files of an image, as a compute node runs them: as anybody, and nothing can be written.

There is no network but a loopback of its own. It takes util-linux, and root or an engine's `unshare`.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.builder import worker

ANYBODY = 23456
"""A number that is no account's, nor any group's."""
_ALONE = "--mount --propagation private --net --ipc --uts --pid --fork --kill-child".split()
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What engines set where an image does not."""
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_WRITABLE = ("tmp", "var/tmp")
_ROOM = "mode=1777,nosuid,nodev,size=1g"
_LARGEST = 64 << 20
"""Bytes of a file, and so of what a command says."""
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
"""<linux/sockios.h>, <linux/if.h>."""
_PR_SET_NO_NEW_PRIVS = 38
"""<linux/prctl.h>."""


def run(
    root: Path, argv: Sequence[str], environment: Mapping[str, str], *, timeout: float
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in the files of an image, and wait for it; its output is returned.

    Args:
        root: The directory of the files.
        argv: The command; it begins in `/`.
        environment: The variables that it has.
        timeout: Seconds that it may take; then it is killed with all that it has started.
    """
    given = json.dumps([str(root), list(argv), {"PATH": _PATH, **environment}])
    with (
        tempfile.TemporaryFile() as told,
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
    ):
        told.write(given.encode())
        told.seek(0)
        process = subprocess.Popen(
            ["unshare", *_ALONE, "--", *worker.python(__name__)],
            stdin=told,
            stdout=output,
            stderr=errors,
            env=worker.environment(),
            start_new_session=True,
        )
        late = ""
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            late = f"It took more than {timeout:.0f} s.\n"
        finally:
            # What it has started ends with it, whatever that has made of itself.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for file in (output, errors):
            file.seek(0)
        return subprocess.CompletedProcess(
            argv, process.returncode, output.read(), errors.read() + late.encode()
        )


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", "-n", *arguments], check=True)


def _prepare(root: str) -> None:
    """Make the directory look like a node's: the files read-only, a few devices, room in memory."""
    _mount("--bind", root, root)
    # Its files may be devices of this machine.
    _mount("-o", "remount,bind,ro,nosuid,nodev", root)
    _mount("-t", "proc", "proc", f"{root}/proc")
    for each in _WRITABLE:
        if Path(root, each).is_dir():
            _mount("-t", "tmpfs", "-o", _ROOM, "tmpfs", f"{root}/{each}")
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", f"{root}/dev")
    for name in _DEVICES:
        device = Path(root, "dev", name)
        device.touch()
        _mount("--bind", f"/dev/{name}", str(device))
    shared = Path(root, "dev", "shm")
    shared.mkdir()
    _mount("-t", "tmpfs", "-o", _ROOM, "tmpfs", str(shared))
    for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        Path(root, "dev", name).symlink_to(f"/proc/self/{target}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def _start(root: str, argv: list[str], environment: dict[str, str]) -> int:
    """Run the command, and return its exit code; all that it starts ends with this process."""
    _prepare(root)
    child = os.fork()
    if not child:
        os.chroot(root)
        os.chdir("/")
        os.setgroups([])
        os.setgid(ANYBODY)
        os.setuid(ANYBODY)
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST, _LARGEST))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execvpe(argv[0], argv, environment)  # noqa: S606 - it is the command that was asked for
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    try:
        sys.exit(_start(*json.load(sys.stdin)))
    except (OSError, subprocess.CalledProcessError) as failure:
        sys.exit(f"{failure}")
