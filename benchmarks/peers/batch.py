"""A hub with batchspawner 1.3 on the sandbox's Slurm, otherwise with batchspawner's own defaults."""

from __future__ import annotations

import os
from pathlib import Path

from launcher.sandbox.hub_options import HubOptions
from launcher.sandbox.unix_users import program

DISTRIBUTION = "batchspawner"
"""What nodes need besides JupyterLab."""
LOG = "jupyterhub_slurmspawner_*.log"
"""Where batchspawner has jobs log, below their users' homes."""


def options(
    slurm: Path, bin_: Path, *, server: str = "jupyterhub-singleuser", prologue: str = ""
) -> HubOptions:
    """Return what such a hub does otherwise than the sandbox's.

    Users of the hub are users of this machine. batchspawner's first choice, sudo, may not be here: root
    can be them without. The sandbox's nodes are this machine, and servers listen to nobody else.

    Args:
        slurm: `slurm.conf`.
        bin_: Where `batchspawner-singleuser` is that jobs run.
        server: What that runs, in the same directory or by its path.
        prologue: What a job's script does before.
    """
    become = f"{program('runuser')} -u {{username}} -- " if not os.geteuid() else ""
    return {
        "jupyterhub": {"spawner_class": "batchspawner.SlurmSpawner"},
        "classes": {
            "SlurmSpawner": {
                "exec_prefix": f"{become}env SLURM_CONF={slurm}",
                "batchspawner_singleuser_cmd": str(bin_ / "batchspawner-singleuser"),
                "cmd": [str(bin_ / server)],
                "args": ["--ip=127.0.0.1"],
                "state_exechost_exp": "127.0.0.1",
                "req_prologue": prologue,
                # The hub's own would lead to its programs, which the users of this machine can't run.
                "env_keep": ["LANG", "LC_ALL"],
                "environment": {"PATH": os.defpath},
            }
        },
    }
