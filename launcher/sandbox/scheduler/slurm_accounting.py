"""Who may use Slurm here, and what accounting says about jobs, as FirecREST asks sacct(1)."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import replace

from launcher.sandbox.scheduler.model import Job, JobState
from launcher.sandbox.scheduler.slurm_conf import CLUSTER
from launcher.sandbox.scheduler.slurm_text import Record, moment

PROJECTS = ("sandbox", "training")
"""Slurm's accounts, the default one first. Everybody has all."""
URGENT = "urgent"
"""A quality of service whose jobs end those of the normal one where there is no room left."""
_FIELDS = (
    *("JobIDRaw", "Group", "Account", "Partition", "State", "Reason", "ExitCode", "NodeList", "AllocNodes"),
    *("Start", "End", "ElapsedRaw", "TimelimitRaw", "Priority", "JobName", "WorkDir"),
)


def registrations(users: Iterable[str]) -> list[list[str]]:
    """What sacctmgr(1) is to be told, in this order, before jobs are taken.

    Args:
        users: Unix users who submit jobs.
    """
    projects = ",".join(PROJECTS)
    qualities = f"QosLevel=normal,{URGENT}"
    return [
        ["add", "cluster", CLUSTER],
        ["add", "qos", URGENT, "Preempt=normal", "Priority=1000"],
        ["add", "account", projects, f"Cluster={CLUSTER}", qualities],
        ["add", "user", ",".join(sorted(set(users))), f"Account={projects}", f"DefaultAccount={PROJECTS[0]}"],
    ]


def projects_of(user: str) -> list[str]:
    """What sacctmgr(1) is to be asked for a unix user's accounts; a line holds the default one, and one."""
    columns = ["--noheader", "--parsable2", "format=DefaultAccount,Account"]
    return ["show", "user", f"Name={user}", "WithAssoc", *columns]


class Rows:
    """The rows of `sacct --parsable2`, whose columns are told apart by a mark that is new each time."""

    def __init__(self) -> None:
        self._mark = f"~{secrets.token_hex(8)}~"

    @property
    def options(self) -> list[str]:
        """The options of sacct."""
        return ["--parsable2", "--noheader", f"--delimiter={self._mark}", f"--format={','.join(_FIELDS)}"]

    def records(self, output: str) -> list[Record]:
        """The jobs in the output, without their steps."""
        lines = [line.split(self._mark) for line in output.splitlines()]
        return [dict(zip(_FIELDS, line, strict=True)) for line in lines if "." not in line[0]]


def merge(rows: Iterable[Record], queue: Sequence[Job]) -> list[Job]:
    """What FirecREST makes of its two questions: accounting wins, unless the job waits in the queue.

    An ended job that accounting does not know yet is not there at all.

    Args:
        rows: The answer of sacct.
        queue: All that squeue knows, which holds every job that accounting can know.
    """
    by_id = {row["JobIDRaw"]: row for row in rows}
    jobs = []
    for job in queue:
        row = by_id.get(job.id)
        if row and job.state != JobState.PENDING:
            jobs.append(_as_accounted(job, row))
        elif not JobState(job.state.partition(" ")[0]).ended:
            jobs.append(job)
    return jobs


def _as_accounted(job: Job, row: Record) -> Job:
    exit_code, signal = map(int, row["ExitCode"].split(":"))
    return replace(
        job,
        name=row["JobName"],
        group=row["Group"],
        project=row["Account"],
        partition=row["Partition"],
        state=row["State"],
        reason=row["Reason"],
        exit_code=exit_code,
        signal=signal,
        nodes=row["NodeList"],
        allocation_nodes=int(row["AllocNodes"] or 0),
        elapsed=int(row["ElapsedRaw"] or 0),
        start=moment(row["Start"]),
        end=moment(row["End"]),
        limit=int(row["TimelimitRaw"]) * 60 if row["TimelimitRaw"].isdigit() else None,
        working_directory=row["WorkDir"],
        priority=int(row["Priority"] or 0),
    )
