"""What happens in a soak, one after the other: drawn at random, and the same again for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from benchmarks.soak import mishaps
from launcher.sandbox.scheduler import JobState

SERVERS = ("", "second")
"""Everybody's servers: the default one, and a named one."""

_PAUSE = (0.2, 1.6)
"""Least and most seconds between two acts."""


class Deed(StrEnum):
    """What may happen."""

    START = "start"
    START_BY_FORM = "start by the form"
    START_TWICE = "start in two tabs"
    START_AND_STOP = "start, and stop on the pending page"
    STOP = "stop"
    REMOVE = "stop, and remove the named server"
    OPEN = "open the server"
    LOOK = "look at the hub's pages"
    LOG_IN = "log in with another browser"
    KILLED = "server is killed"
    LEAVES = "server ends by itself"
    ENDED = "Slurm ends the job"
    REQUEUED = "Slurm puts the job back into the queue"
    HANGS = "node hangs"
    FAULT = "fault"
    QUEUE_FULL = "queue is full"
    GATEWAY_DOWN = "FirecREST is down"
    PROXY_RESTARTED = "proxy is restarted"
    HUB_KILLED = "hub is killed"
    HUB_TERMINATED = "hub is told to end"


_OF_STOPPED = {Deed.START: 60, Deed.START_BY_FORM: 10, Deed.START_AND_STOP: 18, Deed.START_TWICE: 12}
_OF_STARTED = {
    Deed.STOP: 36,
    Deed.OPEN: 22,
    Deed.HANGS: 8,
    Deed.START_TWICE: 3,
    Deed.ENDED: 14,
    Deed.KILLED: 9,
    Deed.LEAVES: 5,
    Deed.REQUEUED: 3,
}
_ENDS = frozenset({Deed.START_AND_STOP, Deed.STOP, Deed.REMOVE, Deed.KILLED, Deed.LEAVES, Deed.ENDED})
_OF_ALL = {Deed.FAULT: 60, Deed.QUEUE_FULL: 12, Deed.GATEWAY_DOWN: 10, Deed.LOOK: 40, Deed.LOG_IN: 8}
_RESTARTS = {Deed.HUB_KILLED: 25, Deed.HUB_TERMINATED: 15, Deed.PROXY_RESTARTED: 12}
_OF_SOMEBODY = 860
_LASTS = {
    Deed.HANGS: (1.0, 12.0),
    Deed.FAULT: (3.0, 20.0),
    Deed.QUEUE_FULL: (3.0, 20.0),
    Deed.GATEWAY_DOWN: (2.0, 15.0),
    Deed.HUB_KILLED: (0.0, 6.0),
    Deed.HUB_TERMINATED: (0.0, 6.0),
    Deed.START_AND_STOP: (0.0, 4.0),
}
_ENDED_AS = (
    *(JobState.NODE_FAIL, JobState.OUT_OF_MEMORY, JobState.PREEMPTED),
    *(JobState.TIMEOUT, JobState.CANCELLED, JobState.FAILED),
)
_ONE_OF_US = 0.5
"""How many of the faults concern one person only."""

_Kind = TypeVar("_Kind")


@dataclass(frozen=True)
class Act:
    """Something that happens.

    Attributes:
        after: Seconds since the act before.
        deed: What it is.
        who: Number of the person whom it concerns; None for everybody.
        server: Name of the server that it concerns.
        detail: Which fault it is, or how a job ends.
        options: What a start asks for.
        lasts: Seconds until it is over, or until the second half of it.
    """

    after: float
    deed: Deed
    who: int | None = None
    server: str = ""
    detail: str = ""
    options: tuple[tuple[str, str | int], ...] = ()
    lasts: float = 0.0


@dataclass(frozen=True)
class Phase:
    """A part of a soak; there is a quiet point after it.

    Attributes:
        seconds: How long things happen.
        restarts: Whether the hub and its proxy are restarted meanwhile.
        all_stop: Whether everybody stops all servers at its end.
    """

    seconds: float
    restarts: bool
    all_stop: bool


def phases(minutes: float) -> list[Phase]:
    """Return the phases of a soak: one to warm up, three without a restart of the hub, and two with."""
    each = 60 * minutes / 6
    return [Phase(each, restarts=number > 3, all_stop=number in (0, 3, 5)) for number in range(6)]


def program(seed: int, people: int, parts: Sequence[Phase]) -> Iterator[list[Act]]:
    """Yield what happens in each phase.

    Args:
        seed: The same one gives the same.
        people: How many there are.
        parts: The phases.
    """
    drawn = _Drawn(seed, people)
    for phase in parts:
        acts = []
        left = phase.seconds
        while (act := drawn.act(restarts=phase.restarts)).after < left:
            left -= act.after
            acts.append(act)
        yield acts
        if phase.all_stop:
            drawn.started.clear()


class _Drawn:
    """Draws acts that make sense one after the other.

    Attributes:
        started: The servers that were started last and not ended since, as far as is known here.
    """

    def __init__(self, seed: int, people: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - it must come out the same again
        self._people = people
        self.started: set[tuple[int, str]] = set()

    def act(self, *, restarts: bool) -> Act:
        after = self._random.uniform(*_PAUSE)
        deed = self._one({None: _OF_SOMEBODY, **_OF_ALL, **(_RESTARTS if restarts else {})})
        if deed is None:
            return self._of_a_server(after)
        who = None
        if deed in (Deed.LOOK, Deed.LOG_IN) or (deed is Deed.FAULT and self._random.random() < _ONE_OF_US):
            who = self._random.randrange(self._people)
        detail = self._random.choice(sorted(mishaps.FAULTS)) if deed is Deed.FAULT else ""
        return Act(after, deed, who, detail=detail, lasts=self._lasts(deed))

    def _of_a_server(self, after: float) -> Act:
        who, server = self._random.randrange(self._people), self._random.choice(SERVERS)
        deed = self._one(_OF_STARTED if (who, server) in self.started else _OF_STOPPED)
        if deed is Deed.START_BY_FORM and server:
            deed = Deed.START
        if deed is Deed.STOP and server and self._random.random() < 0.5:
            deed = Deed.REMOVE
        (self.started.discard if deed in _ENDS else self.started.add)((who, server))
        ended = self._random.choice(_ENDED_AS) if deed is Deed.ENDED else ""
        options = self._options() if deed.startswith(Deed.START) else ()
        return Act(after, deed, who, server, ended, options, self._lasts(deed))

    def _options(self) -> tuple[tuple[str, str | int], ...]:
        """Return what somebody asks for: mostly all defaults, which are what they asked for the last time."""
        chosen: list[tuple[str, str | int]] = []
        if self._random.random() < 0.5:
            chosen.append(("environment", self._random.choice(("host", "quiet"))))
        if self._random.random() < 0.3:
            chosen.append(("partition", self._random.choice(("normal", "debug"))))
        if self._random.random() < 0.3:
            chosen.append(("time", self._random.choice((15, 30))))
        return tuple(chosen)

    def _one(self, weights: dict[_Kind, int]) -> _Kind:
        return self._random.choices(list(weights), list(weights.values()))[0]

    def _lasts(self, deed: Deed) -> float:
        return self._random.uniform(*_LASTS[deed]) if deed in _LASTS else 0.0
