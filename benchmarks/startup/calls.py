"""File system calls, counted by strace."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.startup.programs import Program

KINDS = "%file,getdents64,fstat"
"""What strace counts: calls that name a path, reads of directories, and looks at what is open."""
_CALL = re.compile(r"[0-9]+ +\w+\(")


_LISTENS = re.compile(r"[0-9]+ +accept4?\(")
"""Whoever is asked takes the first connection."""


def strace(trace: Path, kinds: str = KINDS) -> tuple[str, ...]:
    """Return what a command begins with for its calls to be written into a file."""
    return ("strace", "-f", "--seccomp-bpf", "-e", f"trace={kinds}", "-o", str(trace))


def counted(trace: Iterable[str]) -> int:
    """Count the calls of a trace; a call that is interrupted by others has a second line, which is none."""
    return sum(bool(_CALL.match(line)) for line in trace)


def until_listening(trace: Iterable[str]) -> Iterator[str]:
    """Yield the calls that come before a server takes its first connection."""
    return itertools.takewhile(lambda line: not _LISTENS.match(line), trace)


def calls(program: Program) -> int:
    """Return how many a program, and all that it starts, makes until its server listens."""
    trace = program.node.home / "trace"
    with program.running(*strace(trace, f"{KINDS},accept,accept4")):
        pass
    with trace.open(errors="replace") as lines:
        return counted(until_listening(lines))
