"""Batch scripts in a Slurm of our own, through the commands that FirecREST uses."""

import asyncio
import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from launcher.errors import SandboxError
from launcher.sandbox.accounts import Account, as_account
from launcher.sandbox.scheduler.model import (
    PARTITIONS,
    CancelRefused,
    Job,
    Node,
    Partition,
    Submission,
    SubmitRefused,
)
from launcher.sandbox.scheduler.slurm_accounting import Rows, merge, projects_of, registrations
from launcher.sandbox.scheduler.slurm_conf import CLUSTER, KILL_WAIT, NODES, SLOTS
from launcher.sandbox.scheduler.slurm_daemons import SlurmDaemons
from launcher.sandbox.scheduler.slurm_operator import SlurmOperator
from launcher.sandbox.scheduler.slurm_text import (
    JOB_FIELDS,
    NODE_FIELDS,
    PARTITION_FIELDS,
    Columns,
    Record,
    read_job,
    read_nodes,
    read_partition,
)
from launcher.sandbox.unix_users import program

_USABLE = {"IDLE", "MIXED", "ALLOCATED"}


class SlurmScheduler:
    """A private Slurm, started and ended by us.

    Where several accounts are one unix user, a job's comment names its owner. On sbatch's command line it
    wins over the script's.

    Args:
        state: State directory of the run, which the accounts can pass.
        accounts: Those who submit jobs.
        partitions: Their names, the default one first, and the longest job of each in seconds.
        accounting: Whether slurmdbd keeps accounts and jobs. Then jobs are shown as FirecREST has them from
            sacct, slurmdbd must answer for it, and Slurm refuses accounts that somebody does not have.
        slots: How many jobs run at once, at least.

    Attributes:
        operator: What whoever runs this Slurm can do to it.
    """

    kind = "slurm"
    cluster_name = CLUSTER
    note = ""

    def __init__(
        self,
        state: Path,
        accounts: Iterable[Account],
        partitions: Mapping[str, int] = PARTITIONS,
        *,
        accounting: bool = False,
        slots: int = SLOTS,
    ) -> None:
        self.version = ""
        self._accounts = list(accounts)
        self._accounting = accounting
        self._daemons = SlurmDaemons(state / "slurm", partitions, accounting=accounting, slots=slots)
        self.operator = SlurmOperator(self._daemons, self._ask)
        self._scripts: dict[str, str] = {}
        self._cancelled_by: dict[str, int] = {}

    async def start(self) -> None:
        """As `Scheduler.start`."""
        await self._daemons.start(self._open_books, self._ready)
        self.version = (await self._ask("sinfo", "--version")).split()[-1]

    async def stop(self) -> None:
        """As `Scheduler.stop`."""
        # What resists for longer than Slurm waits is ended with the daemons.
        with contextlib.suppress(SandboxError, TimeoutError):
            async with asyncio.timeout(KILL_WAIT + 5):
                while self._daemons.whole and (
                    living := await self._records("squeue", JOB_FIELDS, "--states=PD,CF,R,S,CG")
                ):
                    await self._run(["scancel", "--quiet", *(record["JobID"] for record in living)])
                    await asyncio.sleep(0.2)
        await self._daemons.stop()

    async def submit(self, account: Account, submission: Submission) -> str:
        """As `Scheduler.submit`."""
        options = submission.options | {
            "export": ",".join(
                ["ALL", *(f"{name}={value}" for name, value in submission.environment.items())]
            ),
            "chdir": submission.working_directory or str(account.home),
            "comment": account.name if self._shared(account.uid) else None,
        }
        given = [f"--{option}={value}" for option, value in options.items() if value is not None]
        status, job_id, words = await self._run(
            ["sbatch", "--parsable", *given], account=account, text=submission.script
        )
        if status:
            self._daemons.check()
            raise SubmitRefused(words, exit_status=status)
        job_id = job_id.strip()
        self._scripts[job_id] = submission.script
        return job_id

    async def jobs(self) -> list[Job]:
        """As `Scheduler.jobs`."""
        return await self._accounted("--starttime=now-7days") if self._accounting else await self.queue()

    async def queue(self) -> list[Job]:
        """As `Scheduler.queue`."""
        records = await self._records("squeue", JOB_FIELDS, "--states=all", "--all", "--array")
        return sorted((self._job(record) for record in records), key=lambda job: int(job.id))

    async def job(self, job_id: str) -> Job | None:
        """As `Scheduler.job`."""
        if not self._accounting:
            return await self.known(job_id)
        jobs = await self._accounted(f"--jobs={job_id}") if job_id.isdigit() else []
        return next((job for job in jobs if job.id == job_id), None)

    async def known(self, job_id: str) -> Job | None:
        """As `Scheduler.known`."""
        found = next((job for job in await self.queue() if job.id == job_id), None)
        if found and job_id not in self._scripts:  # submitted by somebody else, such as a job
            _, script, _ = await self._run(["scontrol", "write", "batch_script", job_id, "-"])
            self._scripts[job_id] = script
            return replace(found, script=script)
        return found

    async def projects(self, account: Account) -> list[str]:
        """As `Scheduler.projects`."""
        if not self._accounting:
            return []
        output = await self._ask("sacctmgr", *projects_of(account.unix_name))
        return list(dict.fromkeys(name for line in output.splitlines() for name in line.split("|")))

    async def cancel(self, account: Account, job_id: str) -> None:
        """As `Scheduler.cancel`."""
        if self._shared(account.uid):
            job = await self.known(job_id)
            if job and job.account_name != account.name:
                raise CancelRefused.because(job_id, "Access/permission denied", exit_status=210)
        status, _, words = await self._run(["scancel", "--verbose", job_id], account=account)
        if status or "error:" in words:
            self._daemons.check()
            raise CancelRefused(words, exit_status=status)
        self._cancelled_by[job_id] = account.uid

    async def nodes(self) -> list[Node]:
        """As `Scheduler.nodes`."""
        return read_nodes(await self._records("sinfo", NODE_FIELDS, "--Node", "--all", "--sort=N,#P"))

    async def partitions(self) -> list[Partition]:
        """As `Scheduler.partitions`."""
        return [
            read_partition(record)
            for record in await self._records("sinfo", PARTITION_FIELDS, "--all", "--sort=#P")
        ]

    async def _accounted(self, *which: str) -> list[Job]:
        # Both are asked at once, and each must answer, as with FirecREST.
        question = Rows()
        output, queue = await asyncio.gather(
            self._ask("sacct", "--allusers", *question.options, *which), self.queue()
        )
        return merge(question.records(output), queue)

    async def _open_books(self) -> bool:
        status, *_ = await self._run(["sacctmgr", "show", "cluster"])
        if not status:
            for command in registrations(account.unix_name for account in self._accounts):
                await self._ask("sacctmgr", "--immediate", *command)
        return not status

    async def _ready(self) -> bool:
        try:
            nodes = await self.nodes()
        except SandboxError:
            return False
        return len(nodes) == len(NODES) and all(_USABLE.issuperset(node.state) for node in nodes)

    def _job(self, record: Record) -> Job:
        script = self._scripts.get(record["JobID"], "")
        return read_job(record, owner=self._owner, cancelled_by=self._cancelled_by, script=script)

    def _owner(self, uid: int, comment: str) -> str:
        names = [account.name for account in self._accounts if account.uid == uid]
        return comment if comment in names else next(iter(names), "")

    def _shared(self, uid: int) -> bool:
        return sum(account.uid == uid for account in self._accounts) > 1

    async def _records(self, command: str, fields: Sequence[str], *options: str) -> list[Record]:
        columns = Columns(fields)
        return columns.records(await self._ask(command, "--noheader", columns.option, *options))

    async def _ask(self, *command: str) -> str:
        self._daemons.check()
        status, output, words = await self._run(command)
        if status:
            self._daemons.check()
            raise SandboxError("Slurm did not answer.", why=words.strip())
        return output

    async def _run(
        self, command: Sequence[str], *, account: Account | None = None, text: str = ""
    ) -> tuple[int, str, str]:
        arguments = [program(command[0]), *command[1:]]
        environment = {**self._daemons.environment, "SLURM_TIME_FORMAT": "%s", "LC_ALL": "C.UTF-8"}
        if account:
            arguments = as_account(account, arguments, environment=self._daemons.environment)
        try:
            process = await asyncio.create_subprocess_exec(
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={"PATH": os.defpath, **environment},
                cwd=account.home if account else "/",
                umask=0o022,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # more than an argument list may hold, or a null character
            return 1, "", f"{command[0]}: error: {error}\n"
        try:
            output, words = await process.communicate(text.encode(errors="replace"))
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            status = await process.wait()
        return status, output.decode(errors="replace"), words.decode(errors="replace")
