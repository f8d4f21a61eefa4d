"""A hub that knows just enough of JupyterHub for a single-user server to start."""

from __future__ import annotations

import json
import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from typing import Any

from launcher.protocol import (
    CLAIM_PATH,
    EVENTS_PATH,
    ClaimAnswer,
    Event,
    EventKind,
    ProtocolError,
    parse_event,
)

PREFIX = "/user/nobody/"
_API = "/hub/api/"
_BATCHSPAWNER = f"{_API}batchspawner"
_SCOPES = ["access:servers!server=nobody/", "access:servers!user=nobody"]


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of servers that were killed before they had their answer."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Hub:
    """The hub, and what it has heard of the server that starts. Use `hub`.

    Attributes:
        url: Of its API.
        token: That of the server.
        told: Set when the server has said its port.
    """

    def __init__(self, start_directory: str) -> None:
        self.told = threading.Event()
        self.token = secrets.token_hex(32)
        self._port = 0
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say(hub.user if self.path == f"{_API}user" else hub.version)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == f"{_API}{CLAIM_PATH}":
                    self._say(hub.answer._asdict())
                    return
                hub.take(self.path, body)
                self._say({})

            def _say(self, message: object) -> None:
                answer = json.dumps(message).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.send_header("X-JupyterHub-Version", hub.version["version"])
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}{_API}"
        jupyterhub = metadata.version("jupyterhub")
        self.version = {"version": jupyterhub}
        self.user = {"kind": "user", "name": "nobody", "admin": False, "groups": [], "scopes": _SCOPES}
        variables = self.variables(None)
        del variables["JUPYTERHUB_SERVICE_URL"]  # the launcher's servers choose their own
        self.answer = ClaimAnswer(
            launch_id=secrets.token_hex(16),
            launch_key=secrets.token_hex(32),
            environment=variables,
            arguments=[],
            networks=["127.0.0.0/8"],
            names=[],
            interface="",
            ports=None,
            start_directory=start_directory,
            vscode=True,
            jupyterhub_version=jupyterhub,
        )

    @property
    def port(self) -> int:
        """The port that the server has said; wait for `told` first."""
        return self._port

    def forget(self) -> None:
        """Expect another server."""
        self.told.clear()

    def variables(self, port: int | None) -> dict[str, str]:
        """Return what JupyterHub puts into the environment of a server.

        Args:
            port: Where it is to listen; None where it finds a port itself.
        """
        return {
            "JUPYTERHUB_ACTIVITY_URL": f"{self.url}users/nobody/activity",
            "JUPYTERHUB_API_TOKEN": self.token,
            "JUPYTERHUB_API_URL": self.url,
            "JUPYTERHUB_BASE_URL": "/",
            "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-nobody",
            "JUPYTERHUB_HOST": "",
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps(_SCOPES),
            "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{PREFIX}oauth_callback",
            "JUPYTERHUB_OAUTH_SCOPES": json.dumps(_SCOPES),
            "JUPYTERHUB_SERVER_NAME": "",
            "JUPYTERHUB_SERVICE_PREFIX": PREFIX,
            "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port or 0}{PREFIX}",
            "JUPYTERHUB_USER": "nobody",
        }

    def take(self, path: str, body: bytes) -> None:
        """Take what a server says; what matters is its port."""
        if path == _BATCHSPAWNER:
            self._tell(json.loads(body)["port"])
        elif path == f"{_API}{EVENTS_PATH}":
            # Who was killed while it spoke has said nothing.
            with suppress(ProtocolError):
                event = parse_event(body)
                if isinstance(event, Event) and event.kind is EventKind.READY:
                    self._tell(event.port)

    def _tell(self, port: int) -> None:
        self._port = port
        self.told.set()


@contextmanager
def hub(start_directory: str) -> Iterator[Hub]:
    """Lend a hub that runs.

    Args:
        start_directory: Where it has servers open.
    """
    there = Hub(start_directory)
    thread = threading.Thread(target=there.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield there
    finally:
        there.server.shutdown()
        thread.join()
        there.server.server_close()
