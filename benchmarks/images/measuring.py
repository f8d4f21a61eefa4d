"""Measure images: building, starting, calling."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.images import building, calls
from benchmarks.images.alternating import alternating
from benchmarks.images.starting import DIRECTORY, IMAGE, compared
from benchmarks.node.places import Place, State
from benchmarks.node.starts import node
from benchmarks.node.work import unpacked, workplace
from benchmarks.results import Result


def measured(runs: int, below: Path) -> Iterator[list[Result]]:
    """Yield figures, as they are known.

    Args:
        runs: Starts of each kind.
        below: A directory on the disk that is measured.
    """
    with workplace(below) as work:
        mount = building.recipe().image.mount
        image, results = building.built(work)
        yield results
        tree = unpacked(image, work / "tree")
        yield building.sizes(image, tree)
        places = {IMAGE: Place(image, mount), DIRECTORY: Place(tree, mount)}
        with node(work / "home") as here:
            yield calls.figures(calls.traced(here, places[IMAGE], work))
            for state in State:
                yield compared(state, alternating(here, places, state, runs))
