"""A kernel and a terminal of a Jupyter server, talked to over their websockets.

The messages are those of Jupyter's messaging protocol 5, one JSON text a message, and of terminado's
`[kind, text]` lists.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from tornado.websocket import WebSocketClientConnection, WebSocketClosedError

from launcher.check.browser import Browser
from launcher.errors import CheckFailed

_COLUMNS, _ROWS = 200, 24


@dataclass(frozen=True)
class Kernel:
    """A kernel that answers.

    Args:
        title: What it calls itself.
        url: The address of its session at the server.
    """

    title: str
    url: str
    _browser: Browser
    _socket: WebSocketClientConnection
    _client: str

    @classmethod
    async def start(cls, browser: Browser, server: str) -> Kernel:
        """Start the server's default kernel as a console would, and wait for its first answer.

        Raises:
            CheckFailed: It does not start, or its websocket can't be opened.
        """
        specs = await browser.fetch("GET", server + "api/kernelspecs")
        name = specs["default"]
        client = uuid4().hex
        request = {"kernel": {"name": name}, "name": "check", "path": f"check-{client}", "type": "console"}
        session = await browser.fetch("POST", server + "api/sessions", request)
        channels = f"{server}api/kernels/{session['kernel']['id']}/channels?session_id={client}"
        socket = await browser.connect(channels)
        title = specs["kernelspecs"].get(name, {}).get("spec", {}).get("display_name", name)
        kernel = cls(title, f"{server}api/sessions/{session['id']}", browser, socket, client)
        async for message in kernel._ask("kernel_info_request", {}):
            if message["msg_type"] == "kernel_info_reply":
                break
        return kernel

    async def run(self, code: str) -> str:
        """Run a cell.

        Returns:
            What it wrote to its standard output.

        Raises:
            CheckFailed: The cell raised an error, or the kernel ended.
        """
        output: list[str] = []
        waiting_for = {"execute_reply", "idle"}
        request = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        async for message in self._ask("execute_request", request):
            kind, content = message["msg_type"], message["content"]
            if kind == "stream" and content["name"] == "stdout":
                output.append(content["text"])
            elif kind == "error":
                raise CheckFailed("The cell raised an error.", why=f"{content['ename']}: {content['evalue']}")
            # Output and reply come on two channels, in any order.
            waiting_for -= {kind, content.get("execution_state")}
            if not waiting_for:
                break
        return "".join(output)

    async def shut_down(self) -> None:
        """End the kernel and its session.

        Raises:
            CheckFailed: The server did not end it.
        """
        self.close()
        await self._browser.fetch("DELETE", self.url)

    def close(self) -> None:
        """Close the websocket; the kernel keeps running."""
        self._socket.close()

    async def _ask(self, kind: str, content: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        message_id = uuid4().hex
        message = {
            "header": {
                "msg_id": message_id,
                "msg_type": kind,
                "session": self._client,
                "username": "",
                "date": datetime.now(UTC).isoformat(),
                "version": "5.3",
            },
            "parent_header": {},
            "metadata": {},
            "content": content,
            "channel": "shell",
        }
        async for answer in _dialogue(self._socket, message, "The kernel's"):
            # These come from the server, and answer nothing.
            if answer["content"].get("execution_state") in {"restarting", "dead"}:
                raise CheckFailed("The kernel died.")
            if answer["parent_header"].get("msg_id") == message_id:
                yield answer


async def run_in_terminal(browser: Browser, server: str, command: str, expected: str) -> None:
    """Open a terminal, type a command, wait for its output, and close the terminal.

    Args:
        browser: Who asks.
        server: The address of the Jupyter server, with a slash at its end.
        command: What to type.
        expected: The output to wait for; it must not occur in the command, which a terminal echoes.

    Raises:
        CheckFailed: There are no terminals, or this one ended.
    """
    name = (await browser.fetch("POST", server + "api/terminals"))["name"]
    socket = await browser.connect(f"{server}terminals/websocket/{quote(name)}")
    try:
        screen = ""
        typed = False
        async for kind, *content in _dialogue(socket, ["set_size", _ROWS, _COLUMNS], "The terminal's"):
            if kind == "disconnect":
                raise CheckFailed("The shell of the terminal ended.", why=screen.strip())
            screen += content[0] if kind == "stdout" else ""
            if screen and not typed:
                # Something that looks like a prompt is there: shells may drop what is typed before.
                typed = True
                await socket.write_message(json.dumps(["stdin", command + "\r"]))
            if expected in screen:
                break
    finally:
        socket.close()
    await browser.fetch("DELETE", f"{server}api/terminals/{quote(name)}")


async def _dialogue(socket: WebSocketClientConnection, first: object, whose: str) -> AsyncIterator[Any]:
    try:
        await socket.write_message(json.dumps(first))
    except WebSocketClosedError as error:
        raise CheckFailed(f"{whose} websocket was closed.") from error
    while (message := await socket.read_message()) is not None:
        if isinstance(message, str):
            yield json.loads(message)
    raise CheckFailed(f"{whose} websocket was closed.", why=socket.close_reason or "")
