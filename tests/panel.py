"""A JupyterLab page's connection to its session, as our extension holds it."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Self

from support import Person
from tornado.websocket import WebSocketClientConnection

from launcher.singleuser.panel.pages import PANEL_PATH


class Page:
    """What a page says to its session, and hears of it."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self.socket = socket

    @classmethod
    async def open(cls, person: Person, server: str = "", origin: str = "") -> Self:
        """Connect a page of somebody's browser to their own server, or to another one."""
        return cls(await person.browser.connect(f"{server or person.server}{PANEL_PATH}", origin=origin))

    def close(self) -> None:
        self.socket.close()

    async def say(self, **message: Any) -> None:
        await self.socket.write_message(json.dumps(message))

    async def read(self) -> Any:
        """Return the next message, or None once the connection is closed."""
        text = await self.socket.read_message()
        return None if text is None else json.loads(text)

    async def hear(self, kind: str) -> Any:
        """Return the next message of a kind, or None if the connection is closed before."""
        async with asyncio.timeout(60):
            while (message := await self.read()) is not None and message["kind"] != kind:
                pass
        return message
