"""Staging by a job, which FirecREST submits."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from launcher.check.steps import to_the_end
from launcher.clusters import Cluster
from launcher.errors import FirecrestError
from launcher.firecrest import Firecrest, Known, Verdict, Watcher
from launcher.firecrest.identity import Identity
from launcher.prefetch.report import Outcome, Told
from launcher.prefetch.script import Job, directives, log_path, script
from launcher.prefetch.wanted import Wanted

_LINES = 5000
"""Lines of its output that are read: a job of some hours writes no more."""
_PACE = (2.0, 3.0, 5.0, 8.0, 15.0)
"""Seconds before each look at the job; the last repeats."""
_READ_AGAIN = (1.0, 2.0, 4.0, None)
"""Seconds before each further look at the output of a job that is over: a file system may show it late."""


class Staged(NamedTuple):
    """What a job has done.

    Attributes:
        outcomes: What became of each image.
        job_id: The job.
        trouble: How it ended, if not well; else empty.
    """

    outcomes: list[Outcome]
    job_id: str
    trouble: str


async def stage_remotely(
    cluster: Cluster,
    wanted: Sequence[Wanted],
    who: Identity,
    job: Job,
    *,
    timeout: float,
    say: Callable[[str], None],
    on_change: Callable[[Told], None],
) -> Staged:
    """Stage images by a job, into the repository that the cluster file names, or the account's own.

    A job that has not ended when this is cancelled, or has no time left, is cancelled.

    Args:
        cluster: The cluster file.
        wanted: The images.
        who: As whom FirecREST is asked.
        job: What the job asks for.
        timeout: Seconds that all of it may take, the queue included.
        say: Takes lines for people.
        on_change: Called whenever something new is known of an image.

    Raises:
        FirecrestError: If the job could not be submitted.
        UsageError: If there is no such partition.
    """
    told = Told(list(wanted), secrets.token_hex(8))
    text = script(cluster, wanted, told.mark, directives(cluster, job))
    firecrest = Firecrest(cluster)
    submitting = asyncio.ensure_future(firecrest.submit(who, text, cluster.home_of(job.user)))
    try:
        job_id = await asyncio.shield(submitting)
    except asyncio.CancelledError:
        await to_the_end(_cancel_late(firecrest, who, submitting, say))
        raise
    say(f"Submitted as job {job_id}")
    path = log_path(cluster, job.user, job_id)

    async def read() -> None:
        heard = [told.hear(line) for line in await firecrest.log_tail(who, path, _LINES)]
        if any(heard):
            on_change(told)

    known: Known | None = None
    try:
        async with asyncio.timeout(timeout):
            known = await _ended(firecrest, who, job_id, say, read)
    except TimeoutError:
        trouble = f"Job {job_id} was not over after {timeout:g} s. " + await _cancelled(
            firecrest, who, job_id
        )
    except BaseException:
        await to_the_end(_cancel(firecrest, who, job_id, say))
        raise
    else:
        trouble = _trouble(job_id, known)
    for pause in _READ_AGAIN:
        await read()
        if told.complete or pause is None:
            break
        await asyncio.sleep(pause)
    said = trouble or f"Job {job_id} said nothing of it."
    return Staged(told.all(f"{said} Its output: {path}"), job_id, trouble)


async def _ended(
    firecrest: Firecrest,
    who: Identity,
    job_id: str,
    say: Callable[[str], None],
    read: Callable[[], Awaitable[None]],
) -> Known:
    """Follow a job until it is known to be over, and its output meanwhile."""
    shown = ""
    watcher = Watcher(firecrest, who, logging.getLogger(__name__))
    with watcher.follow(job_id, _PACE) as follower:
        while True:
            known = await follower.next_look()
            if known.words != shown:
                shown = known.words
                say(f"Job {job_id}: {shown}")
            if known.verdict is Verdict.DEAD:
                return known
            if known.status and known.status.state == "RUNNING":
                await read()


def _trouble(job_id: str, known: Known) -> str:
    """Return how a job ended that did not end well, or nothing."""
    status = known.final
    if known.lost or status is None or not status.state:
        return f"Slurm does not know job {job_id} any more."
    if status.state == "COMPLETED":
        return ""
    code = "" if status.exit_code is None else f" with exit code {status.exit_code}"
    return f"Job {job_id} ended as {status.state}{code}."


async def _cancelled(firecrest: Firecrest, who: Identity, job_id: str) -> str:
    """Cancel a job; return what came of that."""
    try:
        await firecrest.cancel(who, job_id)
    except FirecrestError as error:
        return f"It could not be cancelled: {error.what} {error.why}"
    return "It is cancelled."


async def _cancel(firecrest: Firecrest, who: Identity, job_id: str, say: Callable[[str], None]) -> None:
    say(f"Job {job_id}: {await _cancelled(firecrest, who, job_id)}")


async def _cancel_late(
    firecrest: Firecrest, who: Identity, submitting: asyncio.Future[str], say: Callable[[str], None]
) -> None:
    """Cancel a job whose submit was under way."""
    try:
        job_id = await submitting
    except FirecrestError as error:
        if error.may_have_happened:
            say(f"A job may have been submitted. {error.what} {error.why}")
        return
    await _cancel(firecrest, who, job_id, say)
