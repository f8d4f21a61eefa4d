"""What a storm comes to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the least value that so many percent of all do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else 0.0


@dataclass(frozen=True)
class Start:
    """One press of Start.

    Attributes:
        pressed: When, in seconds of any clock.
        ready: When its server was ready, or None if it never was.
        proven: Whether the hub's proxy leads to that server.
        why: What came instead of a server, as far as it can be told.
    """

    pressed: float
    ready: float | None
    proven: bool = False
    why: str = ""

    @property
    def lost(self) -> bool:
        """Whether it has come to nothing."""
        return self.ready is None or not self.proven


@dataclass(frozen=True)
class Seen:
    """What a hub told of itself over a while.

    Attributes:
        late: Seconds by which its event loop was late, again and again.
        own: User → seconds of a processor that the launcher's code took; "" for nobody's and everybody's.
        cpu: Seconds of a processor in all.
        memory: Bytes that it had at the end.
        grown: Bytes by which that is more than at the beginning.
    """

    late: Sequence[float]
    own: Mapping[str, float]
    cpu: float
    memory: int
    grown: int

    @classmethod
    def between(cls, before: Mapping[str, Any], after: Mapping[str, Any]) -> Seen:
        """Return it from two answers of `watch.figures`."""
        return cls(
            late=after["late"],
            own=after["own"],
            cpu=after["cpu"] - before["cpu"],
            memory=after["memory"],
            grown=after["memory"] - before["memory"],
        )

    def own_of(self, users: Sequence[str]) -> list[float]:
        """Return what the launcher's code took for each user, with an equal part of what is nobody's."""
        shared = (sum(self.own.values()) - sum(self.own.get(user, 0.0) for user in users)) / len(users)
        return [self.own.get(user, 0.0) + shared for user in users]


@dataclass(frozen=True)
class Storm:
    """One storm on one hub.

    Attributes:
        starts: User → press of Start.
        seen: What the hub told of itself meanwhile.
        hub_busy: Share of the time for which the hub's core was busy.
        others_busy: The same of the other core.
    """

    starts: Mapping[str, Start]
    seen: Seen
    hub_busy: float
    others_busy: float

    @property
    def seconds(self) -> list[float]:
        """Seconds from each Start to its server, of those that came to one."""
        return [each.ready - each.pressed for each in self.starts.values() if each.ready is not None]

    @property
    def rate(self) -> float:
        """Launches a second, from the first Start to the last server."""
        ends = [each.ready for each in self.starts.values() if each.ready is not None]
        began = min(each.pressed for each in self.starts.values())
        return len(ends) / (max(ends) - began) if ends else 0.0

    @property
    def lost(self) -> int:
        """Starts that came to nothing."""
        return sum(each.lost for each in self.starts.values())

    @property
    def why_lost(self) -> Counter[str]:
        """What came instead of servers, and how often."""
        return Counter(each.why or "no proof" for each in self.starts.values() if each.lost)

    @property
    def late(self) -> float:
        """Seconds by which the event loop was late at the 99th percentile."""
        return percentile(self.seen.late, 99)

    @property
    def latest(self) -> float:
        """The most seconds by which it was late."""
        return max(self.seen.late, default=0.0)

    @property
    def own(self) -> list[float]:
        """Seconds of a processor that the launcher's code took for each launch."""
        return self.seen.own_of(list(self.starts))
