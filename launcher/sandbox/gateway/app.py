"""The gateway's server."""

import asyncio
import re
import socket
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.routing import URLSpec
from tornado.web import Application

from launcher.errors import SandboxError
from launcher.sandbox.accounts import Account
from launcher.sandbox.gateway.endpoint import Desk, Endpoint, Route
from launcher.sandbox.gateway.faults import Faults
from launcher.sandbox.gateway.filesystem import Files
from launcher.sandbox.gateway.jobs import Jobs
from launcher.sandbox.gateway.status import Status
from launcher.sandbox.gateway.tokens import Tokens
from launcher.sandbox.gateway.traffic import Traffic
from launcher.sandbox.scheduler import Scheduler
from launcher.sandbox.serving import hang_up

MAX_BODY = 5 * 1024 * 1024
"""Bytes: the connection of a longer request is closed."""


class Gateway:
    """FirecREST v2 for one system.

    Args:
        scheduler: Runs the jobs; started and stopped by somebody else.
        accounts: The people; taken down once.
        jwks: Gives the identity provider's JSON Web Key Set.
        issuer: The provider's issuer.
        system: The system's name.
        file_systems: Directories that hold the system's files.
        operators: `preferred_username`s of service accounts that may cancel anybody's job.
        projects: Slurm accounts that everybody has where the scheduler keeps none, the default first.
        command_timeout: Seconds that the scheduler has for an answer.
        health_interval: Seconds between two looks at the system's health.

    Attributes:
        url: Where it listens, once it was started.
        traffic: Counts of what came: of what, by whom, at once.
        private_jobs: Whether people see nobody's jobs but their own, as with Slurm's `PrivateData=jobs`.
        faults: What tests put into its answers.
    """

    def __init__(
        self,
        *,
        scheduler: Scheduler,
        accounts: Iterable[Account],
        jwks: Callable[[], Mapping[str, Any]],
        issuer: str,
        system: str = "sandbox",
        file_systems: Sequence[Path],
        operators: Collection[str] = (),
        projects: Sequence[str] = ("sandbox",),
        command_timeout: float = 5,
        health_interval: float = 10,
    ) -> None:
        people = {account.name: account for account in accounts}
        self.url = ""
        self.faults = Faults()
        self._port = 0
        self._status = Status(system, scheduler, file_systems, projects, health_interval)
        self._desk = Desk(
            system,
            people,
            Tokens(jwks, issuer),
            self.faults,
            scheduler_healthy=lambda: self._status.healthy,
        )
        self._jobs = Jobs(scheduler, people, operators, command_timeout)
        self._routes = _routes(self._status, self._jobs, Files(system, file_systems))
        self._server: HTTPServer | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def traffic(self) -> Traffic:
        """Counts of what came."""
        return self._desk.traffic

    @property
    def requests(self) -> Counter[tuple[str, str]]:
        """(method, path template) → how many came."""
        return self.traffic.requests

    @property
    def private_jobs(self) -> bool:
        """Whether people see nobody's jobs but their own."""
        return self._jobs.private

    @private_jobs.setter
    def private_jobs(self, private: bool) -> None:
        self._jobs.private = private

    async def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1.

        Args:
            port: 0 takes a free one, and the same again after a stop.

        Raises:
            SandboxError: The port is taken.
        """
        try:
            listening = socket.create_server(("127.0.0.1", port or self._port), backlog=128)
        except OSError as error:
            raise SandboxError(
                f"The gateway can't listen on port {port or self._port} of 127.0.0.1.", why=str(error)
            ) from error
        listening.setblocking(False)  # noqa: FBT003 - its only argument
        self._port = listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._server = HTTPServer(self._application(), max_body_size=MAX_BODY)
        self._server.add_socket(listening)
        self._watch = asyncio.create_task(self._status.watch())

    async def stop(self) -> None:
        """Close every connection; calls that are being answered get no answer."""
        if self._server is None or self._watch is None:
            return
        self._server.stop()
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        await hang_up(self._desk.handling)
        await self._server.close_all_connections()
        self._server = self._watch = None

    def _application(self) -> Application:
        by_template: dict[str, dict[str, Route]] = {}
        for route in self._routes:
            by_template.setdefault(route.template, {})[route.method] = route
        return Application(
            [
                URLSpec(
                    _pattern(template), Endpoint, {"desk": self._desk, "template": template, "routes": routes}
                )
                for template, routes in by_template.items()
            ],
            default_handler_class=Endpoint,
            default_handler_args={"desk": self._desk},
            log_function=lambda _: None,
        )


def _pattern(template: str) -> str:
    # The real server's paths are case-insensitive.
    return "(?i)" + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template)


def _routes(status: Status, jobs: Jobs, files: Files) -> list[Route]:
    compute, look = "/compute/{system}/jobs", "/filesystem/{system}/ops"
    return [
        Route("GET", "/status/systems", status.systems, sessions=0),
        Route("GET", "/status/{system}/userinfo", status.userinfo, sessions=2),
        Route("GET", "/status/{system}/nodes", status.nodes),
        Route("GET", "/status/{system}/partitions", status.partitions),
        Route("GET", "/status/{system}/reservations", status.reservations),
        Route("POST", compute, jobs.submit),
        Route("GET", compute, jobs.list, sessions=2),
        Route("GET", f"{compute}/{{job}}", jobs.info, sessions=2),
        Route("GET", f"{compute}/{{job}}/metadata", jobs.metadata, sessions=2),
        Route("DELETE", f"{compute}/{{job}}", jobs.cancel),
        Route("GET", f"{look}/head", files.head),
        Route("GET", f"{look}/tail", files.tail),
        Route("GET", f"{look}/view", files.view),
        Route("GET", f"{look}/ls", files.ls),
        Route("GET", f"{look}/stat", files.stat),
    ]
