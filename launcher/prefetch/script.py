"""The script that stages images, on a machine or as a job of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from launcher.clusters import Cluster
from launcher.clusters.script import uenv_command
from launcher.clusters.template import BatchTemplate, template_directory
from launcher.clusters.values import WORD
from launcher.errors import UsageError
from launcher.prefetch.wanted import Wanted
from launcher.yaml_file.seen import Seen

JOB_NAME = "launcher-prefetch"
"""Another name than launches have: a hub would take it for one that nobody wants."""

_LOG_NAME = f"{JOB_NAME}-%j.log"
_USUAL_MINUTES = 60


@dataclass(frozen=True)
class Job:
    """What the job asks for.

    Attributes:
        user: The account's name on the cluster.
        account: Slurm account; empty for what the cluster file fixes, or the account's own default.
        partition: Partition; empty for the cluster file's first.
        minutes: How long it may run; None for an hour, or less where the partition allows less.
    """

    user: str
    account: str = ""
    partition: str = ""
    minutes: int | None = None

    def __post_init__(self) -> None:
        for option, value in {"user": self.user, "account": self.account}.items():
            if value and not re.fullmatch(WORD, value):
                raise UsageError(f"--{option}={value!r}: no name that a cluster can know.")


def script(cluster: Cluster, wanted: Sequence[Wanted], mark: str, directives: Sequence[str] = ()) -> str:
    """Return the script that stages images and tells of each in a line that begins with the mark.

    Args:
        cluster: The cluster file; its prologue runs in a job only.
        wanted: The images.
        mark: Letters and digits that no other output begins with.
        directives: Options of sbatch; none for a script that is no job.
    """
    template = BatchTemplate("prefetch.sh.j2", (template_directory(),), Seen())
    return template.render(
        cluster=cluster, wanted=wanted, mark=mark, directives=directives, uenv=uenv_command(cluster)
    )


def directives(cluster: Cluster, job: Job) -> list[str]:
    """Return the job's options of sbatch: the least that the cluster file lets a session have.

    Raises:
        UsageError: If there is no such partition.
    """
    partition = cluster.partition(job.partition) if job.partition else cluster.partitions[0]
    if partition is None:
        names = ", ".join(each.name for each in cluster.partitions)
        raise UsageError(f"{cluster.name} has no partition {job.partition}.", todo=f"There are {names}.")
    longest = partition.longest(1)
    if job.minutes and job.minutes > longest:
        raise UsageError(f"--time={job.minutes}: {partition.name} allows {longest} minutes.")
    account = job.account
    if not account and cluster.accounts and cluster.accounts != "firecrest":
        account = cluster.accounts.first
    constraint = partition.constraint or (cluster.constraint.first if cluster.constraint else "")
    qos = partition.qos or (cluster.qos.first if cluster.qos else "")
    gpus = min(cluster.gpus.choices) if cluster.gpus else 0
    given = {
        "--job-name": JOB_NAME,
        "--output": _LOG_NAME,
        "--partition": partition.name,
        "--nodes": 1,
        "--time": job.minutes or min(_USUAL_MINUTES, longest),
        "--account": account,
        "--reservation": partition.reservation or cluster.reservation,
        "--constraint": constraint,
        "--qos": qos,
        "--gres": f"{cluster.gres}:{gpus}" if gpus else "",
    }
    return [
        *(f"{name}={value}" for name, value in given.items() if value),
        "--no-requeue",
        *cluster.directives,
    ]


def log_path(cluster: Cluster, user: str, job_id: str) -> str:
    """Return where the job's output lies on the cluster."""
    return f"{cluster.home_of(user)}/{_LOG_NAME.replace('%j', job_id)}"
