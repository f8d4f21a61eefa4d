"""Does a server live? Its own words count first, then its answer, then the scheduler's."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from logging import Logger, LoggerAdapter
from typing import Any

from launcher.database.launch_record import Phase
from launcher.firecrest import Verdict
from launcher.firecrest.jobs import Jobs
from launcher.firecrest.watcher import DOUBTFUL
from launcher.metrics import IN_DOUBT, VERDICTS
from launcher.protocol import ALIVE_INTERVAL
from launcher.spawner.launches import Launch

ALIVE_FOR = 2.5 * ALIVE_INTERVAL
"""Seconds for which a sign of life counts."""

Proves = Callable[[Launch], Awaitable[bool]]
"""Asks a launch's server whether it is that."""


async def of(launch: Launch, jobs: Jobs, proves: Proves, log: Logger | LoggerAdapter[Any]) -> Verdict:
    """Return the verdict on a server that was ready.

    While it neither says anything nor answers, `launch.doubt` holds what the scheduler says of its job.
    """
    verdict, source = Verdict.ALIVE, "event"
    if launch.last_event is None or time.monotonic() - launch.last_event > ALIVE_FOR:
        if await proves(launch):
            launch.alive()
            source = "probe"
        else:
            source = "scheduler"
            known = launch.doubt = launch.doubt or await jobs.look(launch.record.job_id)
            verdict = known.verdict
            log.warning(
                "Server %s of job %s neither reports nor answers; the scheduler says %s; verdict: %s",
                *(launch.name, launch.record.job_id, known.words or "nothing yet", verdict),
            )
    VERDICTS.labels(launch.record.cluster, verdict.value, source).inc()
    return verdict


async def settled(launch: Launch, jobs: Jobs, proves: Proves) -> Verdict:
    """Ask scheduler and server, ever less often, until the doubt about a server is settled."""
    with (
        IN_DOUBT.labels(launch.record.cluster).track_inprogress(),
        jobs.follow(launch.record.job_id, DOUBTFUL) as follower,
    ):
        launch.doubt = follower.known
        while launch.record.phase is Phase.READY and launch.doubt is not None and launch.ended is None:
            if (await follower.next_look()).verdict is Verdict.DEAD:
                return Verdict.DEAD
            if await proves(launch):
                launch.alive()
    return Verdict.ALIVE
