"""What processes have taken, as the kernel accounts it: proc(5)."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


class Stat(NamedTuple):
    """What matters of `/proc/PID/stat`.

    Attributes:
        parent: The process that it belongs to.
        session: The process that began its session.
        ticks: Processor time, its own and of those children that have ended.
    """

    parent: int
    session: int
    ticks: int

    @classmethod
    def parse(cls, text: str) -> Stat:
        """Return what a file says; the name of a program may hold anything."""
        fields = text.rpartition(")")[2].split()
        return cls(int(fields[1]), int(fields[3]), sum(map(int, fields[11:15])))


def family(first: int, stats: Mapping[int, Stat]) -> set[int]:
    """Return a process with all that have come of it, in its session or not.

    Args:
        first: The process.
        stats: Those of all processes.
    """
    found = {first} | {pid for pid, stat in stats.items() if stat.session == first}
    while more := {pid for pid, stat in stats.items() if stat.parent in found} - found:
        found |= more
    return found


def stats() -> dict[int, Stat]:
    """Return those of all processes."""
    found = {}
    for each in _PROC.iterdir():
        if each.name.isdecimal():
            # It may end meanwhile.
            with suppress(OSError):
                found[int(each.name)] = Stat.parse((each / "stat").read_text())
    return found


def cpu(members: Collection[int], known: Mapping[int, Stat]) -> float:
    """Return the processor seconds of some processes, and of their children that have ended."""
    return sum(known[pid].ticks for pid in members if pid in known) / _TICKS


def peak(members: Iterable[int]) -> float:
    """Return the sum of the most memory that each of some processes has ever had, in MB."""
    found = 0
    for pid in members:
        with suppress(OSError):
            found += kilobytes((_PROC / str(pid) / "status").read_text())
    return found * 1024e-6


def kilobytes(status: str) -> int:
    """Return the most memory that a process has had, of its `/proc/PID/status`; 0 of one that has ended."""
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


def read_bytes(pid: int) -> int:
    """Return the bytes that a process made the kernel read from a block device, a loop device among them."""
    lines = (_PROC / str(pid) / "io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["read_bytes"])
