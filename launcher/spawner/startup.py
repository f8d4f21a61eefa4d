"""What begins with the hub, before anybody comes.

JupyterHub imports a spawner before it has read its configuration, and then makes no use of it until a user
comes. But tornado imports a handler that is named by its path when the hub makes its web application: in the
running event loop, with all settings complete, before the hub looks at its servers and listens. The admin's
page is named so, and thereby this module imported.
"""

from __future__ import annotations

import gc
from typing import Any

from traitlets.config import Application

from launcher import routes, server_count
from launcher.clusters import Cluster
from launcher.clusters.offer import Offer
from launcher.detached import run_detached
from launcher.errors import InvalidFile, UsageError
from launcher.firecrest.jobs import Access
from launcher.form.last_session import extend_pages
from launcher.form.template import FormTemplate
from launcher.spawner.admin_page import ClustersPage
from launcher.spawner.recovery import Recovery
from launcher.spawner.spawner import LauncherSpawner
from launcher.spawner.strays import Strays

__all__ = ["ClustersPage"]

_YOUNG = 50_000
"""New objects after which the youngest are looked through, instead of 700: most of them are gone by then."""


def _begin() -> None:
    hub: Any = Application.instance() if Application.initialized() else None
    settings = getattr(hub, "tornado_settings", {})
    if "users" not in settings or not issubclass(hub.spawner_class, LauncherSpawner):
        return
    spawner = hub.spawner_class(parent=hub)
    _check_ways(hub, spawner)
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

    # What takes long the first time is made now: nobody waits for the hub's event loop yet.
    FormTemplate.of(settings, hub.log)
    extend_pages(settings)
    for cluster in clusters():
        access.firecrest(cluster)
    cancel, grace = spawner.strays == "cancel", spawner.stray_grace
    run_detached(Strays(hub, access, clusters, hub.log, cancel=cancel, grace=grace).watch())
    run_detached(routes.keep(hub, hub.log))
    run_detached(server_count.keep(hub, hub.log))
    Recovery(hub, hub.log).begin()
    # Modules are some 300,000 objects, and stay. Python would look through all of them for garbage again and
    # again while people start servers, and stop everybody for a quarter of a second each time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)


def _check_ways(hub: Any, spawner: LauncherSpawner) -> None:
    """Refuse a configuration with which no job would reach the hub."""
    if not hub.internal_ssl:
        return
    if not hub.public_url:
        raise SystemExit(
            "internal_ssl needs c.JupyterHub.public_url: a job claims its launch without a certificate."
        )
    if (spawner.hub_connect_url or "").startswith(hub.public_url.rstrip("/")):
        raise SystemExit(
            "With internal_ssl, hub_connect_url must not be the public URL: servers show the hub's own port "
            "their certificates. Leave it unset, or name that port as nodes reach it."
        )


_begin()
