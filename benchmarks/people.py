"""A site with people who start servers, and the counts of what that costs."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import cast

from launcher.check.browser import Browser
from launcher.check.visit import Visit
from launcher.sandbox.scheduler.process import ProcessScheduler
from launcher.sandbox.site import Site
from launcher.sandbox.state import state_directory


@dataclass
class Person:
    """Somebody who is logged in.

    Attributes:
        name: Their name.
        visit: What they do.
        browser: What with.
    """

    name: str
    visit: Visit
    browser: Browser


class Town:
    """A running site, small programs in JupyterLab's place, and its people. Use `town`."""

    def __init__(self, site: Site, people: Sequence[Person], robot: Browser) -> None:
        self.people = people
        self._site = site
        self._robot = robot

    @property
    def slots(self) -> int:
        """How many jobs run at once."""
        return cast(ProcessScheduler, self._site.scheduler).slots

    @slots.setter
    def slots(self, number: int) -> None:
        cast(ProcessScheduler, self._site.scheduler).slots = number

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

    async def look(self, person: Person) -> None:
        """Look at the hub in two tabs."""
        address = f"{self._site.url}hub/api/users/{person.name}"
        await asyncio.gather(*(person.browser.fetch("GET", address) for _ in range(2)))


@contextlib.asynccontextmanager
async def town(
    prefix: str, size: int, *, service_account: bool, token_lifetime: float, poll_interval: int
) -> AsyncIterator[Town]:
    """Run a site and log people in.

    Args:
        prefix: What their names begin with.
        size: How many there are.
        service_account: Whether one account watches everybody's jobs, or everybody's token their own.
        token_lifetime: Seconds that an access token is good for.
        poll_interval: Seconds between two looks of the hub whether a server lives.
    """
    tls = ssl.create_default_context()
    async with contextlib.AsyncExitStack() as stack:
        site = Site(
            stack.enter_context(state_directory(None)),
            scheduler="process",
            people=[f"{prefix}{number:02}" for number in range(1, size + 1)],
            stand_in=True,
            service_account=service_account,
            token_lifetime=token_lifetime,
            robot=True,
            spawner={"poll_interval": poll_interval},
        )
        await site.start()
        stack.push_async_callback(site.stop)
        people = []
        for account in site.accounts:
            browser = await stack.enter_async_context(Browser(tls))
            visit = Visit(
                browser,
                site.url,
                username=account.name,
                password=account.password,
                options={},
                job_gone=None,
            )
            await visit.log_in([])
            people.append(Person(account.name, visit, browser))
        robot = Browser(tls, token=site.hub.api_token, site=site.url)
        yield Town(site, people, await stack.enter_async_context(robot))
