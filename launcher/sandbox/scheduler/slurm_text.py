"""What squeue(1) and sinfo(1) are asked to print, and what it means in FirecREST's words."""

import math
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence

from launcher.sandbox.scheduler.model import Job, JobState, Node, Partition
from launcher.sandbox.scheduler.notation import expand, seconds

JOB_FIELDS = (
    *("JobID", "UserName", "UserID", "GroupName", "Account", "Partition", "State", "Reason", "exit_code"),
    *("NodeList", "NumNodes", "StartTime", "EndTime", "TimeLimit", "PriorityLong", "SubmitTime"),
    *("Name", "Comment", "WorkDir", "STDIN", "STDOUT", "STDERR"),
)
NODE_FIELDS = (
    *("NodeList", "StateComplete", "CPUsState", "Sockets", "Cores", "Threads", "CPUsLoad", "FreeMem"),
    *("AllocMem", "PartitionName", "NodeAddr", "NodeHost", "Features", "Weight"),
)
PARTITION_FIELDS = ("Partition", "CPUsState", "Nodes", "Available", "Time")

Record = dict[str, str]


class Columns:
    """A `--Format` whose columns can be told apart, whatever is in them, by a mark that is new each time.

    Args:
        fields: Names of columns.
    """

    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = fields
        self._mark = f"~{secrets.token_hex(8)}~"

    @property
    def option(self) -> str:
        """The option of squeue or sinfo."""
        return "--Format=" + ",".join(f"{name}:{self._mark}" for name in self._fields)

    def records(self, output: str) -> list[Record]:
        """The lines of the output, by column."""
        values = output.split(self._mark)[:-1]
        width = len(self._fields)
        lines = [values[start : start + width] for start in range(0, len(values), width)]
        # The end of a line stands before the first column of the next.
        return [
            dict(zip(self._fields, [first[1:] if number else first, *rest], strict=True))
            for number, (first, *rest) in enumerate(lines)
        ]


def read_job(
    record: Record, *, owner: Callable[[int, str], str], cancelled_by: Mapping[str, int], script: str
) -> Job:
    """A job as FirecREST shows it.

    Args:
        record: Its `JOB_FIELDS`.
        owner: Log-in name for a user id and a comment.
        cancelled_by: User ids of those who cancelled jobs, by job id; of others it is taken to be the owner.
        script: The script, as far as it is known.
    """
    job_id, uid = record["JobID"], int(record["UserID"])
    word = "CANCELLED" if record["State"] == "COMPLETING" and job_id in cancelled_by else record["State"]
    waits, cancelled = word == "PENDING", word == "CANCELLED"
    ended = word in JobState.__members__ and JobState(word).ended
    never_ran = ended and not record["NodeList"]
    start = None if never_ran else moment(record["StartTime"])
    end = moment(record["EndTime"])
    status = 0 if word == "TIMEOUT" else int(record["exit_code"])

    def path(field: str) -> str:
        return expand(record[field], job_id=job_id, name=record["Name"], user=record["UserName"])

    return Job(
        id=job_id,
        name=record["Name"],
        account_name=owner(uid, _given(record["Comment"])),
        unix_user=record["UserName"],
        group=record["GroupName"],
        project=_given(record["Account"]),
        partition=record["Partition"],
        state=f"CANCELLED by {cancelled_by.get(job_id, uid)}" if cancelled else word,
        # Why a job waited is forgotten when it runs or ends, except by one that was cancelled.
        reason=record["Reason"] if waits or cancelled else "None",
        exit_code=None if waits else 0 if os.WIFSIGNALED(status) else os.WEXITSTATUS(status),
        signal=None if waits else os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
        nodes="None assigned" if never_ran else record["NodeList"],
        allocation_nodes=0 if never_ran else int(record["NumNodes"].partition("-")[0]),
        elapsed=0 if waits or start is None else max(0, ((ended and end) or int(time.time())) - start),
        start=start,
        end=end,
        limit=_limit(record["TimeLimit"]),
        working_directory=record["WorkDir"],
        priority=int(record["PriorityLong"]),
        submitted=moment(record["SubmitTime"]) or 0,
        script=script,
        standard_input=path("STDIN"),
        standard_output=path("STDOUT"),
        standard_error=path("STDERR"),
    )


def read_nodes(records: Sequence[Record]) -> list[Node]:
    """The nodes, of which sinfo has one line for each partition."""
    partitions: dict[str, list[str]] = {}
    for record in records:
        partitions.setdefault(record["NodeList"], []).append(record["PartitionName"])
    nodes = {record["NodeList"]: record for record in records}
    return [_node(record, partitions[name]) for name, record in sorted(nodes.items())]


def read_partition(record: Record) -> Partition:
    """A partition."""
    return Partition(
        name=record["Partition"].removesuffix("*"),
        cpus=_cpus(record)[1],
        nodes=int(record["Nodes"]),
        state=record["Available"].upper(),
        default=record["Partition"].endswith("*"),
        limit=_limit(record["Time"]),
    )


def _node(record: Record, partitions: Sequence[str]) -> Node:
    allocated, total = _cpus(record)
    return Node(
        name=record["NodeList"],
        state=tuple(re.sub("[^A-Z+_]", "", record["StateComplete"].upper()).split("+")),
        cpus=total,
        allocated_cpus=allocated,
        sockets=int(record["Sockets"]),
        cores=int(record["Cores"]),
        threads=int(record["Threads"]),
        cpu_load=_number(record["CPUsLoad"]),
        free_memory=int(_number(record["FreeMem"])),
        allocated_memory=int(_number(record["AllocMem"])),
        partitions=tuple(partitions),
        address=record["NodeAddr"],
        hostname=record["NodeHost"],
        features=record["Features"],
        weight=int(record["Weight"]),
    )


def _cpus(record: Record) -> tuple[int, int]:
    """How many processors are allocated, and how many there are."""
    allocated, _, _, total = record["CPUsState"].split("/")
    return int(allocated), int(total)


def _given(text: str) -> str:
    return "" if text == "(null)" else text


def moment(text: str) -> int | None:
    """Seconds since the epoch, if the text is that."""
    return int(text) if text.isdigit() else None


def _limit(text: str) -> int | None:
    try:
        limit = seconds(text)
    except ValueError:  # such as INVALID, for a number beyond all limits
        return None
    return None if math.isinf(limit) else int(limit)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # such as N/A, for a node that never answered
        return 0.0
