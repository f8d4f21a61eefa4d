"""File system calls, counted by strace."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from benchmarks.startup.programs import Program

KINDS = "%file,getdents64,fstat"
"""What strace counts: calls that name a path, reads of directories, and looks at what is open."""
_CALL = re.compile(r"[0-9]+ +\w+\(")


def strace(trace: Path) -> tuple[str, ...]:
    """Return what a command begins with for its calls to be written into a file."""
    return ("strace", "-f", "--seccomp-bpf", "-e", f"trace={KINDS}", "-o", str(trace))


def counted(trace: Iterable[str]) -> int:
    """Count the calls of a trace; a call that is interrupted by others has a second line, which is none."""
    return sum(bool(_CALL.match(line)) for line in trace)


def calls(program: Program) -> int:
    """Return how many a program makes until its server answers."""
    trace = program.node.home / "trace"
    with program.running(*strace(trace)):
        pass
    with trace.open(errors="replace") as lines:
        return counted(lines)
