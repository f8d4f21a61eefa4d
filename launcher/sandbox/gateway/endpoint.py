"""From an HTTP request to an answer: faults, token, system, errors, access log."""

import logging
import re
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from launcher.sandbox.accounts import Account
from launcher.sandbox.faults import Answer, Asked
from launcher.sandbox.gateway.answers import Call, Refusal
from launcher.sandbox.gateway.faults import Faults
from launcher.sandbox.gateway.tokens import Tokens
from launcher.sandbox.gateway.traffic import Traffic
from launcher.sandbox.serving import Handling, respond

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
        traffic: Counts of what came.
        sessions: Commands that run.
        handling: Calls that are being answered.
    """

    system: str
    accounts: Mapping[str, Account]
    tokens: Tokens
    faults: Faults
    scheduler_healthy: Callable[[], bool]
    traffic: Traffic = field(default_factory=Traffic)
    sessions: Sessions = field(default_factory=Sessions)
    handling: Handling = field(default_factory=set)


class Endpoint(RequestHandler):
    """All methods of one path; without a template, of every path that is not served."""

    def initialize(self, desk: Desk, template: str = "", routes: Mapping[str, Route] | None = None) -> None:
        """Called by Tornado with what the route holds."""
        self._desk = desk
        self._template = template
        self._routes = routes or {}

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
        desk, method = self._desk, self.request.method or ""
        refusal: Refusal | None = None
        try:
            user = desk.tokens.user(self.request.headers.get("Authorization", ""))
        except Refusal as no:
            user, refusal = "", no
        call = Asked(
            method, self._template, self.request.path, user, lambda: self._handled(user, refusal, path)
        )
        counting = desk.traffic.counted(user, method, self._template)
        status = "-"
        with counting if method in self._routes else nullcontext():
            try:
                status = await respond(self, call, desk.faults, desk.handling)
            finally:
                _log_access(self.request, status, user, time.perf_counter() - began)

    post = put = delete = patch = head = options = get

    async def _handled(self, user: str, refusal: Refusal | None, path: Mapping[str, str]) -> Answer:
        route = self._routes.get(self.request.method or "")
        if route is None:
            no = Refusal(405, "Method Not Allowed") if self._routes else Refusal(404, "Not Found")
            return no.answer(None)
        if refusal:
            return refusal.answer(None)
        try:
            return await self._operated(route, user, path)
        except Refusal as no:
            return no.answer(user)
        except Exception as error:  # noqa: BLE001 - the server goes on, and the caller gets an answer
            where = "".join(traceback.format_tb(error.__traceback__))
            # Not its message: that may hold a script.
            log.error("%s in %s %s\n%s", type(error).__name__, route.method, self._template, where)
            return Refusal(500, "An error occurred during the request process").answer(user)

    async def _operated(self, route: Route, user: str, path: Mapping[str, str]) -> Answer:
        desk = self._desk
        if path.get("system", desk.system).lower() != desk.system.lower():
            raise Refusal(404, "System not found")
        if route.template.startswith("/compute/") and not desk.scheduler_healthy():
            raise Refusal(
                503, f"The scheduler service for the requested system ({desk.system}) is unhealthy."
            )
        call = Call(
            user=user,
            person=desk.accounts.get(user),
            path=path,
            query={
                name: values[-1].decode(errors="replace")
                for name, values in self.request.query_arguments.items()
            },
            body=self.request.body,
        )
        with desk.sessions.opened(user, route.sessions):
            return await route.operation(call)


def _log_access(request: HTTPServerRequest, status: str, user: str, seconds: float) -> None:
    path = request.path.encode("unicode_escape").decode()
    log.info("%s %s %s %s %.0f ms", request.method, path, status, user or "-", seconds * 1000)
