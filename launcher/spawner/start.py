"""One start: from the submit to a server that listens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from logging import Logger, LoggerAdapter
from typing import Any

from launcher.clusters import Cluster
from launcher.errors import FirecrestError, LauncherError
from launcher.spawner import failure
from launcher.spawner.detached import run_detached
from launcher.spawner.firecrest import JobStatus, Verdict
from launcher.spawner.jobs import UserJobs
from launcher.spawner.launches import Launch
from launcher.spawner.record import Phase

_FIRST_LOOK = 1.0
_LAST_STATUS = 4.0
_LOOK_AFTER = (1.0, 4.0, 10.0)
"""Seconds before each look for a job whose submit was not answered."""


class Start:
    """Submits a launch's job and sees it through until its server listens.

    Args:
        launch: The launch.
        cluster: Its cluster.
        jobs: The user's jobs there.
        interval: Seconds between two looks at a job that waits; later ones are up to five times as far apart.
        save: Saves the launch's record.
        end: Cancels the launch's job; never raises.
        log: The spawner's.
    """

    def __init__(
        self,
        launch: Launch,
        cluster: Cluster,
        jobs: UserJobs,
        *,
        interval: float,
        save: Callable[[], None],
        end: Callable[[], Awaitable[None]],
        log: Logger | LoggerAdapter[Any],
    ) -> None:
        self._launch = launch
        self._record = launch.record
        self._cluster = cluster
        self._jobs = jobs
        self._interval = interval
        self._save = save
        self._end = end
        self._log = log
        self._running_since: float | None = None

    def submit(self, script: str) -> None:
        """Begin to submit; it goes on though the start is cancelled, so that the job's id is never lost."""
        self._launch.submission = run_detached(self._submit(script))

    async def _submit(self, script: str) -> None:
        launch, record = self._launch, self._record
        launch.say(5, f"Submitting a job to {self._cluster.label}")
        try:
            job_id = await self._jobs.submit(script)
        except Exception as error:  # noqa: BLE001 - nobody else would hear of it
            if not isinstance(error, LauncherError):
                self._log.exception("Launch %s: the submit failed", record.launch_id)
                error = LauncherError("The hub made a mistake.", todo="Tell the site's support.")
            may_exist = getattr(error, "may_have_happened", False)
            job_id = record.job_id or (await self._look_for() if may_exist else "")
            if not job_id:
                # One that shows later still is refused when it claims, which ends it.
                record.phase = Phase.ENDING if may_exist else Phase.GONE
                self._save()
                launch.fail(failure.from_error(error))
                return
            self._log.warning("Job %s was submitted, though FirecREST said: %s", job_id, error)
        record.job_id = job_id
        if record.phase is Phase.SUBMITTING:
            record.phase = Phase.SUBMITTED
        self._save()
        self._log.info("Launch %s is job %s", record.launch_id, job_id)
        launch.say(10, f"Submitted as job {job_id}")
        if not launch.wanted:
            launch.submission = None
            await self._end()

    async def _look_for(self) -> str:
        """Look for the job of a submit whose answer was lost; return its id, or nothing."""
        for pause in _LOOK_AFTER:
            await asyncio.sleep(pause)
            try:
                found = await self._jobs.find(self._record.launch_id)
            except LauncherError as error:
                self._log.warning("Launch %s: can't look for its job: %s", self._record.launch_id, error)
                continue
            if found or self._record.job_id:
                return found or self._record.job_id
        return ""

    async def until_ready(self) -> str:
        """Wait until the server listens, looking at the job from time to time; return its URL.

        Raises:
            LaunchFailed: If it can't come to that; the job is cancelled, or has ended.
        """
        launch, record = self._launch, self._record
        interval = self._interval
        next_look = time.monotonic() + min(_FIRST_LOOK, interval)
        while record.phase is not Phase.READY:
            if launch.failure:
                await self._end()
                raise launch.failure
            if launch.ended is not None:
                launch.fail(await self._ended(launch.ended))
            elif record.job_id and time.monotonic() >= next_look:
                await self._look()
                interval = min(interval * 1.3, 5 * self._interval)
                next_look = time.monotonic() + interval
            else:
                # Nothing is awaited between the looks at what has changed and this: no change is missed.
                await launch.change(timeout=max(0.05, next_look - time.monotonic()) if record.job_id else 60)
        launch.say(95, "JupyterLab is ready")
        return record.url

    async def _look(self) -> None:
        """Ask FirecREST for the job; say what it does; a job that can't become a server fails the launch."""
        launch, record = self._launch, self._record
        try:
            status = await self._jobs.status(record.job_id)
        except FirecrestError as error:
            self._log.warning("Job %s: can't tell its state: %s", record.job_id, error)
            return
        if status is None or record.phase is Phase.READY:
            return
        if status.verdict is Verdict.DEAD:
            failed = failure.job_ended(record.job_id, status, await self._jobs.log_tail(record.job_id))
            record.phase = Phase.GONE
            self._save()
            launch.fail(failed)
        elif record.phase is Phase.SUBMITTED and status.waiting:
            reason = f": {status.reason}" if status.reason else ""
            launch.say(20, f"Job {record.job_id} is pending{reason}")
        elif record.phase is Phase.SUBMITTED and status.state == "RUNNING":
            launch.say(30, f"Job {record.job_id} is running on {status.nodes}")
            self._running_since = self._running_since or time.monotonic()
            if time.monotonic() - self._running_since > self._cluster.claim_timeout:
                log = await self._jobs.log_tail(record.job_id)
                launch.fail(failure.unclaimed(record.job_id, self._cluster.claim_timeout, log))

    async def _ended(self, message: str) -> failure.LaunchFailed:
        """Return why a job ended: what its node said, else what Slurm says, else its script's exit code."""
        job_id = self._record.job_id
        status: JobStatus | None = None
        if job_id and not message:
            try:
                if await self._jobs.ended(job_id, within=_LAST_STATUS):
                    status = await self._jobs.status(job_id)
            except FirecrestError as error:
                self._log.warning("Job %s: can't tell how it ended: %s", job_id, error)
        log = await self._jobs.log_tail(job_id)
        if status and status.verdict is Verdict.DEAD:
            return failure.job_ended(job_id, status, log)
        return failure.node_said(job_id, message, self._launch.exit_code, log)
