"""What programs of a session see: JupyterLab itself, a terminal, a kernel, a step of the job."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, NamedTuple

from support import Person

from launcher.check.session import run_in_terminal
from launcher.sandbox.accounts import Account

OF_A_PYTHON = {"PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LD_PRELOAD"}
IN_KERNEL = """\
import json, os, sys
print(json.dumps({"environment": dict(os.environ), "path": sys.path, "prefix": sys.prefix}))
"""

# What the server's own process has, told by the one file of its user's that it runs.
_CONFIGURATION = """\
import json, os, sys
from pathlib import Path
home = Path.home()
seen = {"environment": dict(os.environ), "path": sys.path, "prefix": sys.prefix,
        "libraries": Path("/proc/self/maps").read_text()}
(home / "server.json").write_text(json.dumps(seen))
"""
_IN_TERMINAL = """\
cd ~
env -0 > environment
command -v python3 > python
launcher session --json > told
: > step > warnings
"""
_STEP = """\
srun -n{tasks} sh -c 'echo $SLURMD_NODENAME $SLURM_PROCID $(ls -d {mounts})' > step 2> warnings
"""


class Seen(NamedTuple):
    """What programs of a session see.

    Attributes:
        server: JupyterLab itself: `environment`, `path`, `prefix`, `libraries`.
        terminal: The environment of a terminal.
        python: The `python3` of a terminal.
        step: What a step of the job has written: node, rank, and which of the mount points are there.
        warnings: What srun has written besides.
        told: What `launcher session` tells.
    """

    server: dict[str, Any]
    terminal: dict[str, str]
    python: str
    step: list[str]
    warnings: str
    told: dict[str, Any]


def configure(account: Account) -> None:
    """Let an account's servers tell what they see, and break what pip has put into its home."""
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for name, content in {
        ".jupyter/jupyter_server_config.py": _CONFIGURATION,
        f".local/lib/{python}/site-packages/jupyter_server.py": "raise ImportError('too old')\n",
    }.items():
        file = account.home / name
        file.parent.mkdir(parents=True)
        file.write_text(content)
    subprocess.run(["chown", "-R", f"{account.uid}:{account.gid}", account.home], check=True)


async def look(someone: Person, *, tasks: int = 1, mounts: str = "/") -> Seen:
    """Return what the programs of a session see.

    Args:
        someone: Whose it is.
        tasks: How many tasks the step has; 0 for none, where there is no srun.
        mounts: Mount points that the step looks for.
    """
    home = someone.site.accounts[someone.name].home
    assert (await someone.browser.open(f"{someone.server}lab")).status == 200
    step = _STEP.format(tasks=tasks, mounts=mounts) if tasks else ""
    (home / "look").write_text(_IN_TERMINAL + step)
    await run_in_terminal(someone.browser, someone.server, f". {home}/look; echo lo''oked", "looked")
    return Seen(
        json.loads((home / "server.json").read_text()),
        dict(entry.split("=", 1) for entry in (home / "environment").read_text().split("\0") if entry),
        (home / "python").read_text().strip(),
        (home / "step").read_text().splitlines(),
        (home / "warnings").read_text(),
        json.loads((home / "told").read_text()),
    )


def assert_apart(server: dict[str, Any], prefix: str) -> None:
    """Check that a server is the one of a prefix, and has no variable that is for another Python."""
    assert server["prefix"] == prefix
    assert not OF_A_PYTHON & set(server["environment"])
