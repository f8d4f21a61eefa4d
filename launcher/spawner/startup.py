"""What begins with the hub, before anybody comes: the look at its cluster file.

JupyterHub imports a spawner before it has read its configuration, and then makes no use of it until a user
comes. But tornado imports a handler that is named by its path when the hub makes its web application: in the
running event loop, with all settings complete, just before it listens. The admin's page is named so, and
thereby this module imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from traitlets.config import Application

from launcher.spawner.admin_page import ClustersPage
from launcher.spawner.cluster_file import LiveClusterFile
from launcher.spawner.spawner import LauncherSpawner

__all__ = ["ClustersPage"]


def _begin() -> None:
    hub: Any = Application.instance() if Application.initialized() else None
    settings = getattr(hub, "tornado_settings", {})
    if "users" in settings and issubclass(hub.spawner_class, LauncherSpawner):
        path = hub.spawner_class(parent=hub).cluster_file
        if path:
            LiveClusterFile.of(settings, Path(path), hub.log)


_begin()
