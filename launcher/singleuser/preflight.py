"""What would make a session useless, found before JupyterLab starts."""

from __future__ import annotations

import os
import re
import sys
from functools import cache

from launcher.errors import PreflightFailed
from launcher.protocol import ClaimAnswer
from launcher.singleuser.environment import Environments
from launcher.singleuser.home import check_home, check_temporary
from launcher.singleuser.mounts import check_processors

OLDEST_JUPYTERHUB = (5, 5, 1)
"""The oldest JupyterHub that a node may have."""

MOST_CLOCKS_DIFFER = 60.0
"""Seconds; where clocks differ by more, tokens and certificates count as expired, or as not yet valid."""

_DIST_INFO = re.compile(r"jupyterhub-([0-9][0-9A-Za-z.+!_]*)\.dist-info", re.IGNORECASE)


def preflight(answer: ClaimAnswer, environments: Environments, clock: float = 0.0) -> None:
    """Check the node, and go to the start directory, where terminals begin.

    Args:
        answer: What the hub said that this launch is.
        environments: What the server and its user's programs will see; a directory for temporary files that
            takes nothing is changed in them.
        clock: Seconds by which this node's clock is ahead of the hub's (`Hub.clock`).

    Raises:
        PreflightFailed: With the first thing that would make the session useless.
    """
    _version(jupyterhub_version(), answer.jupyterhub_version)
    _clock(clock)
    check_processors(environments.images, environments.views)
    check_home(environments.user.get("HOME", ""))
    given = environments.user.get("TMPDIR", "")
    if (temporary := check_temporary(given)) != given:
        environments.add({"TMPDIR": temporary})
    _enter(answer.start_directory)


@cache
def jupyterhub_version() -> str | None:
    """Return the version of JupyterHub on this node, or None; importing it would cost seconds."""
    standard = os.path.dirname(os.__file__)
    for folder in sys.path:
        if folder in (standard, f"{standard}/lib-dynload"):
            continue
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            found = _DIST_INFO.fullmatch(name)
            if found:
                return found[1]
    return None


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


def _clock(ahead: float) -> None:
    if abs(ahead) > MOST_CLOCKS_DIFFER:
        raise PreflightFailed(
            f"The clock of this node is {_duration(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} the "
            "hub's.",
            why="Log-ins and certificates would count as expired, or as not yet valid.",
            todo="Press Start again to get another node; if it stays so, tell the site's support: either "
            "clock is wrong.",
        )


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version)[:3]) or (0,)
