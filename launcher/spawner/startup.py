"""What begins with the hub, before anybody comes.

JupyterHub imports a spawner before it has read its configuration, and then makes no use of it until a user
comes. But tornado imports a handler that is named by its path when the hub makes its web application: in the
running event loop, with all settings complete, before the hub looks at its servers and listens. The admin's
page is named so, and thereby this module imported.
"""

from __future__ import annotations

from typing import Any

from traitlets.config import Application

from launcher.clusters import Cluster
from launcher.clusters.offer import Offer
from launcher.detached import run_detached
from launcher.errors import InvalidFile, UsageError
from launcher.firecrest.jobs import Access
from launcher.spawner.admin_page import ClustersPage
from launcher.spawner.recovery import Recovery
from launcher.spawner.spawner import LauncherSpawner
from launcher.spawner.strays import Strays

__all__ = ["ClustersPage"]


def _begin() -> None:
    hub: Any = Application.instance() if Application.initialized() else None
    settings = getattr(hub, "tornado_settings", {})
    if "users" not in settings or not issubclass(hub.spawner_class, LauncherSpawner):
        return
    spawner = hub.spawner_class(parent=hub)
    offer = Offer.of(settings, spawner.cluster_files, hub.log)
    try:
        access = Access(spawner.service_account, spawner.user_accounts, hub.log)
    except UsageError as error:
        raise SystemExit(str(error)) from None
    access.keep(settings)

    def clusters() -> list[Cluster]:
        try:
            return [version.cluster for version in offer.usable.values()]
        except InvalidFile:
            return []

    strays = Strays(hub, access, clusters, hub.log, cancel=spawner.strays == "cancel")
    run_detached(strays.watch())
    Recovery(hub, hub.log).begin()


_begin()
