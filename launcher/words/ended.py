"""How a session ended by itself that was ready, and a start that must wait for that: as its user reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from launcher.errors import FirecrestError, LauncherError, LaunchRefused
from launcher.firecrest import JobStatus
from launcher.words.causes import Cause, canceller, of_end, shell_code
from launcher.words.pending import duration
from launcher.words.plain import one_line, tail

_LOG_LINES = 20
_LOG_WIDTH = 500
_LONGEST_MESSAGE = 500
_TODAY = 43200
"""Seconds for which a time of day needs no day beside it."""
_MEMORY_UNITS = {"K": "KiB", "M": "MiB", "G": "GiB", "T": "TiB"}

_BROKE_DOWN = "JupyterLab broke down"
# These of Slurm's words count before a node's `walltime`: the signal that it takes for that may have another
# reason. Others don't: Slurm remembers a kernel that ran out of memory long before.
_NOT_ITS_TIME = {Cause.PREEMPTED, Cause.NODE, Cause.CANCELLED}
# As `launcher.singleuser.idle` says it, which knows what an admin's arguments make of the cluster file.
_UNUSED = re.compile(r"Nobody used this server for (\d{1,6}(?:\.\d{1,5})?) minutes?: [^\n]{0,300}")
_CODES = {"terminated": 143, "not-wanted": LaunchRefused.exit_code}
"""A node's word → the exit code that means the same."""
_WORDS = {
    Cause.TIME_LIMIT: ("its time was over", ""),
    Cause.MEMORY: ("it used more memory than it had", "Ask for more memory, or a node of your own."),
    Cause.NODE: ("a node failed", ""),
    Cause.PREEMPTED: (
        "a job of higher priority took its node",
        "Other partitions or QoS may have none that do.",
    ),
    Cause.CANCELLED: ("it was cancelled", ""),
    Cause.DISK_FULL: (
        "a disk is full, in your home directory or on the node",
        "Delete or move files first.",
    ),
    Cause.KILLED: (
        "something killed it; running out of memory is the usual cause",
        "Ask for more memory if it happens again.",
    ),
    Cause.TERMINATED: ("it was told to end, as when a job is cancelled or its time is over", ""),
    Cause.UNWANTED: ("the hub did not want it any more", ""),
    # Nobody said why: it may have been its time, or its user's own wish.
    Cause.FINISHED: ("its job is over", ""),
}


@dataclass
class Ended:
    """How a session ended, as far as it is known by now.

    Attributes:
        job_id: Slurm's job id.
        node: The compute node.
        at: When the hub learned of it (seconds since the epoch).
        reason: The node's word for it, as in `launcher.protocol.Event`; empty if it said nothing.
        message: What the node said for people. The user's own programs may have a hand in it.
        exit_code: The exit code that came with it, or None.
        heard: Whether node or script said so themselves; else the job was found to be gone.
        status: Slurm's last word on the job, or None; without a state if Slurm does not know it.
        memory: The memory on each node that was asked for, such as `16G`, or empty.
        idle: Minutes after which the cluster file has unused sessions end, or None.
        log: The end of the job's log, fit to be shown, where nothing else explains the end.
    """

    job_id: str
    node: str
    at: float
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    heard: bool = True
    status: JobStatus | None = None
    memory: str = ""
    idle: int | None = None
    log: list[str] = field(default_factory=list)

    @property
    def by_its_user(self) -> bool:
        """Whether somebody pressed Stop in JupyterLab, or shut it down there."""
        return self.reason == "stopped" or (self.reason == "exit" and not self.exit_code)

    @property
    def obscure(self) -> bool:
        """Whether only the job's log may tell why it ended, or whether it was for want of memory."""
        explained = self.by_its_user or self.reason == "idle"
        return not explained and self._cause in (None, Cause.KILLED)

    @property
    def _cause(self) -> Cause | None:
        code = _CODES.get(self.reason, self.exit_code)
        cause = of_end(self.status, code, "", "\n".join(self.log))
        if self.reason == "walltime" and cause not in _NOT_ITS_TIME:
            return Cause.TIME_LIMIT
        return cause if cause in _WORDS else None

    @property
    def _unused(self) -> str:
        """For how long nobody used it, in words."""
        found = _UNUSED.fullmatch(self.message)
        minutes = float(found[1]) if found else self.idle
        return duration(60 * minutes) if minutes else "a while"

    def read(self, log: Sequence[str]) -> None:
        """Keep what may explain the end of the last lines of the job's log."""
        self.log = tail(log, _LOG_LINES, _LOG_WIDTH)

    def words(self, now: float) -> str:
        """Return how the session ended and what to do about it, in one plain line of any characters.

        Args:
            now: Seconds since the epoch.
        """
        names = [f"job {one_line(self.job_id, 40)}" if self.job_id else "", one_line(self.node, 80)]
        job = " on ".join(name for name in names if name)
        at = datetime.fromtimestamp(self.at, UTC)
        clock = at.strftime("%H:%M UTC" if now - self.at < _TODAY else "%H:%M UTC on %d %B")
        learned = f"ended at {clock}" if self.heard else f"has ended, as was seen at {clock}"
        why, *more = self._why()
        sentences = [f"Your last session{f' ({job})' if job else ''} {learned}: {why}.", *more]
        return " ".join(sentence for sentence in sentences if sentence)

    def _why(self) -> tuple[str, ...]:
        """Return the end of a sentence that says why it ended, and further sentences."""
        if self.reason == "idle":
            return (f"nobody used it for {self._unused}",)
        cause, status = self._cause, self.status
        if cause is not None:
            why, todo = _WORDS[cause]
            if cause is Cause.MEMORY and self.memory:
                why += f" ({self.memory[:-1]} {_MEMORY_UNITS.get(self.memory[-1], self.memory[-1])})"
            if cause is Cause.CANCELLED and (by := canceller(status)):
                why += f" by {by}"
            return why, todo
        if status and not status.state:
            return ("Slurm does not know its job any more",)
        said = f"It said: {one_line(self.message, _LONGEST_MESSAGE)}" if self.message else ""
        code = shell_code(status, self.exit_code)
        if code is not None:
            return f"{_BROKE_DOWN} (exit code {code})", said
        return f"its job is over ({one_line(status.state, 40)})" if status else "its job is over", said


def still_ending(job_id: str, problem: LauncherError | None) -> LauncherError:
    """Return why a start must wait: the session before it has not ended.

    Args:
        job_id: The earlier session's job, or empty.
        problem: Why its end can't be seen to, if that is so.
    """
    job = f"Job {job_id} of your last session" if job_id else "Your last session"
    if isinstance(problem, FirecrestError):
        what = f"{job} is not known to have ended, so no other is started: {problem.what}"
        return FirecrestError(what, why=problem.why, todo=problem.todo, status=problem.status)
    return LauncherError(f"{job} is still ending.", todo="Press Start again in a minute.")


def stopped() -> LauncherError:
    """Return why a start comes to nothing whose user has stopped it meanwhile."""
    return LauncherError("This start was stopped.", todo="Press Start again if you want it.")
