"""The hub has a core of its own, and everything else another: both spawners' hubs see the same machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


class Cores:
    """The two cores. Whatever this process starts begins on the second.

    Raises:
        SystemExit: If there is one core only.
    """

    def __init__(self) -> None:
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) < 2:
            raise SystemExit("A hub is measured on a core of its own: this needs two.")
        self._before = set(usable)
        self._hubs, self._others = usable[:2]

    @contextlib.contextmanager
    def parted(self) -> Iterator[None]:
        """Keep this process on the second core, with all that it starts."""
        os.sched_setaffinity(0, {self._others})
        try:
            yield
        finally:
            os.sched_setaffinity(0, self._before)

    def give(self, pid: int) -> None:
        """Move a hub, all threads of it, to the first core."""
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), {self._hubs})

    def look(self) -> Look:
        """Look at how busy both have been so far."""
        lines = dict(line.split(maxsplit=1) for line in Path("/proc/stat").read_text().splitlines())
        return Look(*(_ticks(lines[f"cpu{core}"]) for core in (self._hubs, self._others)))


class Look:
    """How busy the cores have been until a moment: busy ticks and all ticks of each."""

    def __init__(self, hubs: tuple[int, int], others: tuple[int, int]) -> None:
        self._hubs = hubs
        self._others = others

    def busy_since(self, before: Look) -> tuple[float, float]:
        """Return the share of the time since then in which the hub's core, and the other, were busy."""
        return _share(before._hubs, self._hubs), _share(before._others, self._others)


def _ticks(line: str) -> tuple[int, int]:
    """Return busy ticks and all, of a line of /proc/stat: proc(5)."""
    user, nice, system, idle, iowait, irq, softirq, steal = map(int, line.split()[:8])
    busy = user + nice + system + irq + softirq + steal
    return busy, busy + idle + iowait


def _share(before: tuple[int, int], after: tuple[int, int]) -> float:
    busy, passed = (now - then for then, now in zip(before, after, strict=True))
    return busy / passed if passed else 0.0
