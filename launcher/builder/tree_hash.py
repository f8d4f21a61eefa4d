"""One SHA-256 for a whole directory."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from launcher.errors import BuildFailed


def tree_hash(directory: Path) -> str:
    """Return the SHA-256 of what a directory holds, in hexadecimal digits.

    Path, kind, whether it can be executed, the target of links, and content count for each file; times,
    owners and other permissions don't.

    Raises:
        BuildFailed: If it holds something that is no file, directory or link, or if something can't be read.
    """
    whole = hashlib.sha256()
    try:
        for name, path in sorted(_below(os.fsencode(directory), b"")):
            # Neither a path nor a target can hold a NUL.
            whole.update(b"\0".join((name, *_facts(path))) + b"\0\n")
    except OSError as error:
        raise BuildFailed(f"{error.filename} can't be read.", why=f"{error.strerror}.") from None
    return whole.hexdigest()


def _below(directory: bytes, name: bytes) -> Iterator[tuple[bytes, bytes]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            inner = name + entry.name
            yield inner, entry.path
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path, inner + b"/")


def _facts(path: bytes) -> tuple[bytes, bytes]:
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        return b"link", os.readlink(path)  # noqa: PTH115 - bytes name it, whatever they are
    if stat.S_ISDIR(mode):
        return b"directory", b""
    if not stat.S_ISREG(mode):
        raise BuildFailed(f"{os.fsdecode(path)} is neither a file, a directory nor a link.")
    with open(path, "rb") as stream:  # noqa: PTH123 - bytes name it, whatever they are
        content = hashlib.file_digest(stream, "sha256").hexdigest().encode()
    return b"program" if mode & stat.S_IXUSR else b"file", content
