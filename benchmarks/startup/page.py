"""The figures of starts as Markdown, and as a plot."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks import plots
from benchmarks.page import plot, spread, table
from benchmarks.results import Result
from benchmarks.startup import figures
from benchmarks.startup.figures import CALLS, CPU, MEASURES, MEMORY, SECONDS, STATES
from benchmarks.startup.programs import NAMES, OURS, Where

PLOT = "startup.svg"


def shown(results: Mapping[str, Result]) -> str:
    """Return what the page shows of starts.

    Args:
        results: By their names.
    """
    text = "Seconds from exec to a URL that works, of three programs, from a directory and from a squashfs."
    parts = (_started(results), plot(PLOT, text), _called(results), _compared(results), _half(results))
    return "\n\n".join(parts)


def plotted(results: Mapping[str, Result]) -> dict[str, str]:
    """Return the plot.

    Args:
        results: By their names.
    """
    rows = {
        f"{where}, {state}": {
            program: _of(program, results[figures.name(SECONDS, where, state)]) for program in NAMES
        }
        for where in Where
        for state in STATES
    }
    return {PLOT: plots.bars("Seconds from exec to a URL that works", rows)}


def _started(results: Mapping[str, Result]) -> str:
    rows = []
    for where in Where:
        for state in STATES:
            for program in NAMES:
                found = [results[figures.name(measure, where, state)] for measure in (SECONDS, CPU, MEMORY)]
                rows.append([program, where, state, *(f"{_of(program, each):g}" for each in found)])
    return table(["", "from", "caches", "seconds", "processor seconds", "MB of memory"], rows)


def _called(results: Mapping[str, Result]) -> str:
    rows = [[program, f"{_of(program, results[CALLS]):,.0f}"] for program in NAMES]
    return table(["", "file system calls"], rows)


def _compared(results: Mapping[str, Result]) -> str:
    names = [
        figures.name(measure, where, state) for measure in MEASURES for where in Where for state in STATES
    ]
    ratios = [(name, results[figures.against(name)]) for name in [*names, CALLS]]
    head = [f"{figures.against(OURS)}, run by run", "times", "target"]
    return table(head, [[name, *_judged(ratio)] for name, ratio in ratios])


def _half(results: Mapping[str, Result]) -> str:
    halves = [results[name] for name in (figures.HALF_CPU, figures.HALF_CALLS)]
    rows = [[each.name, f"{spread(each)} {each.unit}", str(each.target or "")] for each in halves]
    loading = results[figures.HALF_LOADING]
    rows.append([f"{loading.name}, before", f"{spread(loading)} {loading.unit}", ""])
    return table(["", "measured", "target"], rows)


def _judged(ratio: Result) -> list[str]:
    cells = [spread(ratio), str(ratio.target or "")]
    return cells if ratio.holds else [f"**{each}**" for each in cells]


def _of(program: str, result: Result) -> float:
    return result.value if program == OURS else result.peers[program]
