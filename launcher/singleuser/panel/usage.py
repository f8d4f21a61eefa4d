"""What the session uses of its memory, CPUs and GPUs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from launcher.singleuser.aside import aside
from launcher.singleuser.cgroup import Cgroup, Memory
from launcher.singleuser.environment import Environments
from launcher.singleuser.panel.gpus import Gpus
from launcher.singleuser.panel.pages import Pages

_EVERY = 5.0
_BASE = 1.0
_STALE = 60.0
_MIB = 2**20


class _Reading(NamedTuple):
    """What was read at a time.

    Attributes:
        at: When, by the monotonic clock.
        memory: The job's, if its control group tells.
        job: Seconds of CPU time that the job has had, if its control group tells.
        processes: Where it does not, those of each process of the session.
        resident: Bytes that these processes hold, what they share as often as they do.
    """

    at: float
    memory: Memory | None
    job: float | None
    processes: dict[Any, float]
    resident: int | None


class Usage:
    """Reads what the session uses: of the job's control group, or else of the processes of this session.

    Args:
        cgroup: The job's.
        environments: Those of the session.
    """

    def __init__(self, cgroup: Cgroup, environments: Environments) -> None:
        self._cgroup = cgroup
        self._job = environments.bare
        self._gpus = Gpus(environments)
        self._cpus = _cpus(self._job)
        self._limit = _limit(self._job)
        self._before: _Reading | None = None
        self._watched = False

    async def watch(self, pages: Pages) -> None:
        """Tell pages what is used, every 5 seconds for as long as one of them shows it."""
        if self._watched:
            return
        self._watched = True
        try:
            while pages.watched:
                pages.tell(await self.read(), watching=True)
                await asyncio.sleep(_EVERY)
        finally:
            self._watched = False

    async def read(self) -> dict[str, Any]:
        """Return the message `use`; CPUs are those in use since the last call, or in a second of this one.

        Only while somebody looks should it be called, and not twice at a time. It does not hold up the loop.
        """
        before, self._before = self._before, None
        self._gpus.read()
        if before is None or time.monotonic() - before.at > _STALE:
            before = await self._reading()
            await asyncio.sleep(_BASE)
        now = self._before = await self._reading()
        memory = now.memory
        if memory is None and now.resident is not None:
            memory = Memory(now.resident, None)
        cores = _cores(before, now)
        return {
            "kind": "use",
            "memory": memory and {"used": memory.used, "limit": memory.limit or self._limit},
            "cpu": None if cores is None else {"used": round(cores, 2), "of": self._cpus},
            "gpus": self._gpus.read(),
        }

    async def _reading(self) -> _Reading:
        memory, job = self._cgroup.memory(), self._cgroup.cpu()
        processes: dict[Any, float] = {}
        resident = None
        if memory is None or job is None:
            # Whose child each process of the node is has to be found out.
            processes, resident = await aside(_processes)
        return _Reading(time.monotonic(), memory, job, processes, resident)


def _cores(before: _Reading, now: _Reading) -> float | None:
    if now.job is not None and before.job is not None:
        used = now.job - before.job
    elif now.processes:
        used = sum(spent - before.processes.get(each, 0.0) for each, spent in now.processes.items())
    else:
        return None
    return max(used, 0.0) / max(now.at - before.at, 0.1)


def _processes() -> tuple[dict[Any, float], int | None]:
    """Return the CPU time of this process and of those below it, and the bytes that all of them hold.

    What they hold is summed up without a look at what they share: that would wait for a process that the
    file system holds up, and the server's end with it.
    """
    try:
        import psutil  # type: ignore[import-untyped] # noqa: PLC0415 - may be missing
    except ImportError:
        return {}, None
    spent, resident = {}, 0
    try:
        server = psutil.Process()
        found = [server, *server.children(recursive=True)]
    except psutil.Error:
        return {}, None
    for process in found:
        try:
            with process.oneshot():
                times, memory = process.cpu_times(), process.memory_info()
        except psutil.Error:
            continue
        spent[process] = times.user + times.system
        resident += memory.rss
    return spent, resident


def _cpus(job: Mapping[str, str]) -> int:
    own = len(os.sched_getaffinity(0))
    return min(own, _number(job, "SLURM_CPUS_ON_NODE") or own)


def _limit(job: Mapping[str, str]) -> int | None:
    """Return how much memory of this node the job has: sbatch(1), "Output environment variables"."""
    each, cpus = _number(job, "SLURM_MEM_PER_CPU"), _number(job, "SLURM_CPUS_ON_NODE")
    found = _number(job, "SLURM_MEM_PER_NODE") or (each and cpus and each * cpus)
    return found * _MIB if found else None


def _number(job: Mapping[str, str], name: str) -> int | None:
    value = job.get(name, "")
    return int(value) if value.isascii() and value.isdecimal() else None
