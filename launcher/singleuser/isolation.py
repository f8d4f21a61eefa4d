"""Keeps the server's Python apart from the user's: before it imports anything that could be the user's."""

from __future__ import annotations

import os
import sys

KEPT = "LAUNCHER_KEPT_"
"""Begins the name of a variable under which the batch script, or an earlier self, has put another aside."""

FOREIGN = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV")
"""Variables by which one Python, or a library of its, comes into another's way."""

_HARMLESS = ("VIRTUAL_ENV", "PYTHONSTARTUP")
"""Those of them that mean something to what this Python starts only."""


def isolate(arguments: list[str]) -> None:
    """Begin again if something of the user's Python may already be here; return if there is nothing.

    Args:
        arguments: Of the command line.
    """
    met = [name for name in FOREIGN if name not in _HARMLESS and os.environ.get(name)]
    # A batch script says that there is none, after it has put aside what the user has said.
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
