"""The session's private directory: kernels' sockets and connection files, and what its programs must find."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import stat
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from launcher.errors import PreflightFailed

_MEMORY, _TEMPORARY = "/dev/shm", "/tmp"  # noqa: S108 - a new directory is made there, with a name of its own
"""Where each node has something of its own."""

_LONGEST_SOCKET = f"kernel-{'0' * 36}-ipc-5"
"""The longest name of a socket there: those of kernels are named after connection files. A whole path has
at most 107 bytes: unix(7)."""

_LOCK, _MAKING = "lock", ".lock"
"""The file by whose lock a directory is known to be in use; the second until all has been tried."""

_LONG_MADE = 60.0
"""Seconds after which a directory that is still being made is one whose maker was killed."""

_SOME = b"\0" * 16384


class PrivateDirectory:
    """A new directory that only its owner may enter, and that ends with the `with` block.

    It is Jupyter's runtime directory: sockets and locks work there, and no other user reaches what it holds.

    Attributes:
        path: Its path.

    Args:
        environment: That of the user's programs. It is made where its `JUPYTER_RUNTIME_DIR` is, if that is
            fit, else on the node itself.

    Raises:
        PreflightFailed: If there is no place for it.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        wanted = environment.get("JUPYTER_RUNTIME_DIR", "")
        # The login manager empties the last at the end of its user's last log-in, which a job is not.
        usual = (_MEMORY, _TEMPORARY, environment.get("TMPDIR", ""), environment.get("XDG_RUNTIME_DIR", ""))
        tried: dict[str, str] = {}
        for place in filter(os.path.isabs, (wanted, *usual)):
            if place in tried:
                continue
            self.path = f"{place.rstrip('/')}/launcher-{os.getuid()}-{os.urandom(4).hex()}"
            try:
                self._lock = _made(self.path)
            except OSError as error:
                tried[place] = error.strerror or str(error)
                continue
            except BaseException:
                # A signal's handler may raise anywhere.
                _remove(self.path)
                raise
            if wanted in tried:
                _say(f"JUPYTER_RUNTIME_DIR {wanted} is not fit ({tried[wanted]}), {place} is used")
            return
        raise PreflightFailed(
            "There is no place for the sockets of kernels on this node.",
            why=f"{'; '.join(f'{place}: {problem}' for place, problem in tried.items())}.",
            todo="Press Start again to get another node, or tell the site's support.",
        )

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove it with all that is in it, and what killed sessions have left beside it."""
        _remove(self.path)
        os.close(self._lock)
        if (place := os.path.dirname(self.path)) in (_MEMORY, _TEMPORARY):
            _tidy(place)


def _made(path: str) -> int:
    """Make a directory and try what it is for; return the open file by whose lock it is known to be in use.

    Raises:
        OSError: If it is not fit; then it is gone again.
    """
    above = os.stat(os.path.dirname(path)).st_mode
    if above & (stat.S_IWGRP | stat.S_IWOTH) and not above & stat.S_ISVTX:
        raise OSError("others may rename what is there")
    os.mkdir(path, 0o700)
    lock = -1
    try:
        lock = os.open(f"{path}/{_MAKING}", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        _try(path, lock)
        # Whoever finds it under its name finds it locked.
        os.rename(f"{path}/{_MAKING}", f"{path}/{_LOCK}")
    except OSError:
        if lock >= 0:
            os.close(lock)
        _remove(path)
        raise
    return lock


def _try(path: str, lock: int) -> None:
    made = os.lstat(path)
    if made.st_uid != os.geteuid() or made.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise OSError("others may enter directories there")
    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if os.write(lock, _SOME) < len(_SOME):
        raise OSError(os.strerror(errno.ENOSPC))
    with socket.socket(socket.AF_UNIX) as kernel:
        kernel.bind(f"{path}/{_LONGEST_SOCKET}")
    os.unlink(f"{path}/{_LONGEST_SOCKET}")


def _tidy(place: str) -> None:
    """Remove what killed sessions of this user have left in a place that no other node shares."""
    own = re.compile(rf"launcher-{os.getuid()}-[0-9a-f]{{8}}")
    try:
        names = os.listdir(place)
    except OSError:
        return
    for path in (f"{place}/{name}" for name in names if own.fullmatch(name)):
        try:
            made = os.lstat(path)
            if made.st_uid != os.getuid():
                continue
            # Before it is locked, its maker must not find that somebody else was faster.
            making = os.path.lexists(f"{path}/{_MAKING}") and time.time() > made.st_mtime + _LONG_MADE
            lock = os.open(f"{path}/{_MAKING if making else _LOCK}", os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            # Not ours, or only now being made.
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass  # its session lives
        else:
            _remove(path)
        os.close(lock)


def _remove(path: str) -> None:
    import shutil  # noqa: PLC0415 - a start does without it

    shutil.rmtree(path, ignore_errors=True)


def _say(text: str) -> None:
    print(f"launcher-singleuser: {text}", file=sys.stderr, flush=True)
