"""One start: from the submit to a server that listens."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial
from logging import Logger, LoggerAdapter
from typing import Any

from launcher.database.launch_record import Phase
from launcher.detached import run_detached
from launcher.errors import FirecrestError, JobRejected, LauncherError
from launcher.firecrest import JobStatus, Known, Verdict
from launcher.firecrest.jobs import Jobs
from launcher.firecrest.watcher import STARTING
from launcher.patience import within
from launcher.spawner.launches import READY_AT, Launch
from launcher.words import failure, pending
from launcher.words.ended import stopped

_LAST_STATUS = 4.0
_LOOK_AFTER = (2.0, 6.0, 12.0)
"""Seconds before each look for a job whose submit was not answered: a stalled controller takes it late."""
_LONGEST_PAUSE = 60.0
_HOPELESS_LOOKS = 2
_ODD = 25.0
"""Seconds before the next look at a job that does not just wait."""
_READY_WITHIN = 900.0
"""Seconds from the claim in which a server must listen: a file system that hangs keeps it for ever."""
_ASK_EVERY = 1.0
_ANSWERS_WITHIN = 20.0
"""Seconds in which a server that listens must answer the hub."""
_SUBMIT_AGAIN_AFTER = (2.0, 5.0, 10.0)
# FirecREST, or what stands before it, is just being restarted, or too busy.
_TRANSIENT = frozenset({None, 408, 429, 500, 502, 503, 504})


class Start:
    """Submits a launch's job and sees it through until its server listens.

    Args:
        launch: The launch.
        jobs: The user's jobs on its cluster.
        seconds: How long it may take.
        save: Saves the launch's record.
        end: Begins to end the launch.
        log: The spawner's.

    Attributes:
        was_ready: Whether its server was ready before.
    """

    def __init__(
        self,
        launch: Launch,
        jobs: Jobs,
        *,
        seconds: float,
        save: Callable[[], None],
        end: Callable[[], object],
        log: Logger | LoggerAdapter[Any],
    ) -> None:
        self._launch, self._record = launch, launch.record
        self.was_ready = launch.record.phase is Phase.READY
        self._jobs = jobs
        self._seconds = seconds
        self._began = time.monotonic()
        self._save = save
        self._end = end
        self._log = log
        self._running_since: float | None = None
        self._hopeless = 0

    def submit(self, script: str, saved: Awaitable[None]) -> None:
        """Begin to submit; it goes on though the start is cancelled, so that the job's id is never lost.

        Args:
            script: The batch script.
            saved: Ends when the record is saved: the hub must know of a job that it may not live to hear of.
        """
        self._launch.submission = run_detached(self._submit(script, saved))

    async def _submit(self, script: str, saved: Awaitable[None]) -> None:
        launch, record = self._launch, self._record
        launch.say(5, f"Submitting a job to {self._jobs.cluster.label}")
        try:
            job_id = await self._submitted(script, saved)
        except Exception as error:  # noqa: BLE001 - nobody else would hear of it
            if not isinstance(error, LauncherError):
                self._log.exception("Launch %s: the submit failed", record.launch_id)
                error = LauncherError("The hub made a mistake.", todo="Tell the site's support.")
            launch.fail(failure.from_error(error))
            if not getattr(error, "may_have_happened", False):
                launch.enter(Phase.GONE)
                self._save()
        else:
            await self._is(job_id)

    async def _is(self, job_id: str) -> None:
        """Take a submit's answer, unless a job of an earlier submit has claimed the launch meanwhile."""
        if self._record.job_id in ("", job_id):
            self._has_id(job_id)
            return
        self._log.warning("Launch %s has a second job %s", self._record.launch_id, job_id)
        self._jobs.suspect()
        with contextlib.suppress(FirecrestError):  # it ends by itself when its claim is refused
            await self._jobs.cancel(job_id)

    async def _submitted(self, script: str, saved: Awaitable[None]) -> str:
        """Submit, and look for the job whenever the answer leaves open whether there is one."""
        launch, record = self._launch, self._record
        await saved
        if not launch.wanted:
            raise stopped()
        for pause in (*_SUBMIT_AGAIN_AFTER, None):
            try:
                return await self._jobs.submit(script)
            except JobRejected:
                raise
            except FirecrestError as error:
                self._log.warning("Launch %s: the submit: %s", record.launch_id, error)
                if error.may_have_happened:
                    self._jobs.suspect()
                    if await self.found():
                        return record.job_id
                if error.status in _TRANSIENT and pause is not None and launch.wanted:
                    launch.say(6, "FirecREST does not answer; the hub tries again")
                    await asyncio.sleep(pause)
                    if record.job_id:  # it has claimed the launch
                        return record.job_id
                    if launch.wanted:
                        continue
                # One that shows later still, beside another, is refused when it claims, which ends it.
                error.may_have_happened = error.may_have_happened and not launch.wanted
                raise
        raise AssertionError

    async def found(self) -> bool:
        """Look for the job of a submit that may have happened until it is known whether there is one."""
        launch, record = self._launch, self._record
        looks = iter(_LOOK_AFTER)
        pause = next(looks)
        while launch.wanted:
            look_at = time.monotonic() + pause * random.uniform(1, 1.2)  # noqa: S311 - spreads load
            while launch.wanted and not record.job_id and time.monotonic() < look_at:
                await launch.change(look_at - time.monotonic())
            if record.job_id:
                return True
            try:
                job_id = await self._jobs.find(record.launch_id)
            except LauncherError as error:
                self._log.warning("Launch %s: can't look for its job: %s", record.launch_id, error)
                launch.say(6, "FirecREST can't tell whether there is a job; the hub goes on asking")
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            if job_id:
                self._has_id(job_id)
                return True
            try:
                pause = next(looks)
            except StopIteration:
                return False
        return False

    def _has_id(self, job_id: str) -> None:
        launch, record = self._launch, self._record
        record.job_id = job_id
        if record.phase is Phase.SUBMITTING:
            launch.enter(Phase.SUBMITTED)
        self._save()
        self._log.info("Launch %s of %s is job %s", record.launch_id, launch.name, job_id)
        launch.say(10, f"Submitted as job {job_id}")

    async def until_ready(self, proves: Callable[[Launch], Awaitable[bool]]) -> str:
        """Wait until the server listens and answers; return its URL.

        Args:
            proves: Asks a launch's server whether it is that.

        Raises:
            LaunchFailed: If it can't come to that; the job is cancelled, or has ended.
        """
        launch, record = self._launch, self._record
        if self.was_ready:
            # Taken up: it did answer, and JupyterHub looks at it in any case.
            return record.url
        await self._until_it_listens()
        # The first time it may take as long as the hub is busy with others.
        if not launch.failure and not await proves(launch):
            try:
                await within(_ANSWERS_WITHIN, self._until_it_answers_or_ends(proves))
            except TimeoutError:
                launch.fail(failure.unreachable(record.job_id, record.url, _ANSWERS_WITHIN))
            if launch.ended is not None:
                launch.fail(await self._why_ended(launch.ended))
        if launch.failure:
            self._end()
            raise launch.failure
        launch.say(READY_AT, "JupyterLab is ready")
        return record.url

    async def _until_it_answers_or_ends(self, proves: Callable[[Launch], Awaitable[bool]]) -> None:
        launch = self._launch
        while not launch.failure and launch.ended is None and not await proves(launch):
            await launch.change(_ASK_EVERY)

    async def _until_it_listens(self) -> None:
        """Wait until the launch is ready or can't come to that."""
        launch, record = self._launch, self._record
        with contextlib.ExitStack() as following:
            follower, considered = None, 0
            while record.phase is not Phase.READY and not launch.failure:
                if launch.ended is not None:
                    launch.fail(await self._why_ended(launch.ended))
                    continue
                if follower is None and record.job_id:
                    followed = self._jobs.follow(record.job_id, STARTING, told=launch.touch)
                    follower = following.enter_context(followed)
                if follower and follower.known.looks > considered:
                    considered = follower.known.looks
                    await self._consider(follower.known)
                    if self._hopeless or follower.known.words != "PENDING":
                        follower.look_within(_ODD)
                    continue
                waited = time.monotonic() - self._began
                if record.phase is Phase.CLAIMED and min(launch.phase_seconds, waited) > _READY_WITHIN:
                    log = await self._jobs.log_tail(record.job_id)
                    launch.fail(failure.never_ready(record.job_id, _READY_WITHIN, log))
                    continue
                if waited >= self._seconds:
                    status = follower.known.status if follower else None
                    launch.fail(failure.still_waiting(record.job_id, self._seconds, status))
                    continue
                # Nothing is awaited between the looks at what has changed and this: no change is missed.
                await launch.change(timeout=min(30.0, max(0.05, self._seconds - waited)))

    async def _consider(self, known: Known) -> None:
        """Say what the job does; one that can't become a server fails the launch."""
        launch, record, status = self._launch, self._record, known.status
        if known.verdict is Verdict.DEAD:
            log = await self._jobs.log_tail(record.job_id)
            ended = failure.lost if known.lost else partial(failure.job_ended, status=status)
            launch.fail(ended(record.job_id, log=log))
        elif known.verdict is Verdict.UNKNOWN or status is None:
            if known.looks > 1 and record.phase is Phase.SUBMITTED:  # a first look may come too early
                launch.say(15, f"The state of job {record.job_id} can't be told just now; it is not given up")
        elif record.phase is Phase.SUBMITTED:
            if launch.last_pull is None:
                launch.say(20, pending.words(record.job_id, status, time.time()))
            await (self._runs(status) if status.state == "RUNNING" else self._waits(status))

    async def _waits(self, status: JobStatus) -> None:
        self._running_since = None
        # Nodes that are just being set right may look like ones that will never do.
        self._hopeless = self._hopeless + 1 if pending.hopeless(status) else 0
        if self._hopeless >= _HOPELESS_LOOKS:
            self._launch.fail(failure.never_starts(self._record.job_id, status))

    async def _runs(self, status: JobStatus) -> None:
        launch, job_id, now = self._launch, self._record.job_id, time.monotonic()
        self._running_since = self._running_since or now
        limit = self._jobs.cluster.claim_timeout
        if now - max(self._running_since, launch.last_pull or 0.0) > limit:
            launch.fail(failure.unclaimed(job_id, limit, status, await self._jobs.log_tail(job_id)))

    async def _why_ended(self, said: str) -> failure.LaunchFailed:
        """Return why a job ended: what its node said, else what Slurm says, else its script's exit code."""
        job_id = self._record.job_id
        if said in ("terminated", "walltime"):  # by a signal: Slurm knows why that was sent
            said = ""
        within = _LAST_STATUS if job_id and not said else 0.0
        status, log = await asyncio.gather(self._jobs.dead(job_id, within), self._jobs.log_tail(job_id))
        return failure.job_ended(job_id, status, said=said, exit_code=self._launch.exit_code, log=log)
