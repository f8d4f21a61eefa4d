"""The figures of images as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.images import building, calls, starting
from benchmarks.node.places import State
from benchmarks.page import spread, table
from benchmarks.results import Result

LATENCIES = (0.3, 1.0)
"""Milliseconds for a call that names a path, on parallel file systems."""
STARTS, PER_SECOND = 1000, 50_000
"""Starts at the same time, and calls that a metadata server answers a second."""


def shown(results: Mapping[str, Result]) -> str:
    """Return what the page shows of images.

    Args:
        results: By their names.
    """
    return "\n\n".join(each(results) for each in (_built, _started, _called))


def _built(results: Mapping[str, Result]) -> str:
    rows = []
    for name in (building.BUILD, building.AGAIN, building.SIZE, building.SHARE):
        each = results[name]
        rows.append([name, f"{each.value:g} {each.unit}", f"{each.target} {each.unit}"])
    directory, files = results[building.DIRECTORY], results[building.FILES]
    lengths = directory.peers[building.LENGTHS]
    share = results[building.SHARE].peers[building.LENGTHS]
    text = (
        f"The directory takes {directory.value:g} MB on the disk (`du`) for {files.value:,} files; "
        f"their lengths are {lengths:g} MB in all, of which the image's size is {share:g} %."
    )
    return f"{table(['', 'measured', 'target'], rows)}\n\n{text}"


def _started(results: Mapping[str, Result]) -> str:
    rows = []
    for state in State:
        start, cpu, read = (results[name] for name in starting.names(state))
        ratio = results[starting.ratio_name(state)]
        pairs = [f"{each.value:.2f}; {each.peers[starting.DIRECTORY]:.2f}" for each in (start, cpu)]
        megabytes = f"{read.value:.0f}; {read.peers[starting.DIRECTORY]:.0f}"
        rows.append([state, *pairs, megabytes, spread(ratio), str(ratio.target or "")])
    head = [
        "image; directory",
        "seconds",
        "processor seconds",
        "MB read",
        "image against directory",
        "target",
    ]
    return table(head, rows)


def _called(results: Mapping[str, Result]) -> str:
    names = (calls.OPENS, calls.LOOKS, calls.LISTINGS, calls.PATHS, calls.IMAGE)
    counts = calls.Calls(*(int(results[name].value) for name in names))
    rows = [
        ["calls below the mount", f"{counts.total:,}", f"{counts.image:,}, on the image's file"],
        *(
            [f"a start waits for them, at {each:g} ms a call", _waiting(counts, each), "-"]
            for each in LATENCIES
        ),
        [
            f"{STARTS:,} starts at once keep a server of {PER_SECOND:,} calls a second busy for",
            f"{counts.queue(STARTS, PER_SECOND):.0f} s",
            f"{counts.image * STARTS / PER_SECOND:.2g} s",
        ],
    ]
    text = (
        f"One start opens {counts.opens:,} times, looks {counts.looks:,} times at paths and reads "
        f"{counts.listings:,} parts of directories below the mount, at {counts.paths:,} different paths."
    )
    return f"{text}\n\n{table(['', 'directory', 'image'], rows)}"


def _waiting(counts: calls.Calls, milliseconds: float) -> str:
    once = counts._replace(opens=counts.paths, looks=0, listings=0)
    return f"{once.waiting(milliseconds):.1f}-{counts.waiting(milliseconds):.1f} s"
