"""The figures of images as tables of `docs/performance.md`, between two marks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.images import building, calls, compression, starting
from benchmarks.images.places import State
from benchmarks.results import KEPT

PAGE = Path(__file__).parents[2] / "docs/performance.md"
BEGIN, END = "<!-- images: `make bench-images` writes this -->", "<!-- images end -->"

LATENCIES = (0.3, 1.0)
"""Milliseconds for a call that names a path, on parallel file systems."""
STARTS, PER_SECOND = 1000, 50_000
"""Starts at the same time, and calls that a metadata server answers a second."""


def written(page: str, results: Sequence[dict[str, Any]]) -> str:
    """Return a page with the tables of some results between its marks.

    Args:
        page: The page.
        results: As `results.json` holds them.
    """
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    by_name = {each["name"]: each for each in results}
    tables = (_built(by_name), _started(by_name), _compressed(by_name), _called(by_name))
    return f"{before}{BEGIN}\n\n" + "\n\n".join(map("\n".join, tables)) + f"\n\n{END}{after}"


def refresh() -> None:
    """Write the figures that are kept into the page."""
    PAGE.write_text(written(PAGE.read_text(), json.loads(KEPT.read_text())))


def _built(by_name: dict[str, Any]) -> list[str]:
    rows = []
    for name in (building.BUILD, building.AGAIN, building.SIZE, building.SHARE):
        each = by_name[name]
        rows.append([name, f"{each['value']:g} {each['unit']}", f"{each['target']:g} {each['unit']}"])
    directory, files = by_name[building.DIRECTORY], by_name[building.FILES]
    lengths = directory["peers"][building.LENGTHS]
    share = by_name[building.SHARE]["peers"][building.LENGTHS]
    text = (
        f"The directory takes {directory['value']:g} MB on the disk (`du`) for {files['value']:,} files; "
        f"their lengths are {lengths:g} MB in all, of which the image's size is {share:g} %."
    )
    return [
        *_table(["", "measured", "target"], rows),
        "",
        text,
    ]


def _started(by_name: dict[str, Any]) -> list[str]:
    rows = []
    for state in State:
        start, cpu, read = (by_name[name] for name in starting.names(state))
        ratio = by_name[starting.ratio_name(state)]
        times = f"{ratio['value']:.2f} ({ratio['spread'][0]:.2f}-{ratio['spread'][1]:.2f})"
        pairs = [f"{each['value']:.2f}; {each['peers'][starting.DIRECTORY]:.2f}" for each in (start, cpu)]
        megabytes = f"{read['value']:.0f}; {read['peers'][starting.DIRECTORY]:.0f}"
        rows.append([state, *pairs, megabytes, times, f"{ratio['target']:g}" if ratio["target"] else ""])
    head = [
        "image; directory",
        "seconds",
        "processor seconds",
        "MB read",
        "image against directory",
        "target",
    ]
    return _table(head, rows)


def _compressed(by_name: dict[str, Any]) -> list[str]:
    columns = {"MB": compression.SIZE, "packed in, s": compression.PACKING}
    for state in compression.STATES:
        heads = (f"{state}: s", f"{state}: processor s", f"{state}: MB read")
        columns |= dict(zip(heads, compression.names(state), strict=True))
    own = compression.default().name
    rows = []
    for way in compression.WAYS:
        cells = [f"**{way.name}**" if way.name == own else way.name]
        for name in columns.values():
            each = by_name[name]
            cells.append(f"{each['value'] if way.name == own else each['peers'][way.name]:g}")
        rows.append(cells)
    return _table(["", *columns], rows)


def _called(by_name: dict[str, Any]) -> list[str]:
    names = (calls.OPENS, calls.LOOKS, calls.LISTINGS, calls.PATHS, calls.IMAGE)
    counts = calls.Calls(*(by_name[name]["value"] for name in names))
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
    return [
        text,
        "",
        *_table(["", "directory", "image"], rows),
    ]


def _waiting(counts: calls.Calls, milliseconds: float) -> str:
    once = counts._replace(opens=counts.paths, looks=0, listings=0)
    return f"{once.waiting(milliseconds):.1f}-{counts.waiting(milliseconds):.1f} s"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
