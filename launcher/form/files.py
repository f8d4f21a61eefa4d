"""The form's script and style sheet, served by the hub without a log-in: they are the same for everybody."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path

from jupyterhub.handlers.static import CacheControlStaticFilesHandler
from jupyterhub.utils import url_path_join

_DIRECTORY = Path(__file__).with_name("static")
_PREFIX = "/launcher/static/"

HANDLERS = [(rf"{_PREFIX}([a-z.]+)", CacheControlStaticFilesHandler, {"path": str(_DIRECTORY)})]
"""What belongs below the hub's base URL. With a `v` in the query the answer may be kept, without it not."""


def static_url(base_url: str, name: str) -> str:
    """Return the URL of a file, which changes with its content.

    Args:
        base_url: The hub's own, such as `/hub/`.
        name: `form.js` or `form.css`.
    """
    return f"{url_path_join(base_url, _PREFIX, name)}?v={_version(name)}"


@cache
def _version(name: str) -> str:
    return sha256((_DIRECTORY / name).read_bytes()).hexdigest()[:16]
