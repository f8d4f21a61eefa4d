"""Ways of compressing the tools image: what each costs when it is made, and when it is used."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.benchmark import Benchmark
from benchmarks.images import building, starting
from benchmarks.images.alternating import alternating
from benchmarks.images.starting import Names
from benchmarks.images.tools import keep, tools
from benchmarks.node.places import Place, State
from benchmarks.node.starts import Node, node
from benchmarks.node.work import BELOW, RUNS, workplace
from benchmarks.page import table
from benchmarks.results import Result
from launcher.builder import squashfs

SIZE, PACKING = "Tools image by compression", "Packing of the tools image by compression"
STATES = (State.ANEW, State.COLD)
"""What is in memory at the starts that are compared: otherwise no compression matters."""


class Way(NamedTuple):
    """A way of compressing.

    Attributes:
        name: What people call it.
        options: What mksquashfs is told.
    """

    name: str
    options: tuple[str, ...]


def zstd(level: int, block: str = "64K") -> Way:
    """Return zstd at a level, in blocks of a size."""
    return Way(f"zstd {level}, {block}", ("-comp", "zstd", "-Xcompression-level", str(level), "-b", block))


def lz4(block: str) -> Way:
    """Return lz4, packed as small as it can, in blocks of a size."""
    return Way(f"lz4 hc, {block}", ("-comp", "lz4", "-Xhc", "-b", block))


WAYS = (
    zstd(1),
    zstd(3),
    zstd(6),
    zstd(9),
    zstd(15),
    zstd(9, "32K"),
    zstd(9, "128K"),
    zstd(9, "1M"),
    lz4("64K"),
    lz4("128K"),
    lz4("256K"),
    Way("gzip 9, 128K", ("-comp", "gzip")),
)


def default() -> Way:
    """Return the way in which the builder compresses."""
    compression = building.recipe().image.compression
    return next(way for way in WAYS if way.options == squashfs.COMPRESSIONS[compression])


def names(state: State) -> Names:
    """Return the names of the figures of starts from images made in each way."""
    return starting.names(state, "by compression")


def packed(tree: Path, work: Path, mount: str) -> tuple[dict[str, Place], list[Result]]:
    """Make an image in each way; return the images, and what that took.

    Args:
        tree: What they hold.
        work: An empty directory.
        mount: Where they belong.
    """
    places, seconds, sizes = {}, {}, {}
    for number, way in enumerate(WAYS):
        image = work / f"{number}.squashfs"
        began = time.monotonic()
        subprocess.run(
            ["mksquashfs", str(tree), str(image), *squashfs.PLAIN, "-no-hardlinks", *way.options],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        seconds[way.name] = round(time.monotonic() - began, 1)
        sizes[way.name] = round(image.stat().st_size / 1e6, 1)
        places[way.name] = Place(image, mount)
    return places, [_beside(SIZE, sizes, "MB"), _beside(PACKING, seconds, "s")]


def started(node: Node, places: Mapping[str, Place], times: int) -> list[Result]:
    """Start the server from images made in each way, in turn; return what that took."""
    own = default().name
    found: list[Result] = []
    for state in STATES:
        found += starting.medians(names(state), alternating(node, places, state, times), own)
    return found


def _beside(name: str, values: dict[str, float], unit: str) -> Result:
    others = dict(values)
    own = others.pop(default().name)
    return Result(name, own, unit, (own, own), peers=others)


def measured(runs: int, below: Path) -> Iterator[list[Result]]:
    """Yield figures, as they are known.

    Args:
        runs: Starts of each kind.
        below: A directory on the disk that is measured.
    """
    with workplace(below) as work:
        tree, _ = tools(keep())
        places, results = packed(tree.path, work, tree.mount)
        yield results
        with node(work / "home") as here:
            yield started(here, places, runs)


def shown(results: Mapping[str, Result]) -> str:
    """Return the table of all ways.

    Args:
        results: By their names.
    """
    columns = {"MB": SIZE, "packed in, s": PACKING}
    for state in STATES:
        heads = (f"{state}: s", f"{state}: processor s", f"{state}: MB read")
        columns |= dict(zip(heads, names(state), strict=True))
    own = default().name
    rows = []
    for way in WAYS:
        cells = [f"**{way.name}**" if way.name == own else way.name]
        for name in columns.values():
            each = results[name]
            cells.append(f"{each.value if way.name == own else each.peers[way.name]:g}")
        rows.append(cells)
    return table(["", *columns], rows)


BENCHMARK = Benchmark("compressions", 8, measured, shown, options=(RUNS, BELOW), usual=False)
