"""A small program in `jupyterhub-singleuser`'s place, so that there can be many servers at once.

It answers what a hub asks of a server that starts, at the address that `JUPYTERHUB_SERVICE_URL` names.
Standard library only; jobs run a copy of this file.
"""

from __future__ import annotations

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from urllib.parse import urlsplit

_BODY = b'{"version": "small"}'


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer that there is a server."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(_BODY)))
        # The hub compares it with its own.
        self.send_header("X-JupyterHub-Version", version("jupyterhub"))
        self.end_headers()
        self.wfile.write(_BODY)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def main() -> None:
    """Serve until a signal ends it."""
    port = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"]).port or 0
    ThreadingHTTPServer(("127.0.0.1", port), _Handler).serve_forever()


if __name__ == "__main__":
    main()
