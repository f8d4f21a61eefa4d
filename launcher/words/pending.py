"""What a job is doing that has no server yet, in words.

Reasons: https://slurm.schedmd.com/job_reason_codes.html, and the longer texts that Slurm 22.05 gives instead
of some; states: https://slurm.schedmd.com/job_state_codes.html
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from launcher.firecrest import JobStatus
from launcher.protocol import Pulling
from launcher.words.causes import Cause
from launcher.words.plain import one_line

_LONGEST_WAIT = 366 * 86400
_GIGABYTE = 10**9
_PULL_FROM, _PULL_TO = 20, 39
"""Percent of a start in which images are pulled: after the wait in the queue, before the claim."""

_MAINTENANCE = "waits for the end of a maintenance; a shorter one may fit in before it"
_JOBS = "waits for other jobs of yours, or of your account, to end: there is a limit on their number"
_PER_JOB = "asks for more than your account or QoS allows a job"

# The first pattern that fits the first word of a reason counts.
_WAITS = (
    (r"Resources", "waits for nodes to become free"),
    (r"Priority", "waits for other jobs to end"),
    (r"|None|Sched\w*|FedJobLock", "waits in the queue"),
    (r"BeginTime", "waits for the time from which it may begin"),
    (r"Dependency", "waits for another job that it depends on"),
    (r"Reservation", "waits for its reservation to begin"),
    (r"Licenses", "waits for a license to become free"),
    (r"Constraints|Nodes", "waits for nodes that are down, drained or kept for others"),
    (r"ReqNodeNotAvail|NodeDown|FrontEndDown", "waits for a node that is down or reserved"),
    (r"PartitionDown|PartitionInactive", "waits for its partition, which is closed for now"),
    (r"Prolog|Cleaning", "waits for its nodes to be made ready"),
    (r"BurstBuffer\w*|Power\w+", "waits for what its nodes need besides"),
    (r"JobHeldUser", "is held: you or an account coordinator must release it"),
    (r"JobHeldAdmin|JobHoldMaxRequeue", "is held: only the site's support can release it"),
    (r"JobLaunchFailure|SystemFailure", "is held after a failure of the system: tell the site's support"),
    (r"JobArrayTaskLimit|\w*(?:JobLimit|MaxJobs|GrpJobs|Submit)\w*", _JOBS),
    (r"(?:Assoc|QOS)Grp\w*RunMinutes\w*", "waits for other jobs of your account to end: there is a limit"),
    (r"(?:Assoc|QOS)Grp\w*Minutes\w*|QOSUsageThreshold", "waits: your account has used up its compute time"),
    (r"(?:Assoc|QOS|Max)\w+|AccountingPolicy", "waits for a limit of your account or QoS to leave room"),
)
_NEVER = (
    (r"PartitionTimeLimit", Cause.TOO_LONG, "asks for more time than its partition allows"),
    (r"\w+WallDurationPerJobLimit", Cause.TOO_LONG, "asks for more time than your account or QoS allows"),
    (r"DeadLine", Cause.TOO_LONG, "can't end before its deadline"),
    (r"PartitionNodeLimit", Cause.RESOURCES, "asks for another number of nodes than its partition allows"),
    (r"PartitionConfig", Cause.RESOURCES, "asks for more than its partition has"),
    (r"BadConstraints", Cause.RESOURCES, "asks for what no node has"),
    (r"MaxMemPerLimit", Cause.RESOURCES, "asks for more memory than it may have"),
    (r"(?:Assoc|QOS)Max\w+Per(?:Job|Node)(?:Limit)?", Cause.LIMIT, _PER_JOB),
    (r"QOSMin\w+", Cause.LIMIT, "asks for less than its QoS requires"),
    (r"InvalidAccount", Cause.ACCOUNT, "asks for an account that is not valid"),
    (r"AccountNotAllowed", Cause.ACCOUNT, "asks for a partition that its account may not use"),
    (r"InvalidQOS", Cause.QOS, "asks for a QoS that is not valid"),
    (r"QOSNotAllowed", Cause.QOS, "asks for a QoS that its account or partition does not have"),
    (r"ReservationDeleted", Cause.RESERVATION, "asks for a reservation that is gone"),
    (r"DependencyNeverSatisfied", Cause.REJECTED, "depends on a job that did not do what it should"),
)

_STATES = {
    "PENDING": "is about to run",
    "CONFIGURING": "has nodes, which are booting",
    "POWER_UP_NODE": "has nodes, which are booting",
    "RUNNING": "is running",
    "RESIZING": "is running",
    "SIGNALING": "is running",
    "SUSPENDED": "is suspended: Slurm lets other jobs run first",
    "STOPPED": "is suspended: Slurm lets other jobs run first",
    "REQUEUED": "goes back into the queue",
    "REQUEUE_FED": "goes back into the queue",
    "REQUEUE_HOLD": "is held: only the site's support can release it",
    "RESV_DEL_HOLD": "is held: its reservation is gone",
    "SPECIAL_EXIT": "is held: only the site's support can release it",
    "COMPLETING": "is ending",
    "STAGE_OUT": "is ending",
}


def words(job_id: str, status: JobStatus, now: float) -> str:
    """Return what a job is doing, in one plain line.

    Args:
        job_id: The job.
        status: What Slurm says of it.
        now: Seconds since the epoch.
    """
    job = f"Job {one_line(job_id, 40)}"
    if not status.waiting:
        doing = _STATES.get(status.state) or f"is {one_line(status.state, 40) or 'in an unknown state'}"
        return f"{job} {doing} on {one_line(status.nodes, 80)}" if status.nodes else f"{job} {doing}"
    reason = one_line(status.reason.replace("_", " "), 120)
    never = _never(status)
    if never:
        return f"{job} {never[1]}, and will never start ({reason})"
    shown = f" ({reason})" if reason else ""
    return f"{job} {_wait(reason)}{shown}{_expected(status.start, now)}"


def pulling(message: Pulling) -> tuple[int, str]:
    """Return how far a start has come whose job pulls an image, in percent and in one plain line."""
    first = "the first use of this image on this cluster"
    done, total = message.done, message.total
    if done is None:
        return _PULL_FROM, f"Pulling {message.image}: {first}"
    if total is None:
        return _PULL_FROM, f"Pulling {message.image}, {_size(done, done)} {_unit(done)} so far: {first}"
    done = min(done, total)
    percent = _PULL_FROM + (_PULL_TO - _PULL_FROM) * done // total
    amount = f"{_size(done, total)} of {_size(total, total)} {_unit(total)}"
    return percent, f"Pulling {message.image}, {amount}: {first}"


def hopeless(status: JobStatus) -> bool:
    """Tell whether a job waits for what waiting does not bring, whatever other jobs and nodes do."""
    return _never(status) is not None


def cause(status: JobStatus | None) -> Cause:
    """Return why a job that waits has not started."""
    never = _never(status) if status else None
    return never[0] if never else Cause.QUEUE


def duration(seconds: float) -> str:
    """Return a duration as people say it, such as `3 hours`."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{round(seconds / size)} {unit}"
    return f"{round(seconds)} seconds"


def _unit(size: int) -> str:
    return "GB" if size >= _GIGABYTE else "MB"


def _size(count: int, of: int) -> str:
    """Return bytes in the unit of another number of bytes."""
    return f"{count / _GIGABYTE:.1f}" if of >= _GIGABYTE else f"{count // 10**6}"


def _never(status: JobStatus) -> tuple[Cause, str] | None:
    key = _key(status.reason)
    if not status.waiting:
        return None
    return next(((why, text) for pattern, why, text in _NEVER if re.fullmatch(pattern, key)), None)


def _wait(reason: str) -> str:
    if "reserved for maintenance" in reason.lower():
        return _MAINTENANCE
    key = _key(reason)
    return next((text for pattern, text in _WAITS if re.fullmatch(pattern, key)), "waits")


def _key(reason: str) -> str:
    found = re.match(r"[A-Za-z]+", reason)
    return found[0] if found else ""


def _expected(start: float | None, now: float) -> str:
    if start is None or not now < start < now + _LONGEST_WAIT:
        return ""
    at = datetime.fromtimestamp(start, UTC)
    clock = at.strftime("%H:%M UTC" if start - now < 43200 else "%H:%M UTC on %d %B")
    return f"; expected to start in about {duration(start - now)} ({clock})"
