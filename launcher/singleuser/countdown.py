"""The end of a session's time: known, announced, and kept."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

_TRUSTED_FOR = 600.0
"""Seconds for which what Slurm has said is not asked again because a page is opened."""

_EARLY = 120.0
"""Seconds: Slurm's signal may come 60 earlier than asked for (sbatch(1), `--signal`)."""

_SLEEP = 1800.0
"""Seconds after which Slurm is asked in any case: an admin may have moved the end."""

_RETRY = 60.0
"""Seconds to the next question while the end is not known; each is followed by a pause twice as long."""

_PATIENCE = 5.0
"""Seconds to wait for Slurm: a program that hangs on a file system can't even be killed."""


class Countdown:
    """Warns users before their session ends, and ends it.

    Slurm is asked where something hangs on the answer: before a warning, before the end, when a page is
    opened long after the last time; and now and then besides.

    Attributes:
        end: When the job ends, in seconds since 1970; None if that is not known, or never.

    Args:
        end: As it is known at first.
        early: Seconds by which the session ends before its job; if the job has less than twice as much left
            when the session begins, half of that.
        warnings: Minutes before the session ends at which its user is told.
        ask: Asks when the job ends, None for never; raises LookupError where nobody tells.
        moved: Is called when the end is another one than before.
        warn: Sends a warning to all pages; returns whether there is any.
        over: Ends the session, for a reason as in a `stopping` event.
        log: Hears what goes wrong.
    """

    def __init__(
        self,
        *,
        end: float | None,
        early: float,
        warnings: Iterable[int],
        ask: Callable[[], Awaitable[float | None]],
        moved: Callable[[], None],
        warn: Callable[[dict[str, Any]], bool],
        over: Callable[[str], None],
        log: logging.Logger,
    ) -> None:
        self.end = end
        self._began = time.time()
        self._early = early
        self._seconds = sorted({60.0 * minutes for minutes in warnings}, reverse=True)
        self._ask = ask
        self._told_of = moved
        self._warn = warn
        self._over = over
        self._log = log
        self._known = end is not None
        self._asked = time.monotonic() if self._known else float("-inf")
        self._retry = _RETRY
        self._asking = asyncio.Lock()
        self._moved = asyncio.Event()
        self._said = self._due()
        self._unheard = False

    @property
    def ends(self) -> float | None:
        """When the session ends, in seconds since 1970: so long before its job that all can be saved."""
        if self.end is None:
            return None
        return self.end - min(self._early, max(0.0, self.end - self._began) / 2)

    def greeting(self) -> Iterable[dict[str, Any]]:
        """Return the warning that nobody was there to hear."""
        if time.monotonic() > self._asked + _TRUSTED_FOR:
            self._asking_anew = asyncio.ensure_future(self._refreshed())
        if self._unheard and self.ends is not None:
            self._unheard = False
            return [self._warning()]
        return []

    async def run(self) -> None:
        """Warn, and end the session, when it is time."""
        if not self._known:
            await self._refreshed()
        while True:
            self._moved.clear()
            if (pause := self._pause()) > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._moved.wait()
                        continue
            await self._refreshed()
            if self.ends is None:
                continue
            if time.time() >= self.ends:
                self._over("walltime")
                return
            due = self._due()
            if due - self._said:
                self._unheard = not self._warn(self._warning())
            self._said = due

    async def signalled(self) -> None:
        """Take Slurm's signal: the job's time is almost over, or something else wants the job to end."""
        sure = await self._refreshed()
        left = None if self.ends is None else self.ends - time.time()
        if left is not None and 0 < left <= self._early + _EARLY:
            return
        self._over("terminated" if sure and (left is None or left > 0) else "walltime")

    async def _refreshed(self) -> bool:
        """Ask Slurm when the job ends; return whether it has said so."""
        async with self._asking:
            self._asked = time.monotonic()
            try:
                async with asyncio.timeout(_PATIENCE):
                    end = await self._ask()
            except (LookupError, TimeoutError):
                return False
            except Exception:  # noqa: BLE001 - the session goes on, and ends when it was to end
                self._log.exception("Slurm could not be asked when this session ends")
                return False
        self._take(end)
        return True

    def _take(self, end: float | None) -> None:
        first, self._known = not self._known, True
        # Slurm counts in whole seconds, and by the minute which jobs are over.
        if end == self.end or (end is not None and self.end is not None and abs(end - self.end) <= 5):
            return
        self.end = end
        due = self._due()
        # What has been put off is said again when it is time; what was due as the session began never is.
        self._said = due if first else self._said & due
        self._unheard = self._unheard and bool(due)
        self._moved.set()
        self._told_of()

    def _due(self) -> set[float]:
        if self.ends is None:
            return set()
        left = self.ends - time.time()
        return {seconds for seconds in self._seconds if seconds >= left}

    def _pause(self) -> float:
        """Return for how many seconds there is nothing to do."""
        if self.ends is None:
            if self._known:
                return _SLEEP
            pause, self._retry = self._retry, min(2 * self._retry, _SLEEP)
            return pause
        left = self.ends - time.time()
        if self._due() - self._said:
            return 0.0
        ahead = [left - seconds for seconds in self._seconds if seconds < left]
        return max(0.0, min([left, *ahead, _SLEEP]))

    def _warning(self) -> dict[str, Any]:
        return {"kind": "warning", "reason": "walltime", "now": time.time(), "ends": self.ends}
