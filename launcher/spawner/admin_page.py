"""What an admin wants to know of clusters and launches of this hub: as a page, and as JSON."""

from __future__ import annotations

from collections.abc import MutableMapping
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope
from tornado.web import authenticated

from launcher.clusters.offer import FileStatus, Offer
from launcher.clusters.overview import overview
from launcher.firecrest.jobs import Access
from launcher.spawner.launches import Launch, Launches
from launcher.words.pending import duration

_SCOPE = "admin-ui"
"""The scope that JupyterHub asks for before it shows its own admin page."""
_READ = "read:servers"


class ClustersPage(BaseHandler):
    """`GET /hub/launcher/clusters`."""

    @authenticated
    @needs_scope(_SCOPE)  # type: ignore[untyped-decorator] # JupyterHub carries no types
    async def get(self) -> None:
        """Show the page in JupyterHub's own frame; 403 for everybody but admins."""
        source = files("launcher.spawner").joinpath("templates/clusters.html").read_text(encoding="utf-8")
        # The hub's own environment, in which the site's `page.html` counts.
        template = self.settings["jinja2_env"].from_string(source)
        settings = self.users.settings
        launches = [_launch(each) for each in Launches.of(settings, self.db)]
        shown = {"launches": launches, "down": _down(settings), "given": Offer.all(settings)}
        page = await self.render_template(template, **shown, overview=overview, duration=duration)
        self.finish(page)


class ClustersHandler(APIHandler):
    """`GET /hub/api/launcher/clusters`."""

    @needs_scope(_SCOPE)  # type: ignore[untyped-decorator] # JupyterHub carries no types
    async def get(self) -> None:
        """Answer with all cluster files; 403 for everybody but admins."""
        self.finish({"clusters": [_model(each) for each in Offer.all(self.users.settings)]})


class LaunchesHandler(APIHandler):
    """`GET /hub/api/launcher/launches`."""

    @needs_scope(_SCOPE, _READ, post_filter=True)  # type: ignore[untyped-decorator] # JupyterHub carries no types
    async def get(self) -> None:
        """Answer with all launches to admins, and to others with those whose servers they may read."""
        settings = self.users.settings
        launches = [_launch(each) for each in Launches.of(settings, self.db) if self._shows(each)]
        self.finish({"launches": launches, "firecrest_down": _down(settings)})

    def _shows(self, launch: Launch) -> bool:
        user = self.users.get(launch.user)
        # A named server may be deleted while its job ends.
        server = user and SimpleNamespace(user=user.orm_user, name=launch.server)
        return self.has_scope(_SCOPE) or bool(server and self.get_scope_filter(_READ)(server, "server"))


def _model(given: FileStatus) -> dict[str, Any]:
    version = given.version
    return {
        "path": str(given.path),
        "problems": list(given.problems),
        "in_use": version
        and {
            "version": version.name,
            "since": version.since.isoformat(timespec="seconds"),
            "files": {str(path): digest for path, digest in version.files.items()},
            "cluster": version.file.cluster.model_dump(mode="json"),
        },
    }


def _launch(launch: Launch) -> dict[str, Any]:
    record, doubt = launch.record, launch.doubt
    return {
        "user": launch.user,
        "server": launch.server,
        "cluster": record.cluster,
        "job_id": record.job_id,
        "node": record.node,
        "phase": record.phase,
        "phase_seconds": round(launch.phase_seconds),
        "awaited": launch.awaited or launch.has_successor,
        "in_doubt": doubt and {"seconds": round(launch.silent_seconds), "scheduler": doubt.words},
    }


def _down(settings: MutableMapping[str, Any]) -> list[str]:
    """Return the clusters whose FirecREST is taken for down."""
    clusters = [given.version.file.cluster for given in Offer.all(settings) if given.version]
    return [each.name for each in clusters if Access.of(settings).firecrest(each).circuit.open]


HANDLERS = [
    ("/launcher/clusters", "launcher.spawner.startup.ClustersPage"),
    ("/api/launcher/clusters", ClustersHandler),
    ("/api/launcher/launches", LaunchesHandler),
]
