"""A cluster file becomes the configuration of a hub: Python, or values of a Helm chart."""

from launcher.export.document import Document, Kind, export
from launcher.export.output import write

__all__ = ["Document", "Kind", "export", "write"]
