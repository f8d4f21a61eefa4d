"""What the kernel of the node accounts to the job: memory, CPU time, and who was killed for want of memory.

Slurm makes a control group `job_<id>` of a job on a node, with those of its steps and tasks below it, of
version 1 or 2: https://slurm.schedmd.com/cgroups.html, https://slurm.schedmd.com/cgroup_v2.html. What their
files mean is in the documentation of Linux: admin-guide/cgroup-v2, admin-guide/cgroup-v1/memory and cpuacct.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import NamedTuple

_JOB = re.compile(r"job_\w+")
_UNLIMITED = 2**60
"""Bytes that no node has: version 1 says so, or nearly so, where there is no limit."""


class Memory(NamedTuple):
    """What a job has of memory.

    Attributes:
        used: Bytes; what of them is file cache that was not read lately, and so is free to go, is left out.
        limit: Bytes at which programs of the job are killed, or None.
    """

    used: int
    limit: int | None


class Cgroup:
    """The control group of the job that this process belongs to.

    Everything is None where there is none, or it can't be seen: Slurm was not told to make any, or a
    container shows its own for the root of all.

    Args:
        process: Directory of what the kernel says of this process.
    """

    def __init__(self, process: str = "/proc/self") -> None:
        self._memory = _Groups.of(process, "memory")
        self._cpu = _Groups.of(process, "cpuacct")
        self._kills = self._killed()
        self._risen = float("-inf")

    def memory(self) -> Memory | None:
        """Return what the job has of memory, by the tightest limit of all that hold for this process."""
        paths, second = self._memory
        limits = [_number(_read(f"{path}/memory.{'max' if second else 'limit_in_bytes'}")) for path in paths]
        bounds = [_UNLIMITED if limit is None else limit for limit in limits]
        if not bounds:
            return None
        bound = min(bounds)
        path = paths[bounds.index(bound)]
        used = _number(_read(f"{path}/memory.{'current' if second else 'usage_in_bytes'}"))
        if used is None:
            return None
        idle = _field(f"{path}/memory.stat", "inactive_file" if second else "total_inactive_file") or 0
        return Memory(max(used - idle, 0), bound if bound < _UNLIMITED else None)

    def cpu(self) -> float | None:
        """Return how many seconds of CPU time the job has had on this node."""
        paths, second = self._cpu
        if not paths:
            return None
        if second:
            used = _field(f"{paths[0]}/cpu.stat", "usage_usec")
            return None if used is None else used / 1e6
        used = _number(_read(f"{paths[0]}/cpuacct.usage"))
        return None if used is None else used / 1e9

    def look(self) -> None:
        """Note whether programs of the job were killed for want of memory since the last look.

        The kernel counts them, but does not say when: who wants to know asks now and then.
        """
        killed = self._killed()
        if killed is not None and self._kills is not None and killed > self._kills:
            self._risen = time.monotonic()
        self._kills = killed

    def out_of_memory(self, within: float = 60.0) -> bool:
        """Return whether a look, this one or another within so many seconds, found programs killed."""
        self.look()
        return time.monotonic() - self._risen <= within

    def _killed(self) -> int | None:
        paths, second = self._memory
        if second:
            # The job's counts those of all groups below it.
            return _field(f"{paths[0]}/memory.events", "oom_kill") if paths else None
        counts = [_field(f"{path}/memory.oom_control", "oom_kill") for path in paths]
        known = [count for count in counts if count is not None]
        return sum(known) if known else None


class _Groups(NamedTuple):
    """Directories of a job's groups, from the job's own down to that of a process, and their version."""

    paths: list[str]
    second: bool

    @classmethod
    def of(cls, process: str, controller: str) -> _Groups:
        """Return those of a process; none if it is in no job's."""
        second, path = False, ""
        for line in _read(f"{process}/cgroup").splitlines():
            _, controllers, group = (*line.split(":", 2), "", "")[:3]
            if controller in controllers.split(","):
                second, path = False, group
                break
            if line.startswith("0::"):
                second, path = True, group
        parts = path.split("/")
        jobs = [at for at, part in enumerate(parts) if _JOB.fullmatch(part)]
        if not jobs or ".." in parts:
            return cls([], second)
        groups = ["/".join(parts[: at + 1]) for at in range(jobs[-1], len(parts))]
        for root, point in _mounts(process, None if second else controller):
            if seen := [
                point + group[len(root) :]
                for group in groups
                if group == root or group.startswith(f"{root}/")
            ]:
                return cls(seen, second)
        return cls([], second)


def _mounts(process: str, controller: str | None) -> Iterator[tuple[str, str]]:
    """Yield which group stands at which directory; of version 2 without a controller: proc(5), mountinfo."""
    for line in _read(f"{process}/mountinfo").splitlines():
        mount, _, about = line.partition(" - ")
        facts, kind = mount.split(), about.split()
        if len(facts) < 5 or len(kind) < 3:
            continue
        if (
            kind[0] == "cgroup2"
            if controller is None
            else kind[0] == "cgroup" and controller in kind[2].split(",")
        ):
            yield facts[3].rstrip("/"), facts[4]


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() else None


def _field(path: str, name: str) -> int | None:
    for line in _read(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return _number(value)
    return None
