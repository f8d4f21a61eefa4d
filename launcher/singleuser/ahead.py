"""What JupyterLab will import in any case, imported while the hub is asked."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from launcher.singleuser.shortcuts import START

MODULES: tuple[str, ...] = (
    "tornado.web",
    "zmq",
    "jsonschema",
    "jupyter_events",
    "nbformat",
    "jinja2",
    "aiohttp",
)
"""Modules that read nothing from the environment that a hub may deliver: at the claim it is not yet known.

Jupyter's own do, and prometheus_client reads everything. aiohttp reads which certificates to trust, unless a
trick has it do so later.
"""


class ImportAhead(threading.Thread):
    """Imports `MODULES` as long as its `with` block goes on, whose end waits for it."""

    def __init__(self) -> None:
        super().__init__(name="launcher-ahead", daemon=True)
        self._wanted = True

    def run(self) -> None:
        """Import; what is missing is found missing when JupyterLab is imported."""
        for module in MODULES:
            if not self._wanted:
                return
            if module == "aiohttp" and not START.has("certificates"):
                continue
            try:
                START.take(module)
            except ImportError:
                return

    def __enter__(self) -> Self:
        """Begin."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Begin no other module after an error: an interpreter can't end in the middle of an import."""
        self._wanted = error is None
        self.join()
