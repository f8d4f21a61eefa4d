"""Commands in the files of an image, as a compute node runs them: as anybody, and nothing can be written.

There is no network but a loopback of its own. It takes util-linux, and root or an engine's `unshare`.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.builder.worker import python

ANYBODY = 23456
"""A number that is no account's, nor any group's."""
_ALONE = "--mount --propagation private --net --ipc --uts --pid --fork --kill-child".split()
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What engines set where an image does not."""
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_WRITABLE = ("tmp", "var/tmp")
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
    process = subprocess.Popen(
        ["unshare", *_ALONE, "--", *python(__name__), given],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        said = f"It took more than {error.timeout:.0f} s."
        return subprocess.CompletedProcess(argv, -9, output, said.encode())
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return subprocess.CompletedProcess(argv, process.returncode, output, errors)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", "-n", *arguments], check=True)


def _prepare(root: str) -> None:
    """Make the directory look like a node's: the files read-only, a few devices, room in memory."""
    _mount("--bind", root, root)
    _mount("-o", "remount,bind,ro,nosuid", root)
    _mount("-t", "proc", "proc", f"{root}/proc")
    for each in _WRITABLE:
        if Path(root, each).is_dir():
            _mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", f"{root}/{each}")
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", f"{root}/dev")
    for name in _DEVICES:
        device = Path(root, "dev", name)
        device.touch()
        _mount("--bind", f"/dev/{name}", str(device))
    shared = Path(root, "dev", "shm")
    shared.mkdir()
    _mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", str(shared))
    for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        Path(root, "dev", name).symlink_to(f"/proc/self/{target}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def _become(root: str, argv: list[str], environment: dict[str, str]) -> None:
    _prepare(root)
    os.chroot(root)
    os.chdir("/")
    os.setgroups([])
    os.setgid(ANYBODY)
    os.setuid(ANYBODY)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.execvpe(argv[0], argv, environment)  # noqa: S606 - it is the command that was asked for


if __name__ == "__main__":
    try:
        _become(*json.loads(sys.argv[1]))
    except (OSError, subprocess.CalledProcessError) as failure:
        sys.exit(f"{failure}")
