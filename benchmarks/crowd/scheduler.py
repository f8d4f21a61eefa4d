"""A scheduler whose jobs are impersonated."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import resource
import shlex
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.crowd import port
from benchmarks.crowd.hub import Hub
from benchmarks.crowd.session import NODE, Launched, Pace, Session
from launcher import __version__
from launcher.clusters.script import JOB_NAME
from launcher.protocol import ScriptExit
from launcher.sandbox.accounts import Account
from launcher.sandbox.scheduler import CancelRefused, Job, JobState, Node, Partition, Submission
from launcher.sandbox.scheduler.choice import SchedulerMaker
from launcher.sandbox.scheduler.directives import Directives, read, refused
from launcher.sandbox.scheduler.model import PARTITIONS

_TICKET = re.compile(r"^launch_ticket=([0-9a-f]{64})$", re.MULTILINE)
_HUB = re.compile(r"^launch_hub=(.+)$", re.MULTILINE)
_PATIENCE = re.compile(r"\bLAUNCHER_CLAIM_TIMEOUT=([0-9]+) ")
_KEPT_LINES = 2
"""Lines of a script that the hub may ask for later: they name its launch."""


@dataclass(frozen=True)
class _Script:
    """What a batch script of the launcher gives its job."""

    ticket: str
    hub_url: str
    patience: float

    @classmethod
    def read(cls, text: str) -> _Script:
        ticket, hub, patience = (pattern.search(text) for pattern in (_TICKET, _HUB, _PATIENCE))
        if not ticket or not hub or not patience:
            raise refused("This is not a batch script of the launcher.")
        return cls(ticket[1], shlex.split(hub[1])[0], float(patience[1]))


@dataclass(eq=False)
class _Job:
    """One job as it goes on; moments are seconds since the epoch."""

    id: str
    account: Account
    asked: Directives
    partition: str
    limit: float
    head: str
    session: Session
    submitted: float = field(default_factory=time.time)
    state: JobState = JobState.PENDING
    reason: str = "Resources"
    start: float | None = None
    end: float | None = None
    exit_code: int = 0
    ended_by: int = 0
    runs: bool = False
    allowed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    _shown: Job | None = None

    def enter(self, state: JobState, reason: str = "None") -> None:
        self.state, self.reason, self._shown = state, reason, None

    def shown(self) -> Job:
        """Return it as FirecREST shows it, as long as it had run when its state last changed."""
        if self._shown is None:
            waits = self.state is JobState.PENDING
            cancelled = self.state is JobState.CANCELLED
            never_ran = self.end is not None and self.start is None
            directory = str(self.account.home)
            log = f"{directory}/slurm-{self.id}.out"
            self._shown = Job(
                id=self.id,
                name=self.asked.name,
                account_name=self.account.name,
                unix_user=self.account.unix_name,
                group="users",
                project=self.asked.project,
                partition=self.partition,
                state=f"CANCELLED by {self.ended_by}" if cancelled else str(self.state),
                reason=self.reason,
                exit_code=None if waits else self.exit_code,
                signal=None if waits else 0,
                nodes="" if waits else "None assigned" if never_ran else NODE,
                allocation_nodes=0 if never_ran else self.asked.nodes,
                elapsed=int(self.end or time.time()) - int(self.start) if self.start else 0,
                start=int(self.start) if self.start else None,
                end=int(self.end) if self.end else None,
                limit=None if math.isinf(self.limit) else int(self.limit),
                working_directory=directory,
                priority=1,
                submitted=int(self.submitted),
                script=self.head,
                standard_output=log,
                standard_error=log,
            )
        return self._shown


class Crowd:
    """Impersonates every job that is submitted; a `Scheduler`.

    Args:
        pace: How long things take on a node.
        slots: How many jobs run at once; others wait.
        partitions: Their names, the default one first, and the longest job of each in seconds.
    """

    kind = "crowd"
    cluster_name = "sandbox"
    version = __version__
    note = ""

    def __init__(
        self,
        pace: Pace | None = None,
        *,
        slots: int = 100_000,
        partitions: Mapping[str, int] = PARTITIONS,
    ) -> None:
        self.pace = pace or Pace()
        self._slots = slots
        self._partitions = partitions
        self._jobs: dict[str, _Job] = {}
        self._waiting: dict[str, _Job] = {}
        self._running = 0
        self._open = False

    @classmethod
    def of(cls, pace: Pace | None = None, *, slots: int = 100_000) -> SchedulerMaker:
        """Return what makes one for a `Site`."""

        def make(state: Path, partitions: Mapping[str, int]) -> Crowd:
            del state
            return cls(pace, slots=slots, partitions=partitions)

        return make

    @property
    def slots(self) -> int:
        """How many jobs run at once; jobs that fit into a larger number start at once."""
        return self._slots

    @slots.setter
    def slots(self, number: int) -> None:
        self._slots = number
        self._schedule()

    @property
    def ready(self) -> int:
        """How many servers have been ready and have not ended."""
        return sum(job.session.ready and job.end is None for job in self._jobs.values())

    def launched(self, user: str) -> Launched | None:
        """Return what the last job of somebody has claimed, if it has and has not ended."""
        for job in reversed(self._jobs.values()):
            if job.account.name == user and job.end is None:
                return job.session.launched
        return None

    def report(self, interval: float) -> None:
        """Have all servers that are ready report activity from now on, so many seconds apart."""
        for job in self._jobs.values():
            if job.session.ready and job.end is None:
                job.session.report(interval, at_once=False)

    async def start(self) -> None:
        """As `Scheduler.start`."""
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self._open = True

    async def stop(self) -> None:
        """As `Scheduler.stop`."""
        self._open = False
        await self.clear()

    async def clear(self) -> None:
        """End all jobs without a word, as with their node, and forget them."""
        tasks = [job.task for job in self._jobs.values() if job.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._jobs.clear()

    async def submit(self, account: Account, submission: Submission) -> str:
        """As `Scheduler.submit`."""
        if not self._open:
            raise refused("Batch job submission failed: Unable to contact slurm controller (connect failure)")
        script = _Script.read(submission.script)
        hub = Hub(script.hub_url)
        job = self._add(account, submission, Session(hub, self.pace))
        job.task = asyncio.create_task(
            self._run(
                job, hub, script.ticket, lambda: job.session.run(script.ticket, job.id, script.patience)
            )
        )
        return job.id

    async def resume(
        self, account: Account, launched: Launched, *, hub_url: str, ticket: str, first: float
    ) -> tuple[str, int]:
        """Take up a job of an earlier run, whose server is ready; return its id and its port.

        Args:
            account: Whose it is.
            launched: What it has claimed.
            hub_url: The hub's API.
            ticket: Its ticket.
            first: Seconds to its first word.
        """
        submission = Submission(
            f"#!/bin/bash\n# launch {launched.launch_id}\n#SBATCH --job-name={JOB_NAME}\n"
        )
        hub = Hub(hub_url)
        session = Session(hub, self.pace)
        session.launched, session.ready = launched, True
        job = self._add(account, submission, session)
        await session.listen()
        job.task = asyncio.create_task(self._run(job, hub, ticket, lambda: session.go_on(first)))
        return job.id, session.port

    def _add(self, account: Account, submission: Submission, session: Session) -> _Job:
        asked = read(submission.script, submission.options)
        partition = asked.partition or next(iter(self._partitions))
        job = _Job(
            id=str(len(self._jobs) + 1),
            account=account,
            asked=asked,
            partition=partition,
            limit=self._partitions.get(partition, math.inf) if asked.limit is None else asked.limit,
            head="".join(submission.script.splitlines(keepends=True)[:_KEPT_LINES]),
            session=session,
        )
        self._jobs[job.id] = job
        return job

    async def _run(self, job: _Job, hub: Hub, ticket: str, work: Callable[[], Awaitable[int]]) -> None:
        code = 0
        try:
            await asyncio.sleep(0 if job.session.ready else self.pace.queue)
            await self._slot(job)
            if job.end is not None:
                return
            job.start = time.time()
            job.enter(JobState.RUNNING)
            code = await work()
            with contextlib.suppress(OSError):
                await hub.script_exit(ScriptExit(ticket, code, job.id))
        finally:
            job.session.close()
            self._over(job, code)

    async def _slot(self, job: _Job) -> None:
        """Wait until it may run, first come, first served, or is cancelled."""
        job.enter(JobState.PENDING, "Priority")
        self._waiting[job.id] = job
        self._schedule()
        await job.allowed.wait()

    def _schedule(self) -> None:
        while self._waiting and self._running < self._slots:
            job = self._waiting.pop(next(iter(self._waiting)))
            job.allowed.set()
            job.runs = True
            self._running += 1

    def _over(self, job: _Job, code: int) -> None:
        if job.end is None:
            job.end, job.exit_code = time.time(), code
            job.enter(JobState.FAILED if code else JobState.COMPLETED)
        self._running -= job.runs
        self._schedule()

    async def jobs(self) -> list[Job]:
        """As `Scheduler.jobs`."""
        return [job.shown() for job in self._jobs.values()]

    async def queue(self) -> list[Job]:
        """As `Scheduler.queue`."""
        return await self.jobs()

    async def job(self, job_id: str) -> Job | None:
        """As `Scheduler.job`."""
        return self._jobs[job_id].shown() if job_id in self._jobs else None

    async def known(self, job_id: str) -> Job | None:
        """As `Scheduler.known`."""
        return await self.job(job_id)

    async def projects(self, account: Account) -> list[str]:  # noqa: ARG002 - as the protocol has it
        """As `Scheduler.projects`."""
        return []

    async def cancel(self, account: Account, job_id: str) -> None:
        """As `Scheduler.cancel`."""
        job = self._jobs.get(job_id)
        if job is None:
            raise CancelRefused.because(job_id, "Invalid job id specified")
        if job.account.name != account.name:
            raise CancelRefused.because(job_id, "Access/permission denied", exit_status=210)
        if job.end is not None:
            raise CancelRefused.because(job_id, "Job/step already completing or completed")
        job.end, job.ended_by = time.time(), account.uid
        job.enter(JobState.CANCELLED)
        self._waiting.pop(job_id, None)
        job.allowed.set()
        job.session.end("terminated")

    async def nodes(self) -> list[Node]:
        """As `Scheduler.nodes`."""
        return [
            Node(
                name=NODE,
                state=("MIXED",),
                cpus=self._slots,
                allocated_cpus=self._running,
                sockets=self._slots,
                cores=1,
                threads=1,
                cpu_load=0.0,
                free_memory=0,
                allocated_memory=0,
                partitions=tuple(self._partitions),
                address=port.ADDRESS,
                hostname=NODE,
            )
        ]

    async def partitions(self) -> list[Partition]:
        """As `Scheduler.partitions`."""
        first = next(iter(self._partitions))
        return [
            Partition(name, self._slots, 1, "UP", default=name == first, limit=limit)
            for name, limit in self._partitions.items()
        ]
