"""Work that the cancelling of whoever began it must not cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

_TASKS: set[asyncio.Task[Any]] = set()


def run_detached(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run something to its end; asyncio itself forgets a task that nobody holds."""
    task = asyncio.create_task(work)
    _TASKS.add(task)
    task.add_done_callback(_TASKS.discard)
    return task
