"""A cluster file becomes the configuration of a hub, Python or values of a Helm chart, or of a container."""

from launcher.export.document import Document, Kind, export
from launcher.export.edf import edf
from launcher.export.output import write

__all__ = ["Document", "Kind", "edf", "export", "write"]
