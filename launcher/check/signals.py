"""Signals that ask a program to end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Cancel the current task at the first signal; a second one must not cut the cleaning up short."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    asked = False

    def ask(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if task and not asked and not loop.is_closed():
            asked = True
            loop.call_soon_threadsafe(task.cancel)

    # Not the loop's own handlers: those end with the loop, when the process has yet to.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask)
    try:
        yield
    except asyncio.CancelledError:
        if task and asked:
            task.uncancel()
        raise
