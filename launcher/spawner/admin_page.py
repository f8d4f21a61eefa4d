"""What an admin wants to know of the cluster files that this hub uses: as a page, and as JSON."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope
from tornado.web import authenticated

from launcher.clusters.offer import FileStatus, Offer
from launcher.clusters.overview import overview

_SCOPE = "admin-ui"
"""The scope that JupyterHub asks for before it shows its own admin page."""


class ClustersPage(BaseHandler):
    """`GET /hub/launcher/clusters`."""

    @authenticated
    @needs_scope(_SCOPE)  # type: ignore[untyped-decorator] # JupyterHub carries no types
    async def get(self) -> None:
        """Show the page in JupyterHub's own frame; 403 for everybody but admins."""
        source = files("launcher.spawner").joinpath("templates/clusters.html").read_text(encoding="utf-8")
        # The hub's own environment, in which the site's `page.html` counts.
        template = self.settings["jinja2_env"].from_string(source)
        given = Offer.all(self.users.settings)
        self.finish(await self.render_template(template, given=given, overview=overview))


class ClustersHandler(APIHandler):
    """`GET /hub/api/launcher/clusters`."""

    @needs_scope(_SCOPE)  # type: ignore[untyped-decorator] # JupyterHub carries no types
    async def get(self) -> None:
        """Answer with all cluster files; 403 for everybody but admins."""
        self.finish({"clusters": [_model(each) for each in Offer.all(self.users.settings)]})


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


HANDLERS = [
    ("/launcher/clusters", "launcher.spawner.startup.ClustersPage"),
    ("/api/launcher/clusters", ClustersHandler),
]
