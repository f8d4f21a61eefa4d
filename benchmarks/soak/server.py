"""A server of somebody's: what they wish of it, and what they do with it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from enum import Enum
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from benchmarks.soak.journal import Journal
from benchmarks.soak.person import PATIENCE, Person
from benchmarks.soak.scene import Key, Scene
from launcher.check.browser import NoAnswer, describe
from launcher.errors import CheckFailed

_PAUSE = 0.3
_AS_IT_WAS = "is already running", "is pending"
"""What a start is answered that changes nothing."""
_SHORT = 160


class Wish(Enum):
    """What somebody wishes of a server."""

    NONE = "none"
    RUNNING = "running"
    EITHER = "either: it is not clear whether it was started, or is over"


class Server:
    """A server of somebody.

    Args:
        scene: The site.
        owner: Whose it is.
        name: Its name; empty for the default one.
        journal: Hears what happens to it.

    Attributes:
        wish: What its owner wishes of it.
        silent: Whether its job was ended in such a way that nothing could tell the hub.
    """

    def __init__(self, scene: Scene, owner: Person, name: str, journal: Journal) -> None:
        self.wish = Wish.NONE
        self.silent = False
        self.owner = owner
        self.key: Key = (owner.name, name)
        self._scene = scene
        self._journal = journal
        self._follower: asyncio.Task[None] | None = None

    @property
    def label(self) -> str:
        """Its name in the journal."""
        return ":".join(filter(None, self.key))

    def note(self, text: str, *, counted: str = "") -> None:
        """Note what happens."""
        self._journal.note(self.label, text)
        if counted:
            self._journal.counts[counted] += 1

    # ---- Start

    async def start(self, options: Mapping[str, object], *, tabs: int = 1) -> None:
        """Press Start; return once the hub is at it, or has answered."""
        self.note(f"Start {dict(options) or ''}" + (" in two tabs" if tabs > 1 else ""), counted="starts")
        self._unfollow()
        body = {"user_options": dict(options)}
        url = self._scene.api(self.key)
        tasks = [asyncio.create_task(self.owner.call("POST", url, body)) for _ in range(tabs)]
        begun = False
        while not begun and not all(task.done() for task in tasks):
            await asyncio.wait(tasks, timeout=_PAUSE)
            # What is saved survives the hub.
            begun = self._scene.records().get(self.key, {}).get("phase") in ("submitting", "submitted")
        if begun:
            self.wish = Wish.RUNNING
            self._follow(tasks)
        else:
            self._answered([task.result() for task in tasks])

    async def start_by_form(self) -> None:
        """Press Start on the form."""
        self.note("Start by the form", counted="starts")
        self._unfollow()
        seen: list[str] = []
        try:
            await self.owner.visit.submit_options(seen)
        except (NoAnswer, httpx.HTTPError):
            self.wish = Wish.EITHER
            self.note("no answer")
        except CheckFailed as error:
            # It may just be running, or tell at once why it can't.
            self.wish = Wish.EITHER
            self.note(f"answer: {error} {error.why or ''}"[:_SHORT])
        else:
            self.wish = Wish.RUNNING
            self._follow([])

    def _answered(self, answers: list[httpx.Response | None]) -> None:
        """Take the answers to a start."""
        best = min((each for each in answers if each), key=lambda each: each.status_code, default=None)
        if best is None:
            self.wish = Wish.EITHER
            self.note("no answer")
        elif best.is_success:
            self.wish = Wish.RUNNING
            self._follow([])
        elif any(words in describe(best) for words in _AS_IT_WAS):
            self.note(f"answer: {describe(best)}"[:_SHORT])
        else:
            self._failed(describe(best))

    def _failed(self, why: str) -> None:
        self.wish = Wish.NONE
        self.note(f"start failed: {' '.join(why.split())}"[:_SHORT], counted="starts that failed, in words")

    # ---- the pending page

    def _follow(self, asked: list[asyncio.Task[httpx.Response | None]]) -> None:
        self._follower = asyncio.create_task(self._followed(asked))

    def _unfollow(self) -> None:
        if self._follower:
            self._follower.cancel()

    async def _followed(self, asked: list[asyncio.Task[httpx.Response | None]]) -> None:
        """Look at the pending page until it tells of an end, and take it up again when it breaks off."""
        url = f"{self._scene.api(self.key)}/progress"
        try:
            while True:
                with contextlib.suppress(NoAnswer):
                    async with self.owner.browser.events(url) as events:
                        if events is not None:
                            async for event in events:
                                if event.get("failed"):
                                    self._failed(str(event.get("message")))
                                    return
                                if event.get("ready"):
                                    self.note("ready", counted="servers ready")
                                    return
                await asyncio.sleep(2 * _PAUSE)
                await self.owner.call("GET", self._scene.api(self.key))  # logs in again where that is due
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def leave(self) -> None:
        """Look at the pending page no more."""
        self._unfollow()
        if self._follower:
            await asyncio.gather(self._follower, return_exceptions=True)

    # ---- Stop

    async def stop(self, *, remove: bool = False) -> None:
        """Press Stop until the hub is at it."""
        self.note("Stop" + (", and remove it" if remove else ""), counted="stops")
        self._unfollow()
        self.wish, self.silent = Wish.EITHER, False
        deadline = time.monotonic() + PATIENCE
        body = {"remove": True} if remove else None
        while time.monotonic() < deadline:
            if await self._accepted(body):
                self.wish = Wish.NONE
                if await self._stays_so():
                    return
            await asyncio.sleep(2 * _PAUSE)
        self.note("Stop was given up", counted="stops given up")

    async def _stays_so(self) -> bool:
        """Tell whether the server is not shown; wait while the hub is about to take its start up again."""
        while True:
            shown = await self._shown()
            if shown is not None or not await self._awaited():
                return shown is None or shown.get("pending") == "stop"
            await asyncio.sleep(_PAUSE)

    async def _awaited(self) -> bool:
        """Tell whether a hub that was restarted is about to take up a start of it, or can't be asked."""
        answer = await self.owner.call("GET", f"{self._scene.site.url}hub/api/launcher/launches")
        if answer is None or not answer.is_success:
            return True
        launches = answer.json()["launches"]
        return any(each["awaited"] for each in launches if (each["user"], each["server"]) == self.key)

    async def _accepted(self, body: object) -> bool:
        """Press Stop; tell whether the hub takes it."""
        answer = await self.owner.call("DELETE", self._scene.api(self.key), body)
        if answer is None:
            return False
        if answer.is_success or answer.status_code == 404:
            return True
        self.note(f"answer: {describe(answer)}"[:_SHORT])
        return answer.status_code == 400 and await self._shown() is None

    async def _shown(self) -> dict[str, Any] | None:
        """Return the server as the hub shows it, or None; an empty one if the hub can't be asked."""
        with contextlib.suppress(CheckFailed):
            return (await self._scene.models()).get(self.key)
        return {}

    # ---- in between

    async def log_in(self) -> None:
        """Log in to the server as JupyterLab's first page does: by a code of the hub's for a token."""
        user, name = self.key
        record = self._scene.records().get(self.key)
        if not record or record["phase"] != "ready":
            self.note("not there to be opened")
            return
        hub = f"{self._scene.site.url}hub/api/oauth2"
        callback = f"{urlsplit(self._scene.path(self.key)).path}oauth_callback"
        client = f"jupyterhub-user-{user}{f'-{name}' if name else ''}"
        asked = {"client_id": client, "redirect_uri": callback, "response_type": "code", "state": "s"}
        try:
            page = await self.owner.browser.open(f"{hub}/authorize?{urlencode(asked)}")
            code = parse_qs(urlsplit(page.url).query).get("code", [""])[0]
            given = {
                "client_id": client,
                "client_secret": self._scene.token(record),
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": callback,
            }
            async with httpx.AsyncClient(trust_env=False) as server:
                answer = await server.post(f"{hub}/token", data=given)
        except (NoAnswer, httpx.HTTPError):
            self.note("no answer to the log-in at the server")
        else:
            well = answer.is_success
            self.note(
                f"log-in at the server: {answer.status_code}", counted="log-ins to servers" if well else ""
            )
