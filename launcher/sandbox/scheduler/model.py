"""What the gateway asks of a scheduler, and what it gets, whichever scheduler runs the jobs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, Self

from launcher.errors import SandboxError
from launcher.sandbox.accounts import Account

PARTITIONS: Mapping[str, int] = {"normal": 4 * 3600, "debug": 30 * 60}
"""The sandbox's partitions, the default one first, and the longest job of each in seconds."""


class JobState(StrEnum):
    """Slurm's words for what a job is doing (squeue(1), JOB STATE CODES)."""

    PENDING = "PENDING"
    CONFIGURING = "CONFIGURING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    STOPPED = "STOPPED"
    SIGNALING = "SIGNALING"
    STAGE_OUT = "STAGE_OUT"
    RESIZING = "RESIZING"
    REQUEUED = "REQUEUED"
    REQUEUE_FED = "REQUEUE_FED"
    REQUEUE_HOLD = "REQUEUE_HOLD"
    RESV_DEL_HOLD = "RESV_DEL_HOLD"
    SPECIAL_EXIT = "SPECIAL_EXIT"
    COMPLETING = "COMPLETING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    NODE_FAIL = "NODE_FAIL"
    BOOT_FAIL = "BOOT_FAIL"
    DEADLINE = "DEADLINE"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    PREEMPTED = "PREEMPTED"
    REVOKED = "REVOKED"

    @property
    def ended(self) -> bool:
        """Whether a job in this state will never run again."""
        return self in _ENDED


_ENDED = frozenset(
    {
        JobState.COMPLETED,
        JobState.CANCELLED,
        JobState.FAILED,
        JobState.TIMEOUT,
        JobState.NODE_FAIL,
        JobState.BOOT_FAIL,
        JobState.DEADLINE,
        JobState.OUT_OF_MEMORY,
        JobState.PREEMPTED,
        JobState.REVOKED,
    }
)


@dataclass(frozen=True)
class Job:
    """One job as FirecREST v2 shows it. Moments are seconds since the epoch, spans are seconds.

    Attributes:
        id: The job id.
        name: The job's name.
        account_name: Log-in name of the owner, "" for somebody outside the sandbox.
        unix_user: Unix user the job runs as.
        group: That user's group.
        project: What Slurm calls the account, "" if there is none.
        partition: The partition it was submitted to.
        state: A word of `JobState`; a cancelled job says by whom: "CANCELLED by 1001".
        reason: Why it waits, or "None".
        exit_code: What the script returned; None while pending.
        signal: The signal that ended the script, 0 for none; None while pending.
        nodes: Slurm host list; "" while pending, "None assigned" if it was cancelled before it ran.
        allocation_nodes: How many nodes it has or wants; 0 once cancelled before it ran.
        elapsed: How long it has run, or ran.
        start: When it started; the expected start of a pending job, if there is one.
        end: When it ended; the expected end of a job that did not.
        limit: Its time limit; None if it has none.
        working_directory: Where the script starts.
        priority: Slurm's priority.
        submitted: When it was submitted.
        script: The script, "" if it is not known.
        standard_input: Path, with %j, %x and %u expanded.
        standard_output: As above.
        standard_error: As above.
    """

    id: str
    name: str
    account_name: str
    unix_user: str
    group: str
    project: str
    partition: str
    state: str
    reason: str
    exit_code: int | None
    signal: int | None
    nodes: str
    allocation_nodes: int
    elapsed: int
    start: int | None
    end: int | None
    limit: int | None
    working_directory: str
    priority: int
    submitted: int
    script: str = field(default="", repr=False)
    standard_input: str = "/dev/null"
    standard_output: str = ""
    standard_error: str = ""


@dataclass(frozen=True)
class Submission:
    """A batch script, and what was given beside it, which wins over the script's `#SBATCH` lines.

    Attributes:
        script: The whole batch script.
        working_directory: Where it starts; "" leaves that to the script, and then to the account's home.
        environment: Added to a log-in's environment, through sbatch's comma-separated `--export`.
        name: The job's name.
        project: What Slurm calls the account.
        partition: The partition.
        reservation: The reservation.
        constraints: Features that the nodes must have.
        standard_input: File, with sbatch's patterns.
        standard_output: File, with sbatch's patterns.
        standard_error: File, with sbatch's patterns.
    """

    script: str = field(repr=False)
    working_directory: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    project: str | None = None
    partition: str | None = None
    reservation: str | None = None
    constraints: str | None = None
    standard_input: str | None = None
    standard_output: str | None = None
    standard_error: str | None = None

    @property
    def options(self) -> dict[str, str | None]:
        """What was given, by the names of sbatch's options; None for what was not."""
        return {
            "chdir": self.working_directory or None,
            "job-name": self.name,
            "account": self.project,
            "partition": self.partition,
            "reservation": self.reservation,
            "constraint": self.constraints,
            "input": self.standard_input,
            "output": self.standard_output,
            "error": self.standard_error,
        }


@dataclass(frozen=True)
class Node:
    """One compute node; memory in MiB."""

    name: str
    state: tuple[str, ...]
    cpus: int
    allocated_cpus: int
    sockets: int
    cores: int
    threads: int
    cpu_load: float
    free_memory: int
    allocated_memory: int
    partitions: tuple[str, ...]
    address: str
    hostname: str
    features: str = "(null)"
    weight: int = 1


@dataclass(frozen=True)
class Partition:
    """One partition; `state` is "UP", "DOWN", "DRAIN" or "INACTIVE", `limit` the longest job's seconds."""

    name: str
    cpus: int
    nodes: int
    state: str
    default: bool
    limit: int | None


class Refused(SandboxError):
    """A command of the scheduler said no.

    Args:
        what: All that the command wrote to its standard error.
        exit_status: The command's exit status.
    """

    def __init__(self, what: str, *, exit_status: int = 1) -> None:
        super().__init__(what)
        self.exit_status = exit_status


class SubmitRefused(Refused):
    """The scheduler refused a job, in the words of sbatch(1)."""


class CancelRefused(Refused):
    """The scheduler did not cancel a job, in the words of scancel(1)."""

    @classmethod
    def because(cls, job_id: str, why: str, *, exit_status: int = 0) -> Self:
        """The refusal of `scancel --verbose`, which ends well if there is just nothing to cancel."""
        words = (
            f"scancel: Terminating job {job_id}\nscancel: error: Kill job error on job id {job_id}: {why}\n"
        )
        return cls(words, exit_status=exit_status)


class Scheduler(Protocol):
    """Runs batch scripts, each as the account that submitted it.

    A scheduler that does not answer raises `SandboxError` from any of the questions.
    """

    kind: str
    """"process" or "slurm"."""
    cluster_name: str
    version: str
    note: str
    """One line on why nothing better runs the jobs, or ""."""

    async def start(self) -> None:
        """Start what is needed, unless it has been started; on return jobs are taken.

        Raises:
            SandboxError: A part did not come up; the message holds the tail of its log.
        """

    async def stop(self) -> None:
        """Cancel every job, wait for their processes, end the daemons. No process is left."""

    async def submit(self, account: Account, submission: Submission) -> str:
        """Submit a script as `sbatch --export=ALL,NAME=VALUE,… --chdir=…` would.

        Args:
            account: Whose job it is.
            submission: The script, and what was given beside it.

        Returns:
            The job id.

        Raises:
            SubmitRefused: With sbatch's words.
        """
        ...

    async def jobs(self) -> list[Job]:
        """All jobs of this run, by one question to the scheduler, in the order of their ids."""
        ...

    async def queue(self) -> list[Job]:
        """The same as the controller knows it, whatever accounting says."""
        ...

    async def job(self, job_id: str) -> Job | None:
        """One job, None if there is no such job."""
        ...

    async def known(self, job_id: str) -> Job | None:
        """The same as the controller knows it, with its script, whatever accounting says."""
        ...

    async def projects(self, account: Account) -> list[str]:
        """What Slurm calls the accounts that somebody has, the default first; none if nobody keeps any."""
        ...

    async def cancel(self, account: Account, job_id: str) -> None:
        """Cancel a job.

        Raises:
            CancelRefused: Its words hold "Invalid job id specified", "Job/step already completing or
                completed" or "Access/permission denied".
        """

    async def nodes(self) -> list[Node]:
        """The compute nodes."""
        ...

    async def partitions(self) -> list[Partition]:
        """The partitions."""
        ...
