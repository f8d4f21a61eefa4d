"""Loaded into a hub that is measured: how late its event loop is, and how much of the machine it has.

Tornado imports a handler that is named by its path when a hub makes its web application, in the running event
loop: `extra_handlers` of the hub's configuration names the one here.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from tornado.web import RequestHandler

from benchmarks.watch.meter import Meter, install

PATH = "bench"
"""Where the figures are, below the hub's prefix."""

_EVERY = 0.02
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Lateness:
    """Seconds by which a callback that should come every 20 ms is late."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._seen: list[float] = []
        self._due = loop.time() + _EVERY
        loop.call_at(self._due, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        self._seen.append(now - self._due)
        self._due = now + _EVERY
        self._loop.call_at(self._due, self._look)

    def take(self) -> list[float]:
        """Return what was seen, and forget it."""
        taken, self._seen = self._seen, []
        return taken


class Figures(RequestHandler):
    """Tells what was seen since the last time it was asked."""

    def get(self) -> None:
        """Answer with JSON."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.finish(
            {
                "late": LATENESS.take(),
                "own": METER.take(),
                "cpu": time.process_time(),
                "memory": pages * _PAGE,
            }
        )


LATENESS = Lateness(asyncio.get_running_loop())
METER = Meter()
if "launcher.spawner.spawner" in sys.modules:
    install(METER, asyncio.get_running_loop())
