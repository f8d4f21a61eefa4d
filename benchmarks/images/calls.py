"""File system calls of a start, and what they would cost on a file system that is far away."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from benchmarks.images.alternating import server
from benchmarks.node.places import Place
from benchmarks.node.starts import Node
from benchmarks.results import Result

OPENS, LOOKS, LISTINGS = "Opens below the mount", "Looks below the mount", "Listings below the mount"
PATHS, IMAGE = "Different paths below the mount", "Calls on the image's file"

_KINDS = {
    **dict.fromkeys(("open", "openat", "execve"), OPENS),
    **dict.fromkeys(("stat", "lstat", "newfstatat", "statx"), LOOKS),
    **dict.fromkeys(("access", "faccessat", "faccessat2", "readlink", "readlinkat"), LOOKS),
    "getdents64": LISTINGS,
}
_CALL = re.compile(r"\d+ +(\w+)\((.*)")
_PATH = re.compile(r'"([^"]*)"|\d<([^>]*)>')


class Calls(NamedTuple):
    """Calls that name a path, or list a directory.

    Attributes:
        opens: Opens, of directories and programs, too.
        looks: Looks at a path without opening it.
        listings: Parts of directories that were read.
        paths: How many different paths they were about.
        image: Calls of any of these kinds that name the image's file.
    """

    opens: int
    looks: int
    listings: int
    paths: int
    image: int

    @property
    def total(self) -> int:
        """All calls below the mount."""
        return self.opens + self.looks + self.listings

    def waiting(self, milliseconds: float) -> float:
        """Return the seconds of a start that such calls take, one after the other."""
        return self.total * milliseconds / 1000

    def queue(self, starts: int, per_second: float) -> float:
        """Return the seconds for which a server that answers so many calls is busy with so many starts."""
        return self.total * starts / per_second


def counted(trace: Iterable[str], mount: str, image: Path) -> Calls:
    """Count calls.

    Looks at what is open already, and ends of directories, are left out: a node answers those by itself.

    Args:
        trace: Lines of `strace -f -y`.
        mount: The mount path.
        image: The image's file.
    """
    kinds: dict[str, int] = dict.fromkeys((OPENS, LOOKS, LISTINGS), 0)
    paths: set[str] = set()
    on_image = 0
    for line in trace:
        call = _CALL.match(line)
        kind = _KINDS.get(call[1]) if call else None
        if not call or not kind or ', "", ' in call[2] or (kind == LISTINGS and call[2].endswith("= 0")):
            continue
        found = _PATH.search(call[2].partition("AT_FDCWD<")[2].partition(">")[2] or call[2])
        path = (found[1] or found[2] or "") if found else ""
        on_image += path == str(image)
        if path == mount or path.startswith(f"{mount}/"):
            kinds[kind] += 1
            paths.add(path)
    return Calls(kinds[OPENS], kinds[LOOKS], kinds[LISTINGS], len(paths), on_image)


def traced(node: Node, place: Place, work: Path) -> Calls:
    """Count the calls of one start from an image, of what mounts it, too."""
    trace = work / "trace"
    options = ("-f", "-y", "-qq", "-e", "trace=%file,getdents64", "-o", str(trace))
    node.start(["strace", *options, *place.command(server(place.mount))])
    with trace.open(errors="replace") as lines:
        return counted(map(str.rstrip, lines), place.mount, place.path)


def figures(calls: Calls) -> list[Result]:
    """Return counts as figures."""
    return [
        Result(name, count, "calls" if name != PATHS else "paths", (count, count))
        for name, count in zip((OPENS, LOOKS, LISTINGS, PATHS, IMAGE), calls, strict=True)
    ]
