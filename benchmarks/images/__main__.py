"""Measure images: building, starting, compressing, calling."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from benchmarks.images import building, calls, compression, page
from benchmarks.images.places import Place, State, alternating
from benchmarks.images.server import node
from benchmarks.images.starting import DIRECTORY, IMAGE, compared
from benchmarks.results import Result, keep, table

_COMPARED = 3
"""Starts of each kind that only compare compressions."""


def measured(work: Path, runs: int) -> Iterator[list[Result]]:
    """Yield figures, as they are known.

    Args:
        work: An empty directory on a local disk, which everybody may enter.
        runs: Starts of each kind; of those that only compare compressions there are fewer.
    """
    mount = building.recipe().image.mount
    image, results = building.built(work)
    yield results
    tree = work / "tree"
    subprocess.run(["unsquashfs", "-q", "-n", "-d", str(tree), str(image)], check=True)
    yield building.sizes(image, tree)
    places = {IMAGE: Place(image, mount), DIRECTORY: Place(tree, mount)}
    with node(work / "home") as here:
        yield calls.figures(calls.traced(here, places[IMAGE], work))
        for state in State:
            yield compared(state, alternating(here, places, state, runs))
        variants, results = compression.packed(tree, work, mount)
        yield results
        yield compression.started(here, variants, min(runs, _COMPARED))


def _shown(found: Iterable[list[Result]]) -> list[Result]:
    whole = []
    for results in found:
        for each in results:
            click.echo(f"{each.name}: {each.value:g} {each.unit}", err=True)
        whole += results
    return whole


@click.command()
@click.option("--runs", default=11, show_default=True, help="Starts of each kind.")
@click.option(
    "--below",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default="/var/tmp",  # noqa: S108 - a new directory is made there, with a name of its own
    show_default=True,
    help="A directory on the disk that is measured.",
)
def main(runs: int, below: Path) -> None:
    """Measure; exit code 1 if a target does not hold, 2 where it can't be measured."""
    if os.geteuid():
        raise click.UsageError("Only root can drop caches and mount images.")
    click.echo("This takes some six minutes; nothing else should run meanwhile.", err=True)
    with tempfile.TemporaryDirectory(prefix="bench-images-", dir=below) as work:
        Path(work).chmod(0o755)  # the server is an ordinary user's
        results = _shown(measured(Path(work), runs))
    keep(results)
    page.refresh()
    click.echo(table(results))
    sys.exit(0 if all(each.holds for each in results) else 1)


if __name__ == "__main__":
    main()
