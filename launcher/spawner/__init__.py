"""The hub's half: a JupyterHub spawner whose servers are Slurm jobs submitted through FirecREST.

Importing it adds two handlers to the hub's API, `/hub/api/launcher/claim` and `/hub/api/launcher/events`.
"""

from jupyterhub.apihandlers import default_handlers as _default_handlers

from launcher.spawner.handlers import HANDLERS as _HANDLERS
from launcher.spawner.spawner import LauncherSpawner

_default_handlers.extend(_HANDLERS)

__all__ = ["LauncherSpawner"]
