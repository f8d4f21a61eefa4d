"""The compute node's half: it runs inside the Slurm job and ends as JupyterLab.

Everything here is the standard library until `launcher.singleuser.server` imports JupyterLab: a thousand
nodes may do this at once on one parallel file system.
"""

from launcher.singleuser.entry import main

__all__ = ["main"]
