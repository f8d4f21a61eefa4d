"""The end of a launch: its server is asked, its job cancelled, and its record kept until the job is gone."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from logging import Logger, LoggerAdapter
from typing import Any

from launcher.database.launch_record import Phase
from launcher.errors import LauncherError
from launcher.firecrest.jobs import Jobs
from launcher.spawner.launches import Launch

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

    Only when its job's time is over in any case, it counts as gone unseen.

    Args:
        launch: The launch; it is not wanted any more from now on.
        jobs: Its user's jobs.
        ask: Asks the server itself to end, unless it has said that it does; returns whether it will.
        save: Saves the launch's record.
        log: The hub's.
    """
    launch.enter(Phase.ENDING)
    try:
        save()
    except Exception:
        # The end must go on; a hub that is restarted begins it anew.
        log.exception("Launch %s: can't save that it ends", launch.record.launch_id)
    if launch.submission:
        await asyncio.wait({launch.submission})  # the job's id is on its way
    if not launch.gone:
        await _server_ends(launch, ask)
        await _job_is_over(launch, jobs, log)
    launch.enter(Phase.GONE)
    save()
    await explain(launch, jobs, log)


async def explain(launch: Launch, jobs: Jobs, log: Logger | LoggerAdapter[Any]) -> None:
    """Find out why a session ended by itself whose job is gone: what Slurm has not told, its log may."""
    ended = launch.how_ended
    if ended is None:
        return
    if ended.obscure:
        ended.read(await jobs.log_tail(launch.record.job_id))
    log.info("Server %s: %s", launch.name, ended.words(time.time()))


async def _server_ends(launch: Launch, ask: Callable[[], Awaitable[bool]]) -> None:
    """Have the server end by itself, if it can, and its script after it."""
    if launch.ended is None and not (launch.record.url and await ask()):
        return
    deadline = time.monotonic() + GRACE
    while not launch.script_ended and time.monotonic() < deadline:
        await launch.change(deadline - time.monotonic())


async def _job_is_over(launch: Launch, jobs: Jobs, log: Logger | LoggerAdapter[Any]) -> None:
    """Wait until the job is known to be over, or its time is in any case; cancel it."""
    record, pause = launch.record, _FIRST_PAUSE
    longest = 60 * max(partition.time_limit for partition in jobs.cluster.partitions)
    none_found, cancelled = 0, False
    while time.time() < record.ticket_expires + longest:
        try:
            record.job_id = record.job_id or await jobs.find(record.launch_id)
            none_found += not record.job_id
            if none_found == _NONE_FOUND or (record.job_id and await _over(launch, jobs, again=cancelled)):
                return
            cancelled = cancelled or bool(record.job_id)
            if launch.ending_problem:  # what comes next need not wait as long as an outage was
                pause, launch.ending_problem = _FIRST_PAUSE, None
        except LauncherError as error:
            if launch.script_ended:
                return  # the script itself has said so
            launch.ending_problem = error
            log.error("Job %s of %s is not known to have ended: %s", record.job_id, launch.name, error)
        except Exception:
            log.exception("Job %s of %s: can't end it", record.job_id, launch.name)
        await launch.change(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _over(launch: Launch, jobs: Jobs, *, again: bool) -> bool:
    """Tell whether the job is over; cancel it, unless its script is just coming to its end.

    Accounting may never tell the end of a job that was put back into the queue: the second time, Slurm's
    answer to the cancel counts at once.
    """
    job_id = launch.record.job_id
    if launch.script_ended and not again and (status := await jobs.dead(job_id, within=_EPILOGUE)):
        if launch.how_ended:
            launch.how_ended.status = status
        return True
    # A scheduler that has nothing to cancel any more says so.
    urgent = launch.ending_problem is None
    return not await jobs.cancel(job_id, urgent=urgent) or bool(await jobs.dead(job_id, within=_CANCELLED))
