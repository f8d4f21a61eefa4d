"""The files that a Python is made of, wherever they come from."""

from __future__ import annotations

import os
import re
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from launcher.errors import BuildFailed

Place = Callable[[str], str | None]
"""Path in a source → path below the tree, or None for what is not taken."""


class _Member(NamedTuple):
    name: str
    link: str | None
    executable: bool
    content: Callable[[], IO[bytes]]


def from_archive(stream: IO[bytes], place: Place, into: Path) -> None:
    """Take files from a tar archive, compressed or not.

    Raises:
        BuildFailed: If it is none, or not whole.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as archive:
            _take(_of_archive(archive), place, into)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BuildFailed(
            f"{getattr(stream, 'name', 'The archive')} can't be unpacked.", why=f"{error}"
        ) from None


def from_directory(directory: Path, place: Place, into: Path) -> None:
    """Take files from a directory.

    Raises:
        BuildFailed: If it can't be read.
    """
    try:
        _take(_of_directory(directory), place, into)
    except OSError as error:
        raise BuildFailed(f"{directory} can't be copied.", why=f"{error}") from None


def _take(members: Iterator[_Member], place: Place, into: Path) -> None:
    for member in members:
        name = place(member.name)
        if name is None or ".." in name.split("/"):
            continue
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if member.link is None:
            with member.content() as content:
                path.write_bytes(content.read())
            path.chmod(0o755 if member.executable else 0o644)
        elif re.fullmatch(r"[^/]*[^/.][^/]*", member.link):
            # Links to neighbours only: nothing is ever written through one, and none leads out of the tree.
            path.symlink_to(member.link)


def _of_archive(archive: tarfile.TarFile) -> Iterator[_Member]:
    for member in archive:
        if not (member.isfile() or member.issym()):
            continue

        def content(member: tarfile.TarInfo = member) -> IO[bytes]:
            stream = archive.extractfile(member)
            assert stream
            return stream

        name = member.name.removeprefix("./")
        yield _Member(name, member.linkname if member.issym() else None, bool(member.mode & 0o100), content)


def _of_directory(directory: Path) -> Iterator[_Member]:
    for around, _, names in os.walk(directory, onerror=_raise):
        for name in names:
            path = Path(around, name)
            mode = path.lstat().st_mode
            link = str(path.readlink()) if stat.S_ISLNK(mode) else None
            if link is not None or stat.S_ISREG(mode):
                inner = str(path.relative_to(directory))
                yield _Member(inner, link, bool(mode & 0o100), lambda path=path: path.open("rb"))  # type: ignore[misc]


def _raise(error: OSError) -> None:
    raise error
