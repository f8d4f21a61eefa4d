"""What `launcher-singleuser` does towards its hub, from the claim to its last words."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass
from typing import NamedTuple

import jupyterhub

from benchmarks.crowd import port
from benchmarks.crowd.hub import Hub
from launcher.errors import HubUnreachable, LaunchRefused
from launcher.protocol import (
    ALIVE_INTERVAL,
    Claim,
    Event,
    EventKind,
    new_nonce,
    parse_claim_answer,
    parse_refusal,
)
from launcher.singleuser.reporter import UNWANTED_FOR

NODE = "nid001"

_ASK_AGAIN = 60.0
"""Seconds to the next `alive` while the hub has not heard the last one, or does not want this job."""
_FLUSH = 10.0
_LONGEST_PAUSE = 15.0


@dataclass(frozen=True)
class Pace:
    """How long things take on a node, in seconds.

    Attributes:
        queue: For which a job waits at least.
        start: From `starting` to `ready`: what JupyterLab takes.
        activity: Between two of JupyterHub's own reports of activity; 0 for none.
    """

    queue: float = 0.0
    start: float = 0.0
    activity: float = 0.0


class Launched(NamedTuple):
    """What a job has of its hub's answer to the claim.

    Attributes:
        launch_id: The launch.
        launch_key: Its key.
        prefix: Its server's base URL.
        token: Its server's API token.
        user: Whose it is.
    """

    launch_id: str
    launch_key: str
    prefix: str
    token: str
    user: str


class Session:
    """One server, and what it says.

    Args:
        hub: Its hub.
        pace: How long things take.

    Attributes:
        port: Where it listens; 0 while it does not.
        launched: What it is, once it is claimed.
        ready: Whether the hub has heard that it is ready.
    """

    def __init__(self, hub: Hub, pace: Pace) -> None:
        self.port = 0
        self.launched: Launched | None = None
        self.ready = False
        self._hub = hub
        self._pace = pace
        self._reason = ""
        self._ended = asyncio.Event()
        self._sequence = 0
        self._heard = True
        self._unwanted_since: float | None = None
        self._server: asyncio.Server | None = None
        self._reporting: asyncio.Task[None] | None = None

    def end(self, reason: str) -> None:
        """Have it end, for the first reason that is given."""
        self._reason = self._reason or reason
        self._ended.set()

    async def run(self, ticket: str, job_id: str, patience: float) -> int:
        """Claim, become ready, say now and then that it lives, end; return the exit code.

        Args:
            ticket: The job's ticket.
            job_id: The job's id.
            patience: Seconds to go on asking a hub that does not answer.
        """
        try:
            self.launched = await self._claimed(ticket, job_id, patience)
        except (LaunchRefused, HubUnreachable) as error:
            return error.exit_code
        await self.listen()
        await self._say(EventKind.STARTING)
        if not await self._waited(self._pace.start):
            await self._say(EventKind.READY)
        return await self.go_on()

    async def listen(self) -> None:
        """Listen on a free port."""
        assert self.launched
        answerer = port.Proving(self.launched.prefix, self.launched.launch_key, lambda: self.end("stopped"))
        self._server = await port.listen(answerer)
        self.port = port.port_of(self._server)

    def report(self, interval: float, *, at_once: bool) -> None:
        """Begin to report activity, as JupyterHub's extension of a server does: at first, and now and then.

        Args:
            interval: Seconds between two reports.
            at_once: Whether the first comes at once, or some time within the interval.
        """
        self._reporting = asyncio.create_task(self._reports(interval, at_once=at_once))

    def close(self) -> None:
        """Listen no longer, and report nothing more."""
        if self._server:
            self._server.close()
        if self._reporting:
            self._reporting.cancel()

    async def go_on(self, first: float | None = None) -> int:
        """Say now and then that it lives until it ends, and then why; return the exit code.

        Args:
            first: Seconds to the first of that.
        """
        if self._pace.activity and self.ready:
            self.report(self._pace.activity, at_once=True)
        while not await self._waited(self._pause() if first is None else first):
            first = None
            await self._say(EventKind.ALIVE)
        await self._say(EventKind.STOPPING)
        return 0 if self.ready else 143

    async def _waited(self, seconds: float) -> bool:
        """Wait; tell whether it should end."""
        if seconds:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._ended.wait()
        return self._ended.is_set()

    def _pause(self) -> float:
        return (ALIVE_INTERVAL if self._heard else _ASK_AGAIN) * _jitter(0.2)

    async def _claimed(self, ticket: str, job_id: str, patience: float) -> Launched:
        claim = Claim(ticket, new_nonce(), job_id, NODE, jupyterhub.__version__, [NODE, port.ADDRESS])
        silent, pause = time.monotonic(), 0.5
        while not self._ended.is_set():
            try:
                status, body = await self._hub.claim(claim)
            except OSError:
                status, body = 0, b""
            else:
                silent = time.monotonic()
            if status == 200:
                answer = parse_claim_answer(body)
                variables = answer.environment
                return Launched(
                    answer.launch_id,
                    answer.launch_key,
                    variables.get("JUPYTERHUB_SERVICE_PREFIX", "/"),
                    variables.get("JUPYTERHUB_API_TOKEN", ""),
                    variables.get("JUPYTERHUB_USER", ""),
                )
            if status in (400, 409, 413) or (status == 410 and parse_refusal(body) is not None):
                raise LaunchRefused("The hub does not want this job.", why=f"HTTP {status}")
            if time.monotonic() + pause > silent + patience:
                break
            await asyncio.sleep(pause * _jitter(0.3))
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise HubUnreachable("The hub could not be reached.")

    async def _say(self, kind: EventKind) -> None:
        """Send an event; all but `alive`, which comes again, are tried until the hub has them."""
        assert self.launched
        self._sequence += 1
        event = Event(self.launched.launch_id, kind, self._sequence)
        if kind is EventKind.READY or (kind is EventKind.ALIVE and self.ready):
            event = event._replace(address=port.ADDRESS, port=self.port)
        elif kind is EventKind.STOPPING:
            event = event._replace(reason=self._reason, exit_code=0)
        pause, until = 0.5, time.monotonic() + _FLUSH
        while True:
            try:
                status, body = await self._hub.event(event, self.launched.launch_key)
            except OSError:
                status, body = 0, b""
            self._hears(status, body)
            self.ready = self.ready or (kind is EventKind.READY and status == 200)
            over = kind is not EventKind.READY and self._ended.is_set() and time.monotonic() > until
            if kind is EventKind.ALIVE or over or status in (200, 400, 403, 410, 413, 422):
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _hears(self, status: int, body: bytes) -> None:
        """Take the hub's word that it is not wanted: at once before it is ready, else if it lasts."""
        self._heard = status == 200
        if status in (200, 503):
            self._unwanted_since = None
        if status == 410 and parse_refusal(body) is not None:
            now = time.monotonic()
            self._unwanted_since = self._unwanted_since or now
            if not self.ready or now - self._unwanted_since >= UNWANTED_FOR:
                self.end("not-wanted")

    async def _reports(self, interval: float, *, at_once: bool) -> None:
        assert self.launched
        if not at_once:
            await asyncio.sleep(random.uniform(0, interval))  # noqa: S311 - spreads load
        while True:
            with contextlib.suppress(OSError):
                await self._hub.activity(self.launched.user, self.launched.token)
            await asyncio.sleep(interval * _jitter(0.1))


def _jitter(part: float) -> float:
    return random.uniform(1 - part, 1 + part)  # noqa: S311 - spreads load
