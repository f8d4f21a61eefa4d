"""Work that the cancelling of whoever began it must not cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")
_TASKS: set[asyncio.Task[Any]] = set()


def run_detached(work: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
    """Run something to its end; asyncio itself forgets a task that nobody holds."""
    task = asyncio.create_task(work)
    _TASKS.add(task)
    task.add_done_callback(_TASKS.discard)
    return task
