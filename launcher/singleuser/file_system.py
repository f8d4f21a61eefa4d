"""File systems: whether one takes what is written, what lies where, and what to call it in words."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from typing import NamedTuple

from launcher.view import is_below

_PROBE = b"\0" * 16384
_ENOUGH = 16 * 1024 * 1024
"""Bytes: a file system with more room than this is not full."""

_ESCAPED = re.compile(r"\\([0-7]{3})")


class FileSystem(NamedTuple):
    """A mounted file system.

    Attributes:
        mount: Where it is mounted.
        kind: Its type, such as `nfs4`.
    """

    mount: str
    kind: str

    @classmethod
    def of(cls, path: str) -> FileSystem | None:
        """Return the one in which a path lies, which need not be there, or None where that can't be told."""
        real = os.path.realpath(path)
        found = [each for each in mounts() if is_below(real, each.mount)]
        # Of two at the same place the later one hides the earlier.
        return max(reversed(found), key=lambda each: len(each.mount), default=None)

    def __str__(self) -> str:
        return f"{self.mount} ({self.kind})"


def mounts() -> Iterator[FileSystem]:
    """Yield what is mounted, in the order in which it was: proc_pid_mountinfo(5)."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            for line in table:
                fields = line.split(" ")
                mount = _ESCAPED.sub(lambda code: chr(int(code[1], 8)), fields[4])
                yield FileSystem(mount, fields[fields.index("-", 6) + 1])
    except (OSError, ValueError, IndexError):
        return


def read(path: str, most: int) -> bytes:
    """Return how a regular file begins.

    Args:
        path: Where it is.
        most: How many bytes to read.

    Raises:
        OSError: If it can't be read, or is not a regular file.
    """
    # Opening a pipe that nobody writes to would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file.")
        return file.read(most)


def write_somewhere(directory: str) -> None:
    """Write a few KiB to a directory, and leave nothing behind.

    Raises:
        OSError: What hinders that. Of a quota, some file systems tell only when a file is synchronised or
            closed.
    """
    file = _nameless(directory)
    try:
        left = _PROBE
        while left:
            left = left[os.write(file, left) :]
        os.fsync(file)
    except OSError:
        os.close(file)
        raise
    os.close(file)


def _nameless(directory: str) -> int:
    """Return an open file that no directory shows."""
    try:
        return os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o600)
    except OSError:
        # NFS and others have no such files: what hinders an ordinary one is what counts.
        path = f"{directory}/.launcher-{os.urandom(8).hex()}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.unlink(path)
    except OSError:
        os.close(file)
        raise
    return file


def why(error: OSError, directory: str) -> str:
    """Return in a sentence why a directory takes nothing, with its file system and the room that is there."""
    said = f"{error.strerror or error}."
    system = FileSystem.of(directory)
    if system is None:
        return said
    where = f"{said} It is on {system}"
    if error.errno != errno.ENOSPC:
        return f"{where}."
    try:
        free = os.statvfs(directory)
    except OSError:
        return f"{where}."
    room = free.f_bavail * free.f_frsize
    if free.f_files and not free.f_favail:
        return f"{where}, which has no room for one more file."
    if room > _ENOUGH:
        return f"{where}, which has {_size(room)} free: your own share of it may be used up."
    return f"{where}, which has {_size(room)} free."


def _size(count: int) -> str:
    """Return a number of bytes as people say it."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
