"""What happened, when, and to whom: for whoever must find out why something was lost."""

from __future__ import annotations

import time
from collections import Counter, deque

_KEPT = 20_000
_SHOWN = 40
SITE = "the site"
"""What concerns everybody is noted by this name."""


class Journal:
    """Lines with the minute at which each was written.

    Attributes:
        counts: How often each thing happened.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._began = time.monotonic()
        self._lines: deque[tuple[float, str, str]] = deque(maxlen=_KEPT)

    @property
    def minutes(self) -> float:
        """For how long it is being kept."""
        return (time.monotonic() - self._began) / 60

    def note(self, whom: str, text: str) -> None:
        """Write a line."""
        self._lines.append((self.minutes, whom, text))

    def trail(self, whom: str) -> list[str]:
        """Return what happened last to somebody and their servers, and to everybody at that time."""
        name = whom.partition(":")[0]
        own = [line for line in self._lines if line[1].partition(":")[0] == name][-_SHOWN:]
        since = own[0][0] if own else 0.0
        return [_line(line) for line in self._lines if line in own or (line[1] == SITE and line[0] >= since)]

    def lines(self) -> list[str]:
        """Return everything."""
        return [_line(line) for line in self._lines]


def _line(line: tuple[float, str, str]) -> str:
    minutes, whom, text = line
    return f"{int(minutes):3}:{minutes % 1 * 60:04.1f}  {whom:14}  {text}"
