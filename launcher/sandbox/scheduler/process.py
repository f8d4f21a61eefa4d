"""Batch scripts as plain processes, with Slurm's options, states and refusals."""

import asyncio
import os
import shutil
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from launcher import __version__
from launcher.sandbox.accounts import Account
from launcher.sandbox.scheduler.directives import read, refused
from launcher.sandbox.scheduler.model import (
    PARTITIONS,
    CancelRefused,
    Job,
    JobState,
    Node,
    Partition,
    Submission,
)
from launcher.sandbox.scheduler.notation import exported
from launcher.sandbox.scheduler.process_job import CLUSTER, NODE, ProcessJob

_TICK = 0.1
"""Seconds by which two clocks of this machine may differ."""


class ProcessScheduler:
    """Runs each job as a process of its account, under a keeper: it ends with all that came of it.

    A time limit counts to the second, where Slurm rounds it up to minutes.

    Args:
        state: State directory of the run, which the accounts can pass.
        slots: How many jobs run at once; 0 lets all wait.
        kill_wait: Seconds from SIGTERM to SIGKILL.
        note: Why nothing better runs the jobs.
        partitions: Their names, the default one first, and the longest job of each in seconds.

    Attributes:
        reason: Why jobs wait, instead of the true reason; "" for that.
        expected_start: When jobs that wait are expected to start (seconds since the epoch); None for when the
            first of those that run will have used up its time.
    """

    kind = "process"
    cluster_name = CLUSTER
    version = __version__

    def __init__(
        self,
        state: Path,
        *,
        slots: int = 8,
        kill_wait: float = 10,
        note: str = "",
        partitions: Mapping[str, int] = PARTITIONS,
    ) -> None:
        self.note = note
        self.reason = ""
        self.expected_start: float | None = None
        self._partitions = partitions
        self._spool = state.absolute() / "spool"
        self._slots = slots
        self._kill_wait = kill_wait
        self._jobs: dict[str, ProcessJob] = {}
        self._open = False

    @property
    def slots(self) -> int:
        """How many jobs run at once; jobs that fit into a larger number start at once."""
        return self._slots

    @slots.setter
    def slots(self, number: int) -> None:
        self._slots = number
        self._schedule()

    async def start(self) -> None:
        """As `Scheduler.start`."""
        if self._open:
            return
        await asyncio.to_thread(shutil.rmtree, self._spool, ignore_errors=True)
        self._spool.mkdir()
        self._spool.chmod(0o711)
        self._open = True

    async def stop(self) -> None:
        """As `Scheduler.stop`."""
        self._open = False
        for job in self._jobs.values():
            job.finish(JobState.CANCELLED, by=job.account.uid)
        await asyncio.gather(*(job.task for job in self._jobs.values() if job.task))

    async def submit(self, account: Account, submission: Submission) -> str:
        """As `Scheduler.submit`."""
        if not self._open:
            raise refused("Batch job submission failed: Unable to contact slurm controller (connect failure)")
        asked = read(submission.script, submission.options)
        chosen = asked.partition or next(iter(self._partitions))
        if chosen not in self._partitions:
            raise refused(
                f"invalid partition specified: {chosen}",
                "Batch job submission failed: Invalid partition name specified",
            )
        job = ProcessJob(
            id=str(len(self._jobs) + 1),
            account=account,
            asked=asked,
            script=submission.script,
            environment=exported(
                ",".join(f"{name}={value}" for name, value in submission.environment.items())
            ),
            directory=asked.working_directory or str(account.home),
            partition=chosen,
            limit=self._partitions[chosen] if asked.limit is None else asked.limit,
            submitted=time.time(),
        )
        self._jobs[job.id] = job
        self._schedule()
        return job.id

    async def jobs(self) -> list[Job]:
        """As `Scheduler.jobs`."""
        return [self._shown(job) for job in self._jobs.values()]

    async def queue(self) -> list[Job]:
        """As `Scheduler.queue`."""
        return await self.jobs()

    async def job(self, job_id: str) -> Job | None:
        """As `Scheduler.job`."""
        return self._shown(self._jobs[job_id]) if job_id in self._jobs else None

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
        self.end(job_id, JobState.CANCELLED, by=account.uid)

    def end(self, job_id: str, state: JobState, *, at_once: bool = False, by: int = 0) -> None:
        """End a job as its owner would not: its node dies, an admin cancels it, it is preempted.

        Args:
            job_id: A job that has not ended.
            state: Its last state.
            at_once: Whether its processes are killed, so that not even a trap of the script runs.
            by: Number of the user who cancels it.
        """
        self._jobs[job_id].finish(state, at_once=at_once, by=by)
        self._schedule()

    def requeue(self, job_id: str, *, after: float = 120) -> None:
        """Kill a running job and put it back into the queue, as Slurm does with those of a node that it lost.

        Args:
            job_id: A running job.
            after: Seconds before which it does not start again.
        """
        self._jobs[job_id].requeue(time.time() + after)
        asyncio.get_running_loop().call_later(after + _TICK, self._schedule)

    async def nodes(self) -> list[Node]:
        """As `Scheduler.nodes`."""
        busy = len(self._busy())
        return [
            Node(
                name=NODE,
                state=("IDLE" if not busy else "ALLOCATED" if busy >= self._slots else "MIXED",),
                cpus=self._slots,
                allocated_cpus=busy,
                sockets=self._slots,
                cores=1,
                threads=1,
                cpu_load=round(os.getloadavg()[0], 2),
                free_memory=os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20,
                allocated_memory=0,
                partitions=tuple(self._partitions),
                address="127.0.0.1",
                hostname=socket.gethostname(),
            )
        ]

    async def partitions(self) -> list[Partition]:
        """As `Scheduler.partitions`."""
        return [
            Partition(name, self._slots, 1, "UP", default=name == next(iter(self._partitions)), limit=limit)
            for name, limit in self._partitions.items()
        ]

    def _busy(self) -> list[ProcessJob]:
        return [job for job in self._jobs.values() if job.task and not job.task.done()]

    def _schedule(self) -> None:
        """Start what may start, first come, first served; tell all others why they wait."""
        free = self._slots - len(self._busy()) if self._open else 0
        full = "Resources"
        for job in self._jobs.values():
            if not job.waits:
                continue
            if job.begin > time.time():
                job.reason = "BeginTime"
            elif job.asked.nodes > 1:
                job.reason = "PartitionNodeLimit"
            elif job.limit > self._partitions[job.partition]:
                job.reason = "PartitionTimeLimit"
            elif free > 0:
                free -= 1
                job.reason = "None"
                spool = self._spool / f"job{int(job.id):05}"
                job.task = asyncio.create_task(job.execute(spool, self._kill_wait))
                job.task.add_done_callback(lambda _: self._schedule())
            else:
                job.reason, full = full, "Priority"

    def _shown(self, job: ProcessJob) -> Job:
        if job.reason == "BeginTime":
            return job.shown(job.begin)
        ends = [other.start + other.limit for other in self._busy() if other.start]
        usual = min(ends, default=None) if job.reason == "Resources" else None
        shown = job.shown(usual if self.expected_start is None else self.expected_start)
        waits = shown.state == JobState.PENDING
        return replace(shown, reason=self.reason) if waits and self.reason else shown
