"""The small program in JupyterLab's place."""

from __future__ import annotations

import socket
import threading
from http.client import HTTPConnection, RemoteDisconnected
from types import SimpleNamespace

import pytest

from launcher.protocol import PROBE_PATH, probe_proof
from launcher.sandbox import stand_in

KEY = "a" * 64


@pytest.fixture
def server():
    """One that serves, in a thread of this process."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        answer = SimpleNamespace(environment={}, launch_key=KEY, jupyterhub_version="6.1.1")
        server = stand_in._Server(answer, SimpleNamespace(socket=bound), None)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield server
        server.shutdown()
        serving.join()


def probe(server) -> str:
    connection = HTTPConnection(*server.socket.getsockname(), timeout=10)
    connection.request("GET", f"/{PROBE_PATH}?nonce=n")
    try:
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_it_proves_its_launch_until_it_ends(server):
    assert probe(server) == probe_proof(KEY, "n")
    server.ended = True
    with pytest.raises(RemoteDisconnected):
        probe(server)
