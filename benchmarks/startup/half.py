"""The half of a start that comes before JupyterLab is imported: claim and preflight."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.node.starts import AS_NOBODY
from benchmarks.startup.calls import counted, strace
from benchmarks.startup.programs import Program

UP_TO_JUPYTERLAB = """\
import os, sys
import launcher.singleuser.ahead
launcher.singleuser.ahead.MODULES = ()

class End:
    def find_spec(self, name, path=None, target=None):
        if name == "launcher.singleuser.server":
            os._exit(0)

sys.meta_path.insert(0, End())
from launcher.singleuser import main
sys.exit(main())
"""
"""Ends where JupyterLab would be imported; what is imported of it ahead is left out."""

_FIRST = "pyvenv.cfg"
"""What Python looks for first; before, the program finds its own libraries, as whoever has built it wants."""


class Half(NamedTuple):
    """What it took.

    Attributes:
        cpu: Processor seconds, of each run.
        calls: File system calls of Python, and of what it runs.
        loading: File system calls by which the program of Python has found its own libraries before.
    """

    cpu: list[float]
    calls: list[int]
    loading: list[int]


def half(program: Program, runs: int) -> Half:
    """Measure it.

    Args:
        program: The launcher's.
        runs: How often.
    """
    home = program.node.home
    script, trace = home / "up-to-jupyterlab.py", home / "trace"
    script.write_text(UP_TO_JUPYTERLAB)
    python = (f"{program.bin}/python", "-I", str(script))

    def run(*before: str) -> float:
        command = [*program.enter, *AS_NOBODY, *before, *python]
        return program.node.ended(command, program.given, program.path)

    run()
    cpu = [run() for _ in range(runs)]
    calls, loading = [], []
    for _ in range(runs):
        run(*strace(trace))
        before, after = split(trace.read_text(errors="replace"))
        loading.append(before)
        calls.append(after)
    return Half(cpu, calls, loading)


def split(trace: str) -> tuple[int, int]:
    """Count the calls up to the one for what Python itself looks for first, and those after it."""
    before, found, after = trace.partition(_FIRST)
    assert found
    return counted(before.splitlines()), counted(after.splitlines())
