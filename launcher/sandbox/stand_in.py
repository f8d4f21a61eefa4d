"""A small program in JupyterLab's place, so that a test can have many servers at once.

It is `launcher-singleuser` as it stands, up to where that would import JupyterLab: it claims, does its
preflight, listens, reports, and proves itself to the hub in the same way. What it serves is nothing but the
answers that the hub waits for. A Python process of the standard library only.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from types import FrameType
from urllib.parse import parse_qs, urlsplit

from launcher.protocol import (
    PROBE_PATH,
    SIGNATURE_HEADER,
    STOP_PATH,
    ClaimAnswer,
    EventKind,
    asked_to_stop,
    probe_proof,
)
from launcher.singleuser import ahead, entry
from launcher.singleuser.listener import Listener
from launcher.singleuser.reporter import ENDING, Reporter
from launcher.singleuser.session import Session
from launcher.singleuser.tls import VARIABLES

_BACKLOG = 128
_MAX_BODY = 1024


def main() -> int:
    """Run the entry point with this module where it looks for JupyterLab; return the exit code."""
    sys.modules["launcher.singleuser.server"] = sys.modules[__name__]
    ahead.MODULES = ()
    return entry.run(sys.argv[1:])


def serve(session: Session) -> None:
    """Answer the hub until a signal or the hub itself ends it."""
    answer, listener, reporter = session.answer, session.listener, session.reporter
    # Unlike an event, it takes a signal that interrupts another: Slurm and the script both send one.
    ended: SimpleQueue[None] = SimpleQueue()

    def end(number: int, _frame: FrameType | None) -> None:
        reporter.note(ENDING[signal.Signals(number)])
        ended.put(None)

    for number in ENDING:
        signal.signal(number, end)
    server = _Server(answer, listener, reporter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    reporter.send(EventKind.READY, address=listener.address, port=listener.port)
    ended.get()
    server.ended = True


class _Server(ThreadingHTTPServer):
    """Serves on a socket that is already bound.

    Attributes:
        ended: Whether it answers nobody any more, as a JupyterLab whose event loop is over.
    """

    daemon_threads = True
    ended = False

    def __init__(self, answer: ClaimAnswer, listener: Listener, reporter: Reporter) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener.socket
        self.socket.listen(_BACKLOG)
        self.answer = answer
        self.reporter = reporter
        self.prefix = answer.environment.get("JUPYTERHUB_SERVICE_PREFIX", "/")
        key, certificate, authority = map(os.environ.get, VARIABLES)
        self._context: ssl.SSLContext | None = None
        if certificate:
            self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_cert_chain(certificate, key)

    def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Answer a connection, in its own thread: a slow handshake keeps nobody else waiting."""
        if self.ended:
            return
        encrypted = self._context.wrap_socket(request, server_side=True) if self._context else request
        super().finish_request(encrypted, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that break."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 30

    def do_GET(self) -> None:
        """Answer a probe, or whether something is there."""
        url = urlsplit(self.path)
        path = url.path.removeprefix(self.server.prefix) if url.path.startswith(self.server.prefix) else None
        if path == PROBE_PATH:
            self._prove(200, parse_qs(url.query).get("nonce", [""])[0][:64])
        elif path in ("", "api", "api/"):
            self._say(200, json.dumps({"version": "stand-in"}))
        else:
            self._say(404, "{}")

    def do_POST(self) -> None:
        """End, if the hub asks for that."""
        length = self.headers.get("Content-Length", "")
        body = self.rfile.read(min(int(length), _MAX_BODY)) if length.isdecimal() else b""
        told = self.headers.get(SIGNATURE_HEADER, "")
        nonce = asked_to_stop(self.server.answer.launch_key, body, told)
        if self.path != f"{self.server.prefix}{STOP_PATH}" or nonce is None:
            self._say(403, "{}")
            return
        self._prove(202, nonce)
        self.server.reporter.note("stopped")
        os.kill(os.getpid(), signal.SIGTERM)

    def _prove(self, status: int, nonce: str) -> None:
        self._say(status, probe_proof(self.server.answer.launch_key, nonce), "text/plain")

    def _say(self, status: int, text: str, kind: str = "application/json") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        # The hub compares it with its own.
        self.send_header("X-JupyterHub-Version", self.server.answer.jupyterhub_version)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing: the job's log is for its user."""
