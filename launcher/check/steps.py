"""Steps in their order, each with its time limit, and what came of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from launcher.check.report import Step
from launcher.errors import LauncherError

Seen = list[str]
Work = Callable[[Seen], Awaitable[None]]


@dataclass
class Steps:
    """Takes steps, and keeps what came of them.

    Args:
        on_step: Called after each step.
        taken: The steps so far.
    """

    on_step: Callable[[Step], None] | None
    taken: list[Step] = field(default_factory=list)

    async def take(self, name: str, work: Work, limit: float) -> bool:
        """Take a step, for at most `limit` seconds; tell whether it held."""
        seen: Seen = []
        began = time.monotonic()
        failure: str | None = "It was interrupted."
        try:
            async with asyncio.timeout(limit):
                await work(seen)
            failure = None
        except LauncherError as error:
            failure = str(error)
        except TimeoutError:
            failure = f"It was not done after {limit:g} s."
        except (LookupError, TypeError, ValueError) as error:
            # An answer without the keys that Jupyter's APIs promise is a finding, too.
            failure = f"An answer was not what was expected: {error!r}."
        finally:
            # In a finally, so that an interrupted step shows as well.
            detail = "\n".join(seen if failure is None else [failure, *seen])
            step = Step(name, time.monotonic() - began, failure is None, detail)
            self.taken.append(step)
            if self.on_step:
                self.on_step(step)
        return step.ok


async def to_the_end(work: Coroutine[Any, Any, object]) -> None:
    """Do some work to its end, also if whoever waits for it is cancelled meanwhile."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled:
        raise cancelled
    task.result()
