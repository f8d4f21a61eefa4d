"""Starts from the image against starts from the same tree in a directory, as figures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from benchmarks.images.places import State
from benchmarks.images.server import Start
from benchmarks.results import Result

IMAGE, DIRECTORY = "image", "directory"
_TARGET = 1.05
_TARGETS = {State.WARM: _TARGET, State.COLD: _TARGET}


def start_name(state: State) -> str:
    """Return the name of the seconds of a start."""
    return f"Start from the tools image, {state}"


def ratio_name(state: State) -> str:
    """Return the name of the seconds from the image over those from the directory."""
    return f"Start from the tools image against the directory, {state}"


def cpu_name(state: State) -> str:
    """Return the name of the processor seconds of a start."""
    return f"Processor time of a start from the tools image, {state}"


def read_name(state: State) -> str:
    """Return the name of what a start has the kernel read."""
    return f"Read for a start from the tools image, {state}"


def compared(state: State, starts: Mapping[str, Sequence[Start]]) -> list[Result]:
    """Return the figures of starts that were made in turn.

    Args:
        state: What was in memory.
        starts: Those from `IMAGE` and from `DIRECTORY`, in pairs.
    """
    ratios = [
        image.seconds / directory.seconds
        for image, directory in zip(starts[IMAGE], starts[DIRECTORY], strict=True)
    ]
    return [
        median(start_name(state), starts, IMAGE, "s", lambda each: each.seconds),
        Result(
            ratio_name(state),
            round(statistics.median(ratios), 3),
            "times",
            (round(min(ratios), 3), round(max(ratios), 3)),
            _TARGETS.get(state),
        ),
        median(cpu_name(state), starts, IMAGE, "s", lambda each: each.cpu),
        median(read_name(state), starts, IMAGE, "MB", lambda each: each.read / 1e6),
    ]


def median(
    name: str, starts: Mapping[str, Sequence[Start]], own: str, unit: str, of: Callable[[Start], float]
) -> Result:
    """Return the median of something of the starts from one place, with those of the others beside it."""
    seen = {place: [of(each) for each in those] for place, those in starts.items()}
    medians = {place: round(statistics.median(those), 2) for place, those in seen.items()}
    spread = (round(min(seen[own]), 2), round(max(seen[own]), 2))
    return Result(name, medians.pop(own), unit, spread, peers=medians)
