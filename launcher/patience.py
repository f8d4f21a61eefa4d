"""Waiting for others in an event loop that may stand still, as a hub's does while it works for thousands."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from typing import TypeVar

_STEP = 0.5
_Result = TypeVar("_Result")


async def within(seconds: float, awaitable: Awaitable[_Result]) -> _Result:
    """Wait until something is done, or the event loop has run for so many seconds.

    What came while the loop stood still it hears only afterwards, and a time-out by the clock comes first.
    Here it is half seconds that the loop waits for which count, however late it comes back from one.

    Args:
        seconds: How long to wait; after that it is cancelled.
        awaitable: What is waited for.

    Raises:
        TimeoutError: If it was not done by then.
    """
    task = asyncio.ensure_future(awaitable)
    try:
        for _ in range(math.ceil(seconds / _STEP)):
            await asyncio.wait({task}, timeout=_STEP)
            if task.done():
                return task.result()
        raise TimeoutError
    finally:
        task.cancel()
