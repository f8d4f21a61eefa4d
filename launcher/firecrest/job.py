"""One job, as FirecREST shows it, and what that says about its life."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# Slurm's terminal states: https://slurm.schedmd.com/job_state_codes.html
_DEAD = frozenset(
    "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED REVOKED TIMEOUT".split()
)
_ALIVE = frozenset(
    "COMPLETING CONFIGURING PENDING POWER_UP_NODE REQUEUED REQUEUE_FED REQUEUE_HOLD RESIZING RESV_DEL_HOLD "
    "RUNNING SIGNALING SPECIAL_EXIT STAGE_OUT STOPPED SUSPENDED".split()
)


class Verdict(StrEnum):
    """Whether a job or a server lives; an error never says `dead`."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class JobStatus:
    """One job, as FirecREST shows it.

    Attributes:
        state: Slurm's word, such as `PENDING`, without what may follow it.
        reason: Why it waits, or empty.
        exit_code: Exit code, or None while there is none.
        signal: The signal that ended it, or None.
        nodes: Slurm's host list; empty while it waits.
        start: When it started or, of one that waits, is expected to (seconds since the epoch), or None.
        ended_by: Number of the user who cancelled it, or empty.
        user: Its owner's name on the cluster, or empty.
    """

    state: str
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    nodes: str = ""
    start: float | None = None
    ended_by: str = ""
    user: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether a job in this state is alive, dead, or something that Slurm does not document."""
        if self.state in _DEAD:
            return Verdict.DEAD
        return Verdict.ALIVE if self.state in _ALIVE else Verdict.UNKNOWN

    @property
    def waiting(self) -> bool:
        """Whether it waits in the queue; PENDING with nodes is an artefact of accounting."""
        return self.state == "PENDING" and not self.nodes

    @classmethod
    def read(cls, job: dict[str, Any]) -> JobStatus:
        """Read one job of an answer; whatever is not of the expected type is left out."""
        status = job["status"] if isinstance(job.get("status"), dict) else {}
        time = job["time"] if isinstance(job.get("time"), dict) else {}
        nodes = text(job.get("nodes"))
        words = text(status.get("state")).split() or [""]
        return cls(
            state=words[0],
            reason="" if status.get("stateReason") == "None" else text(status.get("stateReason")),
            exit_code=_number(status.get("exitCode")),
            signal=_number(status.get("interruptSignal")) or None,
            nodes="" if nodes == "None assigned" else nodes,
            start=_number(time.get("start")),
            ended_by=words[2] if words[1:2] == ["by"] and words[2:] else "",
            user=text(job.get("user")),
        )


def text(value: Any) -> str:
    """Return a text of an answer, cut to a sensible length; empty if it is none."""
    return value[:200] if isinstance(value, str) else ""


def _number(value: Any) -> int | None:
    return value if type(value) is int else None
