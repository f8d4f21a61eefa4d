"""The end of a launch: its server is asked, its job cancelled, and its record kept until the job is gone."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from logging import Logger, LoggerAdapter
from typing import Any

from launcher.errors import LauncherError
from launcher.firecrest.jobs import Jobs
from launcher.spawner.launches import Launch
from launcher.spawner.record import Phase

GRACE = 10.0
"""Seconds that a server which was asked to end may take until its script has."""
_EPILOGUE = 30.0
_CANCELLED = 10.0
_FIRST_PAUSE = 2.0
_LONGEST_PAUSE = 300.0
_NONE_FOUND = 4
"""Looks, over some 14 s, after which a job whose submit was not answered is taken for one that never was."""


async def see_off(
    launch: Launch,
    jobs: Jobs,
    *,
    ask: Callable[[], Awaitable[bool]],
    save: Callable[[], None],
    log: Logger | LoggerAdapter[Any],
) -> None:
    """End a launch, however long it takes: whatever can't be reached is asked again.

    Args:
        launch: The launch; it is not wanted any more from now on.
        jobs: Its user's jobs.
        ask: Asks the server itself to end, unless it has said that it does; returns whether it will.
        save: Saves the launch's record.
        log: The hub's.
    """
    record = launch.record
    launch.enter(Phase.ENDING)
    save()
    if launch.submission:
        await asyncio.wait({launch.submission})  # the job's id is on its way
        if launch.gone:
            return
    if launch.ended is not None or (record.url and await ask()):
        deadline = time.monotonic() + GRACE
        while not launch.script_ended and time.monotonic() < deadline:
            await launch.change(deadline - time.monotonic())
    pause, none_found, again = _FIRST_PAUSE, 0, False
    while True:
        try:
            if not record.job_id:
                record.job_id = await jobs.find(record.launch_id)
                none_found += not record.job_id
            if none_found == _NONE_FOUND or (record.job_id and await _over(launch, jobs, again=again)):
                break
            again = bool(record.job_id)
        except LauncherError as error:
            if launch.script_ended:
                break  # the script itself has said so
            log.error("Job %s of %s is not known to have ended: %s", record.job_id, launch.name, error)
        await launch.change(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load
        pause = min(2 * pause, _LONGEST_PAUSE)
    launch.enter(Phase.GONE)
    save()


async def _over(launch: Launch, jobs: Jobs, *, again: bool) -> bool:
    """Tell whether the job is over; cancel it, unless its script is just coming to its end.

    Accounting may never tell the end of a job that was put back into the queue: the second time, Slurm's
    answer to the cancel counts at once.
    """
    job_id = launch.record.job_id
    if launch.script_ended and not again and await jobs.dead(job_id, within=_EPILOGUE):
        return True
    # A scheduler that has nothing to cancel any more says so.
    return not await jobs.cancel(job_id) or await jobs.dead(job_id, within=_CANCELLED) is not None
