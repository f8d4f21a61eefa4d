"""From a call to what goes over the wire, faults included."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler

from launcher.sandbox.faults import Answer, Asked, Dropped, Faults

Handling = set[asyncio.Task[Answer]]
"""Calls that are being answered."""


async def respond(handler: RequestHandler, call: Asked, faults: Faults, handling: Handling) -> str:
    """Answer a call, or hang up.

    Args:
        handler: Takes the answer.
        call: The call.
        faults: What tests put in.
        handling: Holds the call's task while it runs; one that is cancelled hangs up.

    Returns:
        The answer's status, or "-" if there was none.
    """
    task = asyncio.create_task(faults.around(call))
    handling.add(task)
    task.add_done_callback(handling.discard)
    try:
        answer = await task
        await _send(handler, answer)
    except (Dropped, StreamClosedError):
        _hang_up(handler)
    except asyncio.CancelledError:
        _hang_up(handler)
        if not task.cancelled():
            raise
    else:
        return str(answer.status)
    return "-"


async def hang_up(handling: Handling) -> None:
    """Give no answer to the calls that wait for one."""
    tasks = list(handling)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def log_to(path: Path) -> Callable[[], Awaitable[object]]:
    """Log what this process serves to a file; return what ends that."""
    logger = logging.getLogger("launcher.sandbox")
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    async def end() -> None:
        logger.removeHandler(handler)
        handler.close()

    return end


async def _send(handler: RequestHandler, answer: Answer) -> None:
    body = b"" if answer.body is None else _encoded(answer.body)
    handler.set_status(answer.status)
    if answer.body is not None:
        kind = "text/html; charset=utf-8" if isinstance(answer.body, str) else "application/json"
        handler.set_header("Content-Type", kind)
    if answer.cut is None:
        await handler.finish(body or None)
        return
    phrase = HTTPStatus(answer.status).phrase
    head = f"HTTP/1.1 {answer.status} {phrase}\r\nContent-Length: {len(body)}\r\n"
    stream = handler.detach()
    await stream.write(f"{head}\r\n".encode() + body[: int(len(body) * answer.cut)])
    stream.close()


def _hang_up(handler: RequestHandler) -> None:
    if not handler._finished:  # noqa: SLF001 - Tornado's handlers have no other word for it
        handler.detach().close()


def _encoded(body: Mapping[str, Any] | str) -> bytes:
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()
