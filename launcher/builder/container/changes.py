"""What an image holds more, or otherwise, than its base."""

from __future__ import annotations

import filecmp
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Changes(NamedTuple):
    """How a directory differs from another; paths are below its top.

    Attributes:
        files: How many files of the other one are here as they are there.
        added: What is only here; of a directory its own path alone.
        changed: What is here otherwise, or not at all, with what differs.
    """

    files: int
    added: list[str]
    changed: list[str]


def changes(before: Path, after: Path) -> Changes:
    """Compare two directories: kinds, permissions, owners, targets of links, and each byte of files.

    Files that are one and the same on disk, as those of a layer that both images have, are not read.

    Raises:
        OSError: If something can't be read.
    """
    files, added, changed = 0, [], []
    if top := _difference(os.fspath(before), os.fspath(after), before.stat(), after.stat()):
        changed.append(f".: {top}")
    for path, difference in _compared(os.fspath(before), os.fspath(after), ""):
        if difference is None:
            files += 1
        elif not difference:
            added.append(path)
        else:
            changed.append(f"{path}: {difference}")
    return Changes(files, sorted(added), sorted(changed))


def _compared(before: str, after: str, inner: str) -> Iterator[tuple[str, str | None]]:
    """Yield path and difference: None for an equal file, empty for what is only in the second."""
    there = {entry.name: entry for entry in os.scandir(before)}
    here = {entry.name: entry for entry in os.scandir(after)}
    for name in here.keys() - there.keys():
        yield inner + name, ""
    for name, entry in there.items():
        path = inner + name
        if name not in here:
            yield path, "is gone"
            continue
        one, two = entry.stat(follow_symlinks=False), here[name].stat(follow_symlinks=False)
        if difference := _difference(entry.path, here[name].path, one, two):
            yield path, difference
        elif stat.S_ISDIR(one.st_mode):
            yield from _compared(entry.path, here[name].path, f"{path}/")
        else:
            yield path, None


def _difference(before: str, after: str, one: os.stat_result, two: os.stat_result) -> str:
    if stat.S_IFMT(one.st_mode) != stat.S_IFMT(two.st_mode):
        return "is of another kind"
    if one.st_mode != two.st_mode:
        return f"has other permissions: {one.st_mode & 0o7777:o}, {two.st_mode & 0o7777:o}"
    if (one.st_uid, one.st_gid) != (two.st_uid, two.st_gid):
        return "has another owner"
    if stat.S_ISLNK(one.st_mode):
        return "" if os.readlink(before) == os.readlink(after) else "leads elsewhere"  # noqa: PTH115 - many
    if stat.S_ISREG(one.st_mode) and not _is_same(one, two):
        if not filecmp.cmp(before, after, shallow=False):
            return "has another content"
        if capabilities(before) != capabilities(after):
            return "has other capabilities"
    if one.st_rdev != two.st_rdev:
        return "is another device"
    return ""


def capabilities(path: str) -> bytes:
    """Return what a program gets of root's rights, as it is stored with its file."""
    try:
        return os.getxattr(path, "security.capability", follow_symlinks=False)
    except OSError:
        return b""


def _is_same(one: os.stat_result, two: os.stat_result) -> bool:
    """Tell whether two names are one file on disk: of overlays over one layer, the devices may differ."""
    return (one.st_ino, one.st_size, one.st_ctime_ns) == (two.st_ino, two.st_size, two.st_ctime_ns)
