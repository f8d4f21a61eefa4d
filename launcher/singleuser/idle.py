"""Gives a node back that nobody uses, after a warning."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from launcher.singleuser.activity import Activity

_NOTICE = 300.0
"""Seconds from the warning to the end; half of the limit if that is less."""

_LOOK = 5.0
"""Seconds between two looks for use while a warning is up: a kernel may have begun to work."""

_LATE = 2.0
"""Seconds by which a look may be late before it counts as time in which nobody could be warned."""

_RECOVER = 60.0
"""Seconds after a fault until all begins anew."""


class Idle:
    """Ends a session that nobody has used for so long.

    A warning is up for its whole time before that, however long the process was suspended meanwhile; no clock
    that is set changes anything. Any use voids the warning. A fault never ends the session.

    Args:
        limit: Seconds without use after which the session ends.
        activity: Knows when it was used.
        tell: Sends a message to all pages.
        end: Ends the session for a reason, as in a `stopping` event, with a message for its user.
        log: Hears what goes wrong.
    """

    def __init__(
        self,
        limit: float,
        activity: Activity,
        *,
        tell: Callable[[dict[str, Any]], object],
        end: Callable[[str, str], object],
        log: logging.Logger,
    ) -> None:
        self._limit = limit
        self._notice = min(_NOTICE, limit / 2)
        self._activity = activity
        self._tell = tell
        self._end = end
        self._log = log
        self._ends: float | None = None

    @property
    def message(self) -> str:
        """Why the session ends, for its user."""
        minutes = self._limit / 60
        return (
            f"Nobody used this server for {minutes:g} minute{'' if minutes == 1 else 's'}: "
            "no kernel at work, no program in a terminal, no open VS Code, nobody at the page."
        )

    def greeting(self) -> list[dict[str, Any]]:
        """Return what a page must hear that has just connected: the warning, if one is up."""
        if self._ends is None:
            return []
        now = time.time()
        ends = now + max(self._ends - time.monotonic(), 0.0)
        return [{"kind": "warning", "reason": "idle", "now": now, "ends": ends}]

    async def run(self) -> None:
        """Wait until nobody uses the session any more, warn, and end it."""
        while True:
            try:
                await self._until_unused()
                if await self._stays_unused():
                    self._end("idle", self.message)
                    return
            except Exception:  # noqa: BLE001 - whatever it is, the session goes on
                self._ends = None
                self._log.exception("Whether this session is used could not be told")
                await asyncio.sleep(_RECOVER)

    async def _until_unused(self) -> None:
        """Return when it is time to warn."""
        quiet = self._limit - self._notice
        while (pause := self._activity.last() + quiet - time.monotonic()) > 0:  # noqa: ASYNC110 - use changes nothing yet
            await asyncio.sleep(pause)

    async def _stays_unused(self) -> bool:
        """Warn, and return whether nobody used the session until it was to end."""
        last = self._activity.last()
        self._ends = max(last + self._limit, time.monotonic() + self._notice)
        self._warn()
        while (left := self._ends - time.monotonic()) > 0:
            pause = min(left, _LOOK)
            due = time.monotonic() + pause
            await self._look(pause)
            if self._activity.last() > last:
                self._ends = None
                self._tell({"kind": "kept"})
                return False
            late = time.monotonic() - due
            if late > _LATE:
                self._ends += late
                self._warn()
        self._ends = None
        return True

    def _warn(self) -> None:
        for warning in self.greeting():
            self._tell(warning)

    async def _look(self, pause: float) -> None:
        """Return at the next use, or after so many seconds."""
        self._activity.used.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._activity.used.wait()
