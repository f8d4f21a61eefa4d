"""Hours of a hub in milliseconds: an event loop whose clock jumps to the next timer when nothing is ready.

For code that neither opens sockets nor uses threads; what stands in for FirecREST lives in the same loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Self, TypeVar

import pytest
import pytest_asyncio

_Result = TypeVar("_Result")
_A_MOMENT = 0.5
"""Real seconds that something outside the loop gets before a wait counts as one that nothing ends."""


class Hang(Exception):
    """Everything waits, and no timer is set: nothing will ever happen again."""


class VirtualTime:
    """Has a loop, `time.monotonic` and `time.time` go by a clock of their own, within a `with` statement.

    Args:
        loop: The loop; it may be running.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: Any = loop
        self._patch = pytest.MonkeyPatch()
        self._began = self._now = loop.time()
        self._epoch = time.time()

    def __enter__(self) -> Self:
        select = self._loop._selector.select

        def jump(timeout: float | None) -> list[Any]:
            ready = select(_A_MOMENT if timeout is None else 0)
            if not ready and timeout is None:
                raise Hang("nothing is ready, and no timer is set")
            if not ready:
                self._now += max(timeout, 0)
            return ready

        self._patch.setattr(self._loop._selector, "select", jump)
        self._patch.setattr(self._loop, "time", self.monotonic)
        self._patch.setattr(time, "monotonic", self.monotonic)
        self._patch.setattr(time, "time", lambda: self._epoch + self.elapsed)
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()

    def monotonic(self) -> float:
        """Return what stands for `time.monotonic()`."""
        return self._now

    @property
    def elapsed(self) -> float:
        """Virtual seconds since the beginning."""
        return self._now - self._began


@pytest_asyncio.fixture
async def virtual_time() -> AsyncIterator[VirtualTime]:
    """The clock of a test that takes no real time."""
    with VirtualTime(asyncio.get_running_loop()) as clock:
        yield clock


def run(main: Coroutine[Any, Any, _Result]) -> _Result:
    """Run one example of a property in a loop and a time of its own."""
    with asyncio.Runner() as runner, VirtualTime(runner.get_loop()):
        return runner.run(main)
