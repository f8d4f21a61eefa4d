"""Starts from the image against starts from the same tree in a directory, as figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from benchmarks.node.places import State
from benchmarks.node.starts import Start
from benchmarks.results import Result, at_most

IMAGE, DIRECTORY = "image", "directory"
_TARGET = at_most(1.05)
_TARGETS = {State.WARM: _TARGET, State.COLD: _TARGET}


class Names(NamedTuple):
    """The names of the figures of starts.

    Attributes:
        start: Of their seconds.
        cpu: Of their processor seconds.
        read: Of what they have the kernel read.
    """

    start: str
    cpu: str
    read: str


def names(state: State, of: str = "from the tools image") -> Names:
    """Return the names of the figures of starts.

    Args:
        state: What was in memory.
        of: Which starts.
    """
    return Names(
        f"Start {of}, {state}", f"Processor time of a start {of}, {state}", f"Read for a start {of}, {state}"
    )


def ratio_name(state: State) -> str:
    """Return the name of the seconds from the image over those from the directory."""
    return f"Start from the tools image against the directory, {state}"


def compared(state: State, starts: Mapping[str, Sequence[Start]]) -> list[Result]:
    """Return the figures of starts that were made in turn.

    Args:
        state: What was in memory.
        starts: Those from `IMAGE` and from `DIRECTORY`, in pairs.
    """
    ratio = Result.ratio(
        ratio_name(state),
        [each.seconds for each in starts[IMAGE]],
        [each.seconds for each in starts[DIRECTORY]],
        _TARGETS.get(state),
    )
    start, *others = medians(names(state), starts, IMAGE)
    return [start, ratio, *others]


def medians(called: Names, starts: Mapping[str, Sequence[Start]], own: str) -> list[Result]:
    """Return the figures of the starts from one place, with those of the others beside them.

    Args:
        called: Their names.
        starts: Place → starts from there.
        own: The place.
    """
    return [
        _median(called.start, starts, own, "s", lambda each: each.seconds),
        _median(called.cpu, starts, own, "s", lambda each: each.cpu),
        _median(called.read, starts, own, "MB", lambda each: each.read / 1e6),
    ]


def _median(
    name: str, starts: Mapping[str, Sequence[Start]], own: str, unit: str, of: Callable[[Start], float]
) -> Result:
    seen = {place: [of(each) for each in those] for place, those in starts.items()}
    return Result.of(name, seen.pop(own), unit, peers=seen)
