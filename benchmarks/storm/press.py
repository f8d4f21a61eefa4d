"""A person who presses Start: two requests, as of a browser, and then a look at the server."""

from __future__ import annotations

import asyncio
import json
import time

from benchmarks.crowd.hub import exchanged
from benchmarks.storm.figures import Start
from launcher.protocol import PROBE_PATH, new_nonce, probe_proof

_HOST = "127.0.0.1"
_READY, _FAILED = b'"ready": true', b'"failed": true'


class Person:
    """Somebody with a token for the hub's API.

    Args:
        port: The public port.
        name: Their name.
        token: Their token.
    """

    def __init__(self, port: int, name: str, token: str) -> None:
        self.name = name
        self._port = port
        self._token = token

    async def press(self, patience: float) -> Start:
        """Press Start, and follow the progress of the start until its server is ready.

        Args:
            patience: Seconds after which the start is given up.
        """
        pressed = time.monotonic()
        try:
            async with asyncio.timeout(patience):
                why = await self._started(patience)
        except OSError as error:
            why = f"{type(error).__name__}: {error}"
        return Start(pressed, None if why else time.monotonic(), why=why)

    async def _started(self, patience: float) -> str:
        """Start a server; return what came instead of it, or nothing."""
        path = f"/hub/api/users/{self.name}/server"
        request = self._request("POST", path, {})
        status, _ = await exchanged(_HOST, self._port, request, within=patience)
        if status == 202:
            return "" if await self._followed(f"{path}/progress") else "no server at the end of its progress"
        return "" if status == 201 else f"HTTP {status}"

    async def _followed(self, path: str) -> bool:
        """Read the stream of a start's progress; tell whether its server is ready."""
        reader, writer = await asyncio.open_connection(_HOST, self._port)
        try:
            writer.write(self._request("GET", path))
            async for line in reader:
                if _READY in line or _FAILED in line:
                    return _READY in line
        finally:
            writer.transport.abort()
        return False

    async def proves(self, launch_key: str | None) -> bool:
        """Tell whether the hub's proxy leads to their server, and the server proves to be theirs.

        Args:
            launch_key: Of their launch; None where servers prove nothing.
        """
        nonce = new_nonce()
        path = "api" if launch_key is None else f"{PROBE_PATH}?nonce={nonce}"
        try:
            status, said = await exchanged(
                _HOST, self._port, self._request("GET", f"/user/{self.name}/{path}")
            )
        except OSError:
            return False
        return status == 200 and (launch_key is None or said.decode() == probe_proof(launch_key, nonce))

    def _request(self, method: str, path: str, body: object = None) -> bytes:
        content = b"" if body is None else json.dumps(body).encode()
        lines = {
            "Host": f"{_HOST}:{self._port}",
            "Authorization": f"token {self._token}",
            "Connection": "close",
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content
