"""The hub, as a job of the crowd sees it: each request is a connection of its own, as on a node."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from urllib.parse import urlsplit

from launcher.protocol import (
    CLAIM_PATH,
    EVENTS_PATH,
    SIGNATURE_HEADER,
    Claim,
    Event,
    ScriptExit,
    encode,
    sign,
)

_TIMEOUT = 15.0


class Hub:
    """The hub's API.

    Args:
        api_url: Its base, such as `http://127.0.0.1:8000/hub/api`.
    """

    def __init__(self, api_url: str) -> None:
        url = urlsplit(api_url)
        self._host, self._port = url.hostname or "", url.port or 80
        self._netloc, self._path = url.netloc, url.path.rstrip("/")

    async def claim(self, claim: Claim) -> tuple[int, bytes]:
        """Claim a launch; return status and body.

        Raises:
            OSError: If there is no answer.
        """
        return await self._post(CLAIM_PATH, encode(claim))

    async def event(self, event: Event, launch_key: str) -> tuple[int, bytes]:
        """Send a signed event; return status and body.

        Raises:
            OSError: If there is no answer.
        """
        body = encode(event)
        return await self._post(EVENTS_PATH, body, {SIGNATURE_HEADER: sign(launch_key, body)})

    async def script_exit(self, told: ScriptExit) -> tuple[int, bytes]:
        """Send the script's last words; return status and body.

        Raises:
            OSError: If there is no answer.
        """
        return await self._post(EVENTS_PATH, encode(told))

    async def activity(self, user: str, token: str) -> tuple[int, bytes]:
        """Report activity as JupyterHub's own extension of a server does; return status and body.

        Raises:
            OSError: If there is no answer.
        """
        moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        told = {"servers": {"": {"last_activity": moment}}, "last_activity": moment}
        headers = {"Authorization": f"token {token}"}
        return await self._post(f"users/{user}/activity", json.dumps(told).encode(), headers)

    async def _post(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        lines = {
            "Host": self._netloc,
            "Accept-Encoding": "identity",
            "Content-Length": str(len(body)),
            "Connection": "close",
            "Content-Type": "application/json",
            **(headers or {}),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return await exchanged(
            self._host, self._port, f"POST {self._path}/{path} HTTP/1.1\r\n{head}\r\n".encode() + body
        )


class _Exchange(asyncio.Protocol):
    """One request, and all that comes back until the other side hangs up."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._said = bytearray()
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._said += data

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answer.done():
            return
        if exc:
            self.answer.set_exception(exc)
        else:
            self.answer.set_result(bytes(self._said))


async def exchanged(host: str, port: int, request: bytes, within: float = _TIMEOUT) -> tuple[int, bytes]:
    """Send a request that asks for the connection to be closed; return status and body.

    Args:
        host: Where to.
        port: Where to.
        request: The whole of it.
        within: Seconds that it may take.

    Raises:
        OSError: If there is no answer, or one that is not HTTP.
    """
    transport = None
    try:
        async with asyncio.timeout(within):
            transport, exchange = await asyncio.get_running_loop().create_connection(
                lambda: _Exchange(request), host, port
            )
            said = await exchange.answer
    finally:
        if transport:
            transport.abort()
    head, _, body = said.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 3 or not words[1].isdigit():
        raise ConnectionError("the answer is not HTTP")
    return int(words[1]), body
