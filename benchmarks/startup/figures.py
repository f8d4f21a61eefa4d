"""Starts as figures: ours, with the others beside them, and as a ratio to JupyterHub's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from benchmarks.node.places import State
from benchmarks.node.starts import Start
from benchmarks.results import Result, Target, at_most
from benchmarks.startup.half import Half
from benchmarks.startup.programs import BARE, OURS, Where

CALLS = "File system calls of a start"
HALF_CPU, HALF_CALLS = (
    f"{what} before JupyterLab's import" for what in ("Processor time", "File system calls")
)
HALF_LOADING = "File system calls by which Python finds its libraries"
_CALLS, _HALF_CPU, _HALF_CALLS = at_most(0.8), at_most(0.15), at_most(800)


class Measure(NamedTuple):
    """Something that each start takes.

    Attributes:
        name: What it is called.
        unit: Its unit.
        target: What ours over JupyterHub's own must not be beyond.
        of: Returns it.
    """

    name: str
    unit: str
    target: Target
    of: Callable[[Start], float]


SECONDS = Measure("Start", "s", at_most(0.5), attrgetter("seconds"))
CPU = Measure("Processor time of a start", "s", at_most(0.5), attrgetter("cpu"))
MEMORY = Measure("Memory of a start", "MB", at_most(0.65), attrgetter("memory"))
MEASURES = (SECONDS, CPU, MEMORY)
STATES = (State.WARM, State.COLD)


def name(measure: Measure, where: Where, state: State) -> str:
    """Return the name of a figure."""
    return f"{measure.name} from a {where}, {state}"


def against(figure: str) -> str:
    """Return the name of a figure over that of JupyterHub's own."""
    return f"{figure}, against {BARE}"


def started(where: Where, state: State, starts: Mapping[str, Sequence[Start]]) -> Iterator[Result]:
    """Yield the figures of starts that were made in turn.

    Args:
        where: What the environments lay in.
        state: What was in memory.
        starts: Name of a program → its starts.
    """
    for measure in MEASURES:
        seen = {program: [measure.of(each) for each in those] for program, those in starts.items()}
        yield from _compared(name(measure, where, state), seen, measure.unit, measure.target)


def called(seen: Mapping[str, Sequence[int]]) -> Iterator[Result]:
    """Yield the figures of file system calls.

    Args:
        seen: Name of a program → the calls of each start.
    """
    return _compared(CALLS, seen, "calls", _CALLS)


def halved(half: Half) -> Iterator[Result]:
    """Yield the figures of the half before JupyterLab's import."""
    yield Result.of(HALF_CPU, half.cpu, "s", _HALF_CPU)
    yield Result.of(HALF_CALLS, half.calls, "calls", _HALF_CALLS)
    yield Result.of(HALF_LOADING, half.loading, "calls")


def _compared(
    figure: str, seen: Mapping[str, Sequence[float]], unit: str, target: Target
) -> Iterator[Result]:
    others = {program: those for program, those in seen.items() if program != OURS}
    yield Result.of(figure, seen[OURS], unit, peers=others)
    yield Result.ratio(against(figure), seen[OURS], seen[BARE], target)
