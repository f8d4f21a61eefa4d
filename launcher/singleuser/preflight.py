"""What would make a session useless, found before JupyterLab starts."""

from __future__ import annotations

import os
import re
import sys
import tempfile

from launcher.errors import PreflightFailed

OLDEST_JUPYTERHUB = (5, 5, 1)
"""The oldest JupyterHub that a node may have."""

_DIST_INFO = re.compile(r"jupyterhub-([0-9][0-9A-Za-z.+!_]*)\.dist-info", re.IGNORECASE)


def preflight(start_directory: str, hub_version: str) -> None:
    """Check the node, and go to the start directory, where terminals begin.

    Args:
        start_directory: Absolute path where JupyterLab opens.
        hub_version: Version of JupyterHub at the hub.

    Raises:
        PreflightFailed: With the first thing that would make the session useless.
    """
    _home()
    _enter(start_directory)
    _version(jupyterhub_version(), hub_version)


def jupyterhub_version() -> str | None:
    """Return the version of JupyterHub on this node, or None; importing it would cost seconds."""
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            found = _DIST_INFO.fullmatch(name)
            if found:
                return found[1]
    return None


def _home() -> None:
    home = os.environ.get("HOME", "")
    if not os.path.isdir(home):
        raise PreflightFailed(
            f"Your home directory {home or '($HOME is not set)'} does not exist on this node.",
            todo="Tell the site's support; on another node it may be there.",
        )
    try:
        with tempfile.TemporaryFile(dir=home) as probe:
            probe.write(b"\0" * 4096)
    except OSError as error:
        raise PreflightFailed(
            f"Nothing can be written to your home directory {home}.",
            why=f"{error.strerror or error}.",
            todo="Delete or move files there, caches first (~/.cache), then press Start again.",
        ) from None


def _enter(directory: str) -> None:
    try:
        os.chdir(directory)
        os.scandir().close()
    except OSError as error:
        raise PreflightFailed(
            f"JupyterLab can't open in the start directory {directory} on this node.",
            why=f"{error.strerror or error}.",
            todo="Choose another start directory, such as your home directory, then press Start again. Where "
            "there is none to choose, tell the site's support.",
        ) from None


def _version(node: str | None, hub: str) -> None:
    if node is None:
        # JupyterLab's start tells what is missing, and how to get it.
        return
    if _numbers(node) < OLDEST_JUPYTERHUB or _numbers(node)[0] > _numbers(hub)[0]:
        oldest = ".".join(map(str, OLDEST_JUPYTERHUB))
        raise PreflightFailed(
            f"JupyterHub {node} on this node does not fit JupyterHub {hub} at the hub.",
            why=f"The node needs {oldest} or newer, and no newer major version than the hub's.",
            todo="Choose another environment, or tell the site's support.",
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version)[:3]) or (0,)
