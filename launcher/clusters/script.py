"""The batch script: a pure function of the cluster file, the request and the launch."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from traceback import extract_tb
from urllib.parse import urlsplit

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

import launcher
from launcher.clusters.model import Cluster
from launcher.clusters.options import LaunchRequest
from launcher.errors import InvalidFile, LauncherError

JOB_NAME = "jupyterhub-launcher"
"""Every launch's job has this name: FirecREST can then filter a list by it before it reads the list."""

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


def template_directory() -> Path:
    """Return the directory of the batch templates that come with this project."""
    package = Path(launcher.__file__).parent
    installed = package / "batch_templates"
    return installed if installed.is_dir() else package.parent / "batch_templates"


def log_path(cluster: Cluster, user: str, job_id: str) -> str:
    """Return where a job's log lies on the cluster: `--output` of the batch template, resolved."""
    return f"{cluster.home_of(user)}/jupyterlab-{job_id}.log"


def render(
    cluster: Cluster, request: LaunchRequest, facts: LaunchFacts, *, directories: Sequence[Path] = ()
) -> str:
    """Return the batch script; the same arguments give the same bytes.

    Args:
        cluster: The cluster file.
        request: What the user may have.
        facts: The launch.
        directories: Where batch templates are sought before this project's own; the first hit wins.

    Raises:
        InvalidFile: If the batch template has a mistake.
    """
    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader([str(path) for path in (*directories, template_directory())]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["sh"] = lambda value: shlex.quote(str(value))
    try:
        return environment.get_template(cluster.template).render(
            cluster=cluster, request=request, launch=facts, job_name=JOB_NAME, log_name="jupyterlab-%j.log"
        )
    except Exception as error:
        # A template is a program, whose lines Jinja puts into the traceback among Python's.
        lines = [each for each in extract_tb(error.__traceback__) if not each.filename.endswith((".py", ">"))]
        place = f"{lines[-1].filename}:{lines[-1].lineno}" if lines else cluster.template
        message = getattr(error, "message", None) or str(error) or type(error).__name__
        raise InvalidFile([f"{place}: {message}"]) from error
