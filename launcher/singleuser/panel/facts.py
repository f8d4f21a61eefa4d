"""What the panel says of a session."""

from __future__ import annotations

import os
import time
from pathlib import PurePosixPath
from typing import Any

from launcher.singleuser.session import Session, record


def facts(session: Session, *, root: str, ends: float | None, idle: float) -> dict[str, Any]:
    """Return the message `session` to pages.

    Args:
        session: The session.
        root: The directory below which JupyterLab finds files.
        ends: When the session ends, in seconds since 1970; None if that is not known, or never.
        idle: Seconds after which the session ends if nobody uses it; 0 for never.
    """
    return {
        "kind": "session",
        "now": time.time(),
        "ends": ends,
        "idle": idle / 60 or None,
        "log": _document(session.answer.log, root),
        "session": record(session.answer, session.environments),
    }


def _document(path: str, root: str) -> str | None:
    """Return a file's path as JupyterLab names documents, or None if it is not there, or hidden from it."""
    below = PurePosixPath(path)
    if not path or not below.is_relative_to(root) or not os.path.isfile(path):
        return None
    parts = below.relative_to(root).parts
    return None if any(part.startswith(".") for part in parts) else "/".join(parts)
