"""The batch script: a pure function of the cluster file, the request and the launch."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from launcher.clusters.environment import ContainerEnvironment, UenvEnvironment, image_name
from launcher.clusters.model import Cluster
from launcher.clusters.request import LaunchRequest
from launcher.clusters.template import BatchTemplate
from launcher.errors import LauncherError
from launcher.protocol import PULL_FAILED

JOB_NAME = "jupyterhub-launcher"
"""Every launch's job has this name: FirecREST can then filter a list by it before it reads the list."""

LOG_NAME = "jupyterlab-%j.log"
"""A job's log, in the user's home directory; `%j` is the job id: sbatch(1), filename pattern."""

_USER = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,63}")
_HEX = re.compile(r"[0-9a-f]{32,64}")


@dataclass(frozen=True)
class LaunchFacts:
    """What a script must know of the launch that it is for.

    Attributes:
        launch_id: 32 hexadecimal digits; also the script's first comment, by which a job is recognised.
        ticket: 64 hexadecimal digits; kept out of `repr`.
        hub_api_url: The hub's API as compute nodes reach it.
        user: The user's name on the cluster.
    """

    launch_id: str
    ticket: str = field(repr=False)
    hub_api_url: str
    user: str

    def __post_init__(self) -> None:
        url = urlsplit(self.hub_api_url)
        if url.scheme not in ("http", "https") or not url.hostname or not self.hub_api_url.isprintable():
            raise ValueError("hub_api_url is not an http URL")
        if not _HEX.fullmatch(self.launch_id) or not _HEX.fullmatch(self.ticket):
            raise ValueError("launch_id and ticket are hexadecimal digits")
        if not _USER.fullmatch(self.user):
            raise LauncherError(
                f"{self.user!r} is not a name that a user of a cluster can have.",
                todo="Tell the site's support: the hub's user names must be those of the cluster.",
            )


@dataclass(frozen=True)
class Mount:
    """A uenv image and where it is mounted.

    Attributes:
        image: A label, or the path of a squashfs file.
        path: The mount point.
    """

    image: str
    path: str

    def __str__(self) -> str:
        return f"{self.image}:{self.path}"


def log_path(cluster: Cluster, user: str, job_id: str) -> str:
    """Return where a job's log lies on the cluster: `--output` of the batch template, resolved."""
    return f"{cluster.home_of(user)}/{LOG_NAME.replace('%j', job_id)}"


def render(template: BatchTemplate, cluster: Cluster, request: LaunchRequest, facts: LaunchFacts) -> str:
    """Return the batch script; the same arguments give the same bytes.

    Args:
        template: The batch template.
        cluster: The cluster file.
        request: What the user may have.
        facts: The launch.

    Raises:
        InvalidFile: If the batch template has a mistake.
    """
    return template.render(**template_variables(cluster, request, facts))


def template_variables(cluster: Cluster, request: LaunchRequest, facts: LaunchFacts) -> dict[str, Any]:
    """Return what a batch template sees: checked, typed values only.

    `cluster`, `request`, `environment` and `launch` are the objects of those names. `mounts` are the uenv
    images of the session, the user's last. `pulls` are the labels of those that the job pulls if they are not
    there, `pull_failed` is its exit code if it can't, and `uenv` is how that program is called. `view` is the
    view to load, named with its uenv where that is known, and `uenv_view` the same as uenv itself would tell
    it to the job. `launcher` is the program that starts the server. `job_name` and `log_name` are the job's.
    """
    environment = cluster.environment(request.environment)
    if environment is None:
        raise ValueError(f"{request.environment} is no environment of {cluster.name}")
    attached = mounts(cluster, request)
    tools = cluster.tools.program if cluster.tools else None
    return {
        "cluster": cluster,
        "request": request,
        "environment": environment,
        "launch": facts,
        "mounts": attached,
        "pulls": tuple(each.image for each in attached if not each.image.startswith("/"))
        if cluster.uenv.pull
        else (),
        "pull_failed": PULL_FAILED,
        "uenv": uenv_command(cluster),
        "view": _view(request),
        "uenv_view": _uenv_view(request, attached),
        "launcher": environment.launcher or tools or cluster.launcher,
        "job_name": JOB_NAME,
        "log_name": LOG_NAME,
    }


def uenv_command(cluster: Cluster) -> str:
    """Return how uenv is called so that it works on the cluster's repository."""
    return f"uenv --repo={cluster.uenv.repo}" if cluster.uenv.repo else "uenv"


def mounts(cluster: Cluster, request: LaunchRequest) -> tuple[Mount, ...]:
    """Return the uenv images of a session, the user's last."""
    environment = cluster.environment(request.environment)
    if environment is None or isinstance(environment, ContainerEnvironment):
        return ()
    attached = []
    if cluster.tools and environment.launcher is None:
        attached.append(Mount(cluster.tools.image, cluster.tools.mount))
    if isinstance(environment, UenvEnvironment) and request.image:
        attached.append(Mount(request.image, environment.mount or cluster.uenv.mount))
    return tuple(attached)


def _view(request: LaunchRequest) -> str | None:
    """Return the view with its uenv's name: the tools image may have one that is called the same."""
    if not request.view or not request.image or ":" in request.view or request.image.startswith("/"):
        return request.view
    return f"{image_name(request.image)}:{request.view}"


def _uenv_view(request: LaunchRequest, attached: tuple[Mount, ...]) -> str:
    """Return the view in the form of uenv's `UENV_VIEW`: mount, name of the uenv, name of the view."""
    if not request.view or not attached:
        return ""
    uenv, _, name = request.view.rpartition(":")
    return f"{attached[-1].path}:{uenv or PurePosixPath(attached[-1].image).stem}:{name}"
