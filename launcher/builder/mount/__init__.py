"""Images mounted for one command, with whatever the machine has for it."""

from launcher.builder.mount.namespace import bound
from launcher.builder.mount.ways import WAYS, Mounted, command, run

__all__ = ["WAYS", "Mounted", "bound", "command", "run"]
