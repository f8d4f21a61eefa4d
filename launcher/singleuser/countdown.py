"""The end of a session's time: known, announced, and kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

_TRUSTED_FOR = 600.0
"""Seconds for which what Slurm has said is not asked again, unless something hangs on it."""

_EARLY = 120.0
"""Seconds: Slurm's signal may come 60 earlier than asked for (sbatch(1), `--signal`)."""

_SLEEP = 3600.0
"""Seconds slept at most: clocks are set, machines are suspended."""


class Countdown:
    """Warns users before their session ends, and ends it.

    Slurm is asked only where something hangs on the answer: before a warning, before the end, and when a page
    is opened long after the last time.

    Attributes:
        end: When the job ends, in seconds since 1970; None if that is not known, or never.

    Args:
        end: As it is known at first.
        early: Seconds by which the session ends before its job.
        warnings: Minutes before the session ends at which its user is told.
        ask: Asks when the job ends, None for never; raises LookupError where nobody tells.
        moved: Is called when the end is another one than before.
        warn: Sends a warning to all pages; returns whether there is any.
        over: Ends the session.
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
        over: Callable[[], None],
        log: logging.Logger,
    ) -> None:
        self.end = end
        # A job too short for that is Slurm's to end.
        self._early = early if end is None or end - early > time.time() else 0.0
        self._seconds = sorted({60.0 * minutes for minutes in warnings}, reverse=True)
        self._ask = ask
        self._told_of = moved
        self._warn = warn
        self._over = over
        self._log = log
        self._asked = 0.0 if end is None else time.monotonic()
        self._asking = asyncio.Lock()
        self._moved = asyncio.Event()
        self._said = set(self._due())
        self._unheard = False

    @property
    def ends(self) -> float | None:
        """When the session ends, in seconds since 1970: so long before its job that all can be saved."""
        return None if self.end is None else self.end - self._early

    def greeting(self) -> Iterable[dict[str, Any]]:
        """Return the warning that nobody was there to hear."""
        if not self._asked or time.monotonic() > self._asked + _TRUSTED_FOR:
            self._asking_anew = asyncio.ensure_future(self._guarded(self.refresh()))
        if self._unheard and self.ends is not None:
            self._unheard = False
            return [self._warning()]
        return []

    async def refresh(self) -> None:
        """Ask Slurm when the job ends."""
        async with self._asking:
            self._asked = time.monotonic()
            try:
                end = await self._ask()
            except LookupError:
                return
            # Slurm counts in whole seconds, and by the minute which jobs are over.
            if end is None or self.end is None or abs(end - self.end) > 5:
                self.end = end
                # What has been put off is said again when it is time.
                self._said &= set(self._due())
                self._moved.set()
                self._told_of()

    async def run(self) -> None:
        """Warn, and end the session, when it is time."""
        if self.end is None:
            await self._guarded(self.refresh())
        while True:
            await self._wait(self._pause())
            if self._pause() > 0:
                continue
            await self._guarded(self.refresh())
            if self.ends is None:
                continue
            if time.time() >= self.ends:
                self._over()
                return
            due = self._due()
            if set(due) - self._said:
                self._unheard = not self._warn(self._warning())
            self._said = set(due)

    async def signalled(self) -> None:
        """Take Slurm's word that the job's time is almost over."""
        await self._guarded(self.refresh())
        left = None if self.ends is None else self.ends - time.time()
        if left is None or not 0 < left <= _EARLY:
            self._over()

    async def _guarded(self, asking: Coroutine[Any, Any, None]) -> None:
        try:
            await asking
        except Exception:  # noqa: BLE001 - the session goes on, and ends when it was to end
            self._log.exception("Slurm could not be asked when this session ends")

    def _due(self) -> list[float]:
        if self.ends is None:
            return []
        left = self.ends - time.time()
        return [seconds for seconds in self._seconds if seconds >= left]

    def _pause(self) -> float:
        """Return how many seconds there is nothing to do."""
        if self.ends is None:
            return _SLEEP
        left = self.ends - time.time()
        if set(self._due()) - self._said:
            return 0.0
        ahead = [left - seconds for seconds in self._seconds if seconds < left]
        return max(0.0, min([left, *ahead]))

    async def _wait(self, seconds: float) -> None:
        self._moved.clear()
        try:
            async with asyncio.timeout(min(seconds, _SLEEP)):
                await self._moved.wait()
        except TimeoutError:
            pass

    def _warning(self) -> dict[str, Any]:
        return {"kind": "warning", "reason": "walltime", "now": time.time(), "ends": self.ends}
