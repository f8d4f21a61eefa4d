"""Somebody with a browser, who presses again and logs in again where that is due."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time

import httpx

from benchmarks.soak.journal import Journal
from benchmarks.soak.scene import Scene
from launcher.check.browser import Browser, NoAnswer
from launcher.check.visit import Visit
from launcher.errors import CheckFailed
from launcher.sandbox.accounts import Account

PATIENCE = 120.0
"""Seconds for which somebody presses Stop, or logs in, again and again."""

_AWAY = frozenset({502, 503, 504})
"""What is answered while there is no hub."""
_HUBS_OWN = "X-JupyterHub-Version"
"""A header of all that the hub answers itself: a proxy that was just restarted says 404."""


class Person:
    """Somebody of a site.

    Args:
        scene: The site.
        account: Whose jobs theirs are.
        tls: For their browsers.
        journal: Hears what they do.

    Attributes:
        at_once: They do one thing at a time.
    """

    def __init__(self, scene: Scene, account: Account, tls: ssl.SSLContext, journal: Journal) -> None:
        self.account = account
        self.at_once = asyncio.Lock()
        self.visit: Visit
        self.browser: Browser
        self._scene = scene
        self._tls = tls
        self._journal = journal
        self._browsers = contextlib.AsyncExitStack()

    @property
    def name(self) -> str:
        """Their name."""
        return self.account.name

    async def log_in(self) -> None:
        """Log in with a new browser.

        Raises:
            CheckFailed: It does not work for long.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            browser = await self._browsers.enter_async_context(Browser(self._tls))
            visit = Visit(
                browser,
                self._scene.site.url,
                username=self.name,
                password=self.account.password,
                options={},
                job_gone=None,
            )
            try:
                await visit.log_in([])
            except CheckFailed:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(1)
            else:
                self.browser, self.visit = browser, visit
                self._journal.counts["log-ins"] += 1
                return

    async def leave(self) -> None:
        """Close all browsers."""
        await self._browsers.aclose()

    async def call(self, method: str, url: str, body: object = None) -> httpx.Response | None:
        """Call the hub's API as its pages do, logged in; None stands for no answer."""
        for again in (False, True):
            try:
                answer = await self.browser.call(method, url, body)
            except NoAnswer:
                return None
            if answer.status_code in (401, 403) and not again:
                await self.log_in()
                continue
            break
        return answer if _HUBS_OWN in answer.headers and answer.status_code not in _AWAY else None
