"""The port of a job: what a hub asks a server, and its answers, with no framework."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol
from urllib.parse import parse_qs

import jupyterhub

from launcher.protocol import PROBE_PATH, SIGNATURE_HEADER, STOP_PATH, asked_to_stop, probe_proof

ADDRESS = "127.0.0.1"

_MAX_MESSAGE = 64 * 1024
_SAID = json.dumps({"version": "crowd"}).encode()


class Answerer(Protocol):
    """Who answers at a port."""

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Return status and body."""
        ...


class Bare:
    """A server that proves nothing, as every other program: it answers whoever asks whether it is there."""

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """As `Answerer.answer`."""
        del headers, body
        there = method == "GET" and target.rstrip("/").endswith("/api")
        return (200, _SAID) if there else (404, b"{}")


class Proving:
    """A launch's server.

    Args:
        prefix: Its base URL, such as `/user/alice/`.
        launch_key: The launch key.
        stop: Ends it.
    """

    def __init__(self, prefix: str, launch_key: str, stop: Callable[[], None]) -> None:
        self._prefix = prefix
        self._launch_key = launch_key
        self._stop = stop

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """As `Answerer.answer`."""
        path, _, query = target.partition("?")
        path = path.removeprefix(self._prefix) if path.startswith(self._prefix) else "?"
        if method == "POST" and path == STOP_PATH:
            nonce = asked_to_stop(self._launch_key, body, headers.get(SIGNATURE_HEADER.lower(), ""))
            if nonce is None:
                return 403, b"{}"
            self._stop()
            return 202, probe_proof(self._launch_key, nonce).encode()
        if method == "GET" and path == PROBE_PATH:
            nonce = parse_qs(query).get("nonce", [""])[0][:64]
            return 200, probe_proof(self._launch_key, nonce).encode()
        return (200, _SAID) if method == "GET" and path in ("", "api", "api/") else (404, b"{}")


class _Connection(asyncio.Protocol):
    """One connection, for one request: kept ones would be more files than one process may have open."""

    def __init__(self, answerer: Answerer) -> None:
        self._answerer = answerer
        self._said = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._said += data
        if self._transport and not self._transport.is_closing() and (whole := self._whole()):
            self._transport.write(self._answered(*whole))
            self._transport.close()

    def _whole(self) -> tuple[str, str, dict[str, str], bytes] | None:
        """Return the next request, or None while it is not there."""
        head, end, rest = self._said.partition(b"\r\n\r\n")
        if not end:
            if len(self._said) > _MAX_MESSAGE and self._transport:
                self._transport.close()
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        method, _, target = first.partition(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length") or 0)
        if len(rest) < length:
            return None
        return method, target.rpartition(" ")[0], headers, rest[:length]

    def _answered(self, method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
        status, text = self._answerer.answer(method, target, headers, body)
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n"
            f"X-JupyterHub-Version: {jupyterhub.__version__}\r\n"
            "Connection: close\r\n\r\n"
        )
        return head.encode() + text


async def listen(answerer: Answerer, port: int = 0) -> asyncio.Server:
    """Listen on a port of this machine's own; 0 takes a free one."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _Connection(answerer), ADDRESS, port, backlog=64)


def port_of(server: asyncio.Server) -> int:
    """Return where a server listens."""
    return int(server.sockets[0].getsockname()[1])
