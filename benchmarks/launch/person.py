"""Somebody at a hub who presses Start, and waits for what their browser shows then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from launcher.check.browser import Browser
from launcher.check.forms import Form
from launcher.check.visit import Visit
from launcher.errors import CheckFailed

_NAVIGATE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html"}
_REDIRECTS = 5
_PAUSE = 0.1
_PATIENCE = 300.0


class Waited(NamedTuple):
    """When a person saw what, in seconds since the epoch.

    Attributes:
        start: They pressed Start.
        told: The page said that the server is ready.
        redirected: The server answered the browser.
    """

    start: float
    told: float
    redirected: float


class Person(Browser):
    """One person's browser.

    Args:
        hub_url: The hub's public address.
        name: Their name.
        password: Their password.
        form: Whether the hub has an options form; without one, Start is a link.
    """

    def __init__(self, hub_url: str, name: str, password: str, *, form: bool) -> None:
        super().__init__()
        self._hub = f"{hub_url}hub/"
        self.name = name
        self._password = password
        self._has_form = form
        self._form: Form | None = None
        self._start = f"{self._hub}spawn/{name}"
        self._account = f"{self._hub}api/users/{name}"

    async def log_in(self) -> None:
        """Log in."""
        visit = Visit(
            self,
            self._hub,
            username=self.name,
            password=self._password,
            options={},
            job_gone=None,
        )
        await visit.log_in([])

    async def open_form(self) -> None:
        """Have the form on the screen, if there is one.

        Raises:
            CheckFailed: If it is not there.
        """
        if self._has_form:
            page = await self.open(self._start)
            place = urlsplit(self._start).path
            self._form = next((each for each in page.forms if urlsplit(each.action).path == place), None)
            if self._form is None:
                raise CheckFailed("There is no form.", why=page.describe())

    async def start(self, options: Mapping[str, str] | None) -> Waited:
        """Press Start, with the form on the screen, and wait for the redirect.

        Args:
            options: What is chosen in the form.

        Raises:
            CheckFailed: If there is no server then.
            TimeoutError: If there still is none after some minutes.
        """
        async with asyncio.timeout(_PATIENCE):
            return await self._started(options or {})

    async def _started(self, options: Mapping[str, str]) -> Waited:
        start = time.time()
        page = await (self.submit(self._form, options) if self._form else self.open(self._start))
        if page.status >= 400:
            raise CheckFailed("There is no start.", why=page.describe())
        if self._is_served(page.url):  # within the second that the hub keeps the page for
            told = time.time()
            return Waited(start, told, told)
        await self._told()
        told = time.time()
        await self._redirected(page.url)
        return Waited(start, told, time.time())

    async def _told(self) -> None:
        """Wait until the page that waits is told that the server is ready."""
        async with self.events(f"{self._account}/server/progress") as events:
            if events is None:
                raise CheckFailed("There is no progress to be followed.")
            async for event in events:
                if event.get("failed"):
                    raise CheckFailed("The start failed.", why=str(event.get("message")))
                if event.get("ready"):
                    return
        raise CheckFailed("The progress ended before the server was ready.")

    async def _redirected(self, page: str) -> None:
        """Load the page again that has waited, and follow it to the server's first answer."""
        for _ in range(_REDIRECTS):
            answer = await self._client.get(page, headers=_NAVIGATE, follow_redirects=False)
            if self._is_served(page) and answer.status_code < 400:
                return
            if not answer.has_redirect_location:
                break
            page = urljoin(page, answer.headers["Location"])
        raise CheckFailed("The page does not lead to the server.", why=f"{urlsplit(page).path} was the last.")

    def _is_served(self, url: str) -> bool:
        """Tell whether an address is the server's; the proxy leads it to the hub where there is none."""
        return urlsplit(url).path.startswith(f"/user/{self.name}/")

    async def stop(self) -> None:
        """Press Stop, and wait until the hub has no server any more.

        Raises:
            TimeoutError: If it still has it after some minutes.
        """
        async with asyncio.timeout(_PATIENCE):
            while (await self.fetch("GET", self._account))["servers"]:
                await self.call("DELETE", f"{self._account}/server")
                await asyncio.sleep(_PAUSE)
