"""Keeps the server's Python apart from the user's: before it imports anything that could be the user's."""

from __future__ import annotations

import os
import sys

KEPT = "LAUNCHER_KEPT_"
"""Begins the name of a variable under which the batch script, or an earlier self, has put another aside."""

_LIBRARIES = ("LD_LIBRARY_PATH", "LD_PRELOAD")
_SAID_BY_THE_SCRIPT = "PYTHONNOUSERSITE"


def is_foreign(name: str) -> bool:
    """Tell whether a variable brings one Python, JupyterLab or library into another's way."""
    return name.startswith("PYTHON") or name in (*_LIBRARIES, "VIRTUAL_ENV", "JUPYTERLAB_DIR")


def isolate(arguments: list[str]) -> None:
    """Begin again if something of the user's Python may already be here; return if there is nothing.

    Args:
        arguments: Of the command line.
    """
    met = [
        name
        for name, value in os.environ.items()
        if value and (name in _LIBRARIES or (name.startswith("PYTHON") and name != _SAID_BY_THE_SCRIPT))
    ]
    site = sys.modules.get("site")
    at_home = not sys.flags.no_user_site and getattr(site, "USER_SITE", None) in sys.path
    if sys.flags.isolated or not (met or at_home):
        return
    for name in met:
        os.environ.setdefault(f"{KEPT}{name}", os.environ.pop(name))
    os.execv(sys.executable, [sys.executable, "-I", "-m", "launcher.singleuser", *arguments])  # noqa: S606


def recover() -> None:
    """Put back into the environment what was put aside."""
    for kept in [name for name in os.environ if name.startswith(KEPT)]:
        value, name = os.environ.pop(kept), kept.removeprefix(KEPT)
        os.environ.pop(name, None)
        if value:
            os.environ[name] = value
