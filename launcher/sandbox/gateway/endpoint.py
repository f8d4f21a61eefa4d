"""From an HTTP request to an answer: faults, token, system, errors, access log."""

import asyncio
import json
import logging
import re
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler

from launcher.sandbox.accounts import Account
from launcher.sandbox.gateway.answers import Answer, Call, Dropped, Refusal
from launcher.sandbox.gateway.faults import Faults
from launcher.sandbox.gateway.tokens import Tokens

log = logging.getLogger("launcher.sandbox.gateway")

Operation = Callable[[Call], Awaitable[Answer]]

_TRACE_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


@dataclass(frozen=True)
class Route:
    """What serves a method of a path.

    Attributes:
        method: HTTP method.
        template: The path, variable parts in braces.
        operation: Gives the answer.
        sessions: How many commands the real server runs at once for it.
    """

    method: str
    template: str
    operation: Operation
    sessions: int = 1


class Sessions:
    """The commands that run at once for one identity: sshd's `MaxSessions`.

    Args:
        limit: How many may.
    """

    def __init__(self, limit: int = 10) -> None:
        self._limit = limit
        self._open: Counter[str] = Counter()

    @contextmanager
    def opened(self, user: str, count: int) -> Iterator[None]:
        """Hold `count` sessions of a user.

        Raises:
            Refusal: That would be too many.
        """
        if self._open[user] + count > self._limit:
            raise Refusal(500, "Unable to open a new SSH channel.")
        self._open[user] += count
        try:
            yield
        finally:
            self._open[user] -= count


@dataclass
class Desk:
    """What all endpoints share.

    Attributes:
        system: The system's name.
        accounts: Log-in name → account.
        tokens: Says whose a token is.
        faults: What tests put in.
        scheduler_healthy: Whether the scheduler answered when it was last looked at.
        requests: (method, template) → count.
        sessions: Commands that run.
        handling: Calls that are being answered.
    """

    system: str
    accounts: Mapping[str, Account]
    tokens: Tokens
    faults: Faults
    scheduler_healthy: Callable[[], bool]
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    sessions: Sessions = field(default_factory=Sessions)
    handling: set[asyncio.Task[Answer]] = field(default_factory=set)


class Endpoint(RequestHandler):
    """All methods of one path; without a template, of every path that is not served."""

    def initialize(self, desk: Desk, template: str = "", routes: Mapping[str, Route] | None = None) -> None:
        """Called by Tornado with what the route holds."""
        self._desk = desk
        self._template = template
        self._routes = routes or {}
        self._user: str | None = None

    def set_default_headers(self) -> None:
        """Trace ids come back as they were sent; the version is what development servers say."""
        self.clear_header("Server")
        self.set_header("f7t-appversion", "2.x.x")
        for name in ("X-Request-ID", "X-Correlation-ID"):
            given = self.request.headers.get(name, "")
            self.set_header(name, given if _TRACE_ID.fullmatch(given) else str(uuid.uuid4()))

    async def get(self, **path: str) -> None:
        """Answer any method."""
        began = time.perf_counter()
        task = asyncio.create_task(self._faulty(path))
        self._desk.handling.add(task)
        task.add_done_callback(self._desk.handling.discard)
        status = "-"
        try:
            answer = await task
            status = str(answer.status)
            await self._send(answer)
        except (Dropped, StreamClosedError):
            self._hang_up()
        except asyncio.CancelledError:
            self._hang_up()
            if not task.cancelled():
                raise
        finally:
            _log_access(self.request, status, self._user, time.perf_counter() - began)

    post = put = delete = patch = head = options = get

    async def _faulty(self, path: Mapping[str, str]) -> Answer:
        method = self.request.method or ""
        if method in self._routes:
            self._desk.requests[method, self._template] += 1
        fault = self._desk.faults.find(method, self._template, self.request.path)
        if fault:
            return await fault.act(lambda: self._handled(method, path))
        return await self._handled(method, path)

    async def _handled(self, method: str, path: Mapping[str, str]) -> Answer:
        try:
            return await self._operated(method, path)
        except Refusal as refusal:
            return refusal.answer(self._user)
        except Exception as error:  # noqa: BLE001 - the server goes on, and the caller gets an answer
            where = "".join(traceback.format_tb(error.__traceback__))
            # Not its message: that may hold a script.
            log.error("%s in %s %s\n%s", type(error).__name__, method, self._template, where)
            return Refusal(500, "An error occurred during the request process").answer(self._user)

    async def _operated(self, method: str, path: Mapping[str, str]) -> Answer:
        desk, route = self._desk, self._routes.get(method)
        if route is None:
            raise Refusal(405, "Method Not Allowed") if self._routes else Refusal(404, "Not Found")
        self._user = desk.tokens.user(self.request.headers.get("Authorization", ""))
        if path.get("system", desk.system).lower() != desk.system.lower():
            raise Refusal(404, "System not found")
        if route.template.startswith("/compute/") and not desk.scheduler_healthy():
            raise Refusal(
                503, f"The scheduler service for the requested system ({desk.system}) is unhealthy."
            )
        call = Call(
            user=self._user,
            person=desk.accounts.get(self._user),
            path=path,
            query={
                name: values[-1].decode(errors="replace")
                for name, values in self.request.query_arguments.items()
            },
            body=self.request.body,
        )
        with desk.sessions.opened(self._user, route.sessions):
            return await route.operation(call)

    async def _send(self, answer: Answer) -> None:
        body = b"" if answer.body is None else _encoded(answer.body)
        self.set_status(answer.status)
        if answer.body is not None:
            kind = "text/html; charset=utf-8" if isinstance(answer.body, str) else "application/json"
            self.set_header("Content-Type", kind)
        if answer.cut is None:
            await self.finish(body or None)
            return
        phrase = HTTPStatus(answer.status).phrase
        head = f"HTTP/1.1 {answer.status} {phrase}\r\nContent-Length: {len(body)}\r\n"
        stream = self.detach()
        await stream.write(f"{head}\r\n".encode() + body[: int(len(body) * answer.cut)])
        stream.close()

    def _hang_up(self) -> None:
        if not self._finished:
            self.detach().close()


def _encoded(body: Mapping[str, Any] | str) -> bytes:
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def _log_access(request: HTTPServerRequest, status: str, user: str | None, seconds: float) -> None:
    path = request.path.encode("unicode_escape").decode()
    log.info("%s %s %s %s %.0f ms", request.method, path, status, user or "-", seconds * 1000)
