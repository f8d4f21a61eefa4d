"""The compute node's half: it runs inside the Slurm job and ends as JupyterLab.

Everything here is the standard library until `launcher.singleuser.server` imports JupyterLab: a thousand
nodes may do this at once on one parallel file system.
"""

from __future__ import annotations

import sys

from launcher.singleuser.isolation import isolate


def main(argv: list[str] | None = None) -> int:
    """Run `launcher-singleuser`; return its exit code.

    Args:
        argv: Its arguments; None takes those of this process.
    """
    arguments = sys.argv[1:] if argv is None else argv
    isolate(arguments)
    # Only now: a user's `json` in PYTHONPATH would be taken for the standard library's.
    from launcher.singleuser import entry  # noqa: PLC0415

    return entry.run(arguments)
