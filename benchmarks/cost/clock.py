"""Hours of what sleeps and asks in seconds: an event loop whose clock stands while there is something to do.

For clients and servers in one process: a request on its way is something to do. A thread is not.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class _Selector(selectors.DefaultSelector):
    """Waits for no timer: it jumps there.

    Attributes:
        now: The time, in seconds.
    """

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """Return what is ready; if nothing is, it is at once as late as a timer waits for."""
        if timeout is None:
            return super().select(None)
        # On one machine a request is there as soon as it is sent.
        ready = super().select(0)
        if not ready:
            self.now += max(timeout, 0)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        """Return the time of its clock."""
        return self._clock.now


def run(main: Coroutine[Any, Any, _Result]) -> _Result:
    """Run something in a loop and a time of its own."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)
