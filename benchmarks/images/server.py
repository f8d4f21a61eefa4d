"""Starts of an image's real server, up to its first answer, with a small hub in JupyterHub's place."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from launcher.protocol import (
    CLAIM_PATH,
    EVENTS_PATH,
    PROBE_PATH,
    ClaimAnswer,
    Event,
    EventKind,
    new_nonce,
    new_ticket,
    parse_event,
    probe_proof,
)

NOBODY = 65534
"""User and group that the server runs as: as root, some of it would be another program."""

_AS_NOBODY = ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--")
_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
_API = "/hub/api/"
_PREFIX = "/user/nobody/"
_PATIENCE = 120.0
"""Seconds after which a server is taken for one that never answers."""


class Start(NamedTuple):
    """What one start took.

    Attributes:
        seconds: From the command's first instruction to the server's first answer.
        cpu: Processor seconds of the server until then.
        read: Bytes that it had to have read from a disk.
    """

    seconds: float
    cpu: float
    read: int


class Node:
    """A place where servers start, and the hub that they ask. Use `node`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._ready = threading.Event()
        self._port = 0
        version = metadata.version("jupyterhub")
        node = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say({"version": version})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == f"{_API}{CLAIM_PATH}":
                    self._say(node.answer._asdict())
                    return
                if self.path == f"{_API}{EVENTS_PATH}":
                    node.take(body)
                self._say({})

            def _say(self, message: object) -> None:
                answer = json.dumps(message).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: object) -> None:
                pass

        self.hub = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._url = f"http://127.0.0.1:{self.hub.server_port}{_API}"
        self._key = secrets.token_hex(32)
        self.answer = ClaimAnswer(
            launch_id=secrets.token_hex(16),
            launch_key=self._key,
            environment={
                "JUPYTERHUB_API_TOKEN": secrets.token_hex(32),
                "JUPYTERHUB_API_URL": self._url,
                "JUPYTERHUB_BASE_URL": "/",
                "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-nobody",
                "JUPYTERHUB_SERVICE_PREFIX": _PREFIX,
                "JUPYTERHUB_USER": "nobody",
            },
            arguments=[],
            networks=["127.0.0.0/8"],
            names=[],
            interface="",
            ports=None,
            start_directory=str(home),
            vscode=True,
            jupyterhub_version=version,
        )

    def take(self, body: bytes) -> None:
        """Take an event; the one that matters brings the port."""
        event = parse_event(body)
        if isinstance(event, Event) and event.kind is EventKind.READY:
            self._port = event.port
            self._ready.set()

    def start(self, command: Sequence[str]) -> Start:
        """Start a server, wait for its first answer, and kill it.

        Args:
            command: What starts it, in whatever place.
        """
        self._ready.clear()
        began = time.monotonic()
        server = subprocess.Popen(
            command,
            env={
                "HOME": str(self._home),
                "JUPYTER_RUNTIME_DIR": str(self._home),
                "LAUNCHER_HUB_URL": self._url,
                "LAUNCHER_TICKET": new_ticket(),
                "PATH": _PATH,
                "SLURM_JOB_ID": "1",
                "TMPDIR": str(self._home),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            if self._ready.wait(_PATIENCE) and self._answers():
                return Start(time.monotonic() - began, _cpu(server.pid), _read(server.pid))
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            _, errors = server.communicate()
        raise RuntimeError(f"The server did not start:\n{errors.decode(errors='replace')}")

    def _answers(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE)
        nonce = new_nonce()
        connection.request("GET", f"{_PREFIX}{PROBE_PATH}?nonce={nonce}")
        answer = connection.getresponse().read()
        connection.close()
        return answer == probe_proof(self._key, nonce).encode()


@contextmanager
def node(home: Path) -> Iterator[Node]:
    """Lend a place where servers start, as nobody.

    Args:
        home: A directory for their home.
    """
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    there = Node(home)
    thread = threading.Thread(target=there.hub.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield there
    finally:
        there.hub.shutdown()
        thread.join()
        there.hub.server_close()


def server(mount: str) -> list[str]:
    """Return the command of the server that an image brings, as nobody."""
    return [*_AS_NOBODY, f"{mount}/env/jupyter/bin/launcher-singleuser"]


def _cpu(pid: int) -> float:
    """Return the processor seconds of a process and of its children that have ended: proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _read(pid: int) -> int:
    """Return the bytes that a process made the kernel read from a block device, a loop device among them."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["read_bytes"])
