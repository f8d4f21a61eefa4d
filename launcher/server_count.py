"""The count of a hub's servers, which JupyterHub makes at each start, to refuse those beyond a limit.

It looks at every server for that (jupyterhub/user.py, `UserDict.count_active_users`), some 10 microseconds
each: with thousands, the hub serves nobody for tens of milliseconds at each start. One without a limit needs
the number for nothing but a metric.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from jupyterhub.metrics import RUNNING_SERVERS

EVERY = 5.0
"""Seconds between two counts."""


def count_seldom(hub: Any) -> None:
    """Have a hub that refuses nobody count its servers every few seconds at most.

    A `concurrent_spawn_limit` or `active_server_limit` leaves JupyterHub's own way as it is.

    Args:
        hub: The JupyterHub application, in whose event loop this is called.
    """
    limits = ("concurrent_spawn_limit", "active_server_limit")
    if not any(hub.tornado_settings.get(limit) for limit in limits):
        hub.users.count_active_users = _Seldom(hub.users.count_active_users)


class _Seldom:
    def __init__(self, count: Callable[[], Mapping[str, int]]) -> None:
        self._count = count
        self._counts: Mapping[str, int] = {}
        self._next = 0.0
        self._loop = asyncio.get_running_loop()
        self._recount: asyncio.TimerHandle | None = None

    def __call__(self) -> Mapping[str, int]:
        now = time.monotonic()
        if now >= self._next:
            self._counts, self._next = self._count(), now + EVERY
            self._forget()
        elif self._recount is None:  # else the metric stays as it was before the last starts
            self._recount = self._loop.call_later(EVERY, self._set)
        return self._counts

    def _set(self) -> None:
        self._forget()
        RUNNING_SERVERS.set(self._count()["active"])

    def _forget(self) -> None:
        if self._recount:
            self._recount.cancel()
        self._recount = None
