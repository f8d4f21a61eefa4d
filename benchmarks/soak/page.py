"""A soak as `docs/performance.md` shows it."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks import page, plots
from benchmarks.results import Result
from benchmarks.soak.figures import COUNTS, DESCRIPTORS, MEMORY, ROWS, UP_TO

PLOT = "soak.svg"


def shown(results: Mapping[str, Result]) -> str:
    """Return the Markdown between the marks of the soak."""
    if not results:
        return ""
    length, people, seed = (results[name].value for name in ("Length", "People", "Seed"))
    counts = (f"{results[name].value:,g} {name[0].lower()}{name[1:]}" for name in COUNTS)
    head = f"{length:g} minutes, {people:g} people, seed {seed:.0f}: {', '.join(counts)}."
    rows = [
        [each.name, f"{each.value:g} {each.unit}".strip(), _parts(each), str(each.target or "")]
        for each in results.values()
        if each.name not in (*COUNTS, "Seed", "Length", "People") and UP_TO not in each.name
    ]
    words = (
        "Memory in MB, open file descriptors and rows of the database of a hub, over the minutes of a soak"
    )
    table = page.table(["", "measured", "", "target"], rows)
    return f"{head}\n\n{table}\n\n{page.plot(PLOT, words)}"


def plotted(results: Mapping[str, Result]) -> Mapping[str, str]:
    """Return the plot of what must not grow."""
    series = {
        f"{name}{unit}": [
            (float(key.rpartition(UP_TO)[2]), each.value)
            for key, each in results.items()
            if key.startswith(name + UP_TO)
        ]
        for name, unit in ((MEMORY, ", MB"), (DESCRIPTORS, ""), (ROWS, ""))
    }
    return {PLOT: plots.curves("What must not grow", series, "minutes")} if all(series.values()) else {}


def _parts(result: Result) -> str:
    """Return what a figure is made of."""
    return ", ".join(f"{name}: {value:g}" for name, value in result.peers.items())
