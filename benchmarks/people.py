"""A site with people who start servers, and the counts of what that costs."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import cast

import httpx

from benchmarks.crowd import Crowd
from benchmarks.crowd.residents import settle
from launcher.check.browser import Browser, NoAnswer
from launcher.check.visit import Visit
from launcher.sandbox.site import Site
from launcher.sandbox.state import state_directory

_PAUSE = 0.1
_AT_ONCE = 10
"""How many press Start at the same moment: as many as a busy machine can answer in time."""


class Person(ABC):
    """Somebody whom the hub knows.

    Attributes:
        name: Their name.
    """

    name: str

    @abstractmethod
    async def press_start(self) -> None:
        """Ask for a server."""

    @abstractmethod
    async def until_ready(self) -> None:
        """Wait until it is there."""

    @abstractmethod
    async def look(self) -> None:
        """See how it is doing."""


class Visitor(Person):
    """A person with a browser, who is logged in, sends the form, and keeps the pending page open.

    Args:
        visit: What they do.
        browser: What with.
        address: Theirs in the hub's API.
        turn: Lets few send the form at the same time.
    """

    def __init__(
        self, name: str, visit: Visit, browser: Browser, address: str, turn: asyncio.Semaphore
    ) -> None:
        self.name = name
        self._visit = visit
        self._browser = browser
        self._address = address
        self._turn = turn
        self._pending: asyncio.Task[None] | None = None

    async def press_start(self) -> None:
        """Send the form, and open the page that follows."""
        async with self._turn:
            await self._visit.submit_options([])
        self._pending = asyncio.create_task(self._visit.wait_for_start([]))

    async def until_ready(self) -> None:
        """Wait for the page to say so."""
        assert self._pending
        await self._pending

    async def look(self) -> None:
        """Look at the hub in two tabs; if it is too busy to answer, another time."""
        looks = (self._browser.fetch("GET", self._address) for _ in range(2))
        for found in await asyncio.gather(*looks, return_exceptions=True):
            if isinstance(found, Exception) and not isinstance(found, NoAnswer):
                raise found

    def leave(self) -> None:
        """Close the page."""
        if self._pending:
            self._pending.cancel()


class Caller(Person):
    """A program with somebody's token, which has no form and no page.

    Args:
        name: Whose.
        hub: The hub's API, asked with the token.
        crowd: Who has their jobs.
        turn: Lets few call at the same time.
    """

    def __init__(
        self, name: str, token: str, hub: httpx.AsyncClient, crowd: Crowd, turn: asyncio.Semaphore
    ) -> None:
        self.name = name
        self._headers = {"Authorization": f"token {token}"}
        self._hub = hub
        self._crowd = crowd
        self._turn = turn

    async def press_start(self) -> None:
        """Ask for the server by the hub's API."""
        async with self._turn:
            answer = await self._hub.post(f"users/{self.name}/server", json={}, headers=self._headers)
        answer.raise_for_status()

    async def until_ready(self) -> None:
        """Wait until the server has said so."""
        while self._crowd.launched(self.name) is None:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(_PAUSE)

    async def look(self) -> None:
        """Look at nothing."""


class Town:
    """A running site whose jobs are impersonated, and its people. Use `town`."""

    def __init__(self, site: Site, people: Sequence[Person], robot: Browser) -> None:
        self.people = people
        self._site = site
        self._robot = robot

    @property
    def slots(self) -> int:
        """How many jobs run at once."""
        return cast(Crowd, self._site.scheduler).slots

    @slots.setter
    def slots(self, number: int) -> None:
        cast(Crowd, self._site.scheduler).slots = number

    @property
    def requests(self) -> Counter[str]:
        """Requests to FirecREST so far, by the name in their token."""
        found: Counter[str] = Counter()
        for (user, _, _), count in self._site.gateway.traffic.by_user.items():
            found[user] += count
        return found

    @property
    def token_requests(self) -> Counter[str]:
        """Requests for tokens so far, but for log-ins, by the name in the token."""
        found: Counter[str] = Counter()
        for (grant, user), count in self._site.identity.token_requests.items():
            found[user] += count * (grant != "authorization_code")
        return found

    async def has_job(self, person: Person) -> bool:
        """Tell whether somebody's job is there."""
        return bool(await self._site.live_jobs(person.name))

    async def verdicts(self) -> int:
        """Return how often the hub has asked itself so far whether a server lives."""
        answer = await self._robot.call("GET", f"{self._site.url}hub/metrics")
        told = re.findall(r"^launcher_verdicts_total\{.*\} ([0-9.]+)$", answer.text, re.MULTILINE)
        return int(sum(map(float, told)))


@contextlib.asynccontextmanager
async def town(
    prefix: str,
    size: int,
    *,
    service_account: bool,
    token_lifetime: float,
    poll_interval: int,
    browsers: bool = True,
) -> AsyncIterator[Town]:
    """Run a site whose people are logged in.

    Args:
        prefix: What their names begin with.
        size: How many there are.
        service_account: Whether one account watches everybody's jobs, or everybody's token their own.
        token_lifetime: Seconds that an access token is good for.
        poll_interval: Seconds between two looks of the hub whether a server lives.
        browsers: Whether they have browsers, or programs that call the hub's API.
    """
    tls = ssl.create_default_context()
    async with contextlib.AsyncExitStack() as stack:
        site = Site(
            stack.enter_context(state_directory(None)),
            scheduler=Crowd.of(slots=0),
            people=[f"{prefix}{number:03}" for number in range(1, size + 1)],
            own_users=False,
            service_account=service_account,
            token_lifetime=token_lifetime,
            robot=True,
            # A thousand servers would take minutes to stop, and they end with their scheduler.
            cleanup_servers=False,
            jupyterhub={"tornado_settings": {"slow_spawn_timeout": 0}},
            # As at a site: a hub that a thousand servers keep busy takes its time to call on them.
            spawner={"poll_interval": poll_interval, "http_timeout": 600},
        )
        await site.start()
        stack.push_async_callback(site.stop)
        people: Sequence[Person]
        turn = asyncio.Semaphore(_AT_ONCE)
        if browsers:
            visits = (_visitor(site, each.name, tls, turn) for each in site.accounts)
            people = [await stack.enter_async_context(visit) for visit in visits]
        else:
            people = await stack.enter_async_context(_callers(site, turn))
        robot = Browser(tls, token=site.hub.api_token, site=site.url)
        yield Town(site, people, await stack.enter_async_context(robot))


@contextlib.asynccontextmanager
async def _visitor(
    site: Site, name: str, tls: ssl.SSLContext, turn: asyncio.Semaphore
) -> AsyncIterator[Person]:
    password = site.accounts[name].password
    async with Browser(tls) as browser:
        visit = Visit(browser, site.url, username=name, password=password, options={}, job_gone=None)
        await visit.log_in([])
        visitor = Visitor(name, visit, browser, f"{site.url}hub/api/users/{name}", turn)
        try:
            yield visitor
        finally:
            visitor.leave()


@contextlib.asynccontextmanager
async def _callers(site: Site, turn: asyncio.Semaphore) -> AsyncIterator[Sequence[Person]]:
    tokens = await settle(site)
    api = f"{site.url}hub/api/"
    # Each call on a connection of its own: the proxy hangs up on those that have been idle for some seconds.
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=api, trust_env=False, timeout=60, limits=limits) as hub:
        crowd = cast(Crowd, site.scheduler)
        yield [Caller(name, token, hub, crowd, turn) for name, token in tokens.items()]
