"""The open JupyterLab pages of a session: what they are told, and what their users want."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado.web import HTTPError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

PANEL_PATH = "launcher/panel"
"""Path of the pages' websocket below the server's base URL."""

_MAX_MESSAGE = 64 * 1024
_MAX_PAGES = 100
"""More pages than anybody has open at once."""

_MAX_NAMES = 20


class Pages:
    """All pages that hold a connection; each message goes to all of them.

    Attributes:
        greetings: Return what a page hears that has just connected.
        used: Is called when somebody does something in a page.
        stop: Is called when somebody presses Stop.
        watching: Is called when the first page begins to show what the session uses.
    """

    def __init__(self) -> None:
        self.greetings: list[Callable[[], Iterable[dict[str, Any]]]] = []
        self.used: Callable[[], None] = lambda: None
        self.stop: Callable[[], None] = lambda: None
        self.watching: Callable[[], None] = lambda: None
        self._open: set[_Page] = set()
        self._owed: Counter[_Page] = Counter()
        self._unsaved: dict[_Page, list[str]] = {}
        self._answered = asyncio.Event()
        self._ending: dict[str, Any] | None = None

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    @property
    def watched(self) -> bool:
        """Whether any page shows what the session uses."""
        return any(page.watches for page in self._open)

    def handler(self, base_url: str) -> tuple[str, type[JupyterHandler], dict[str, Any]]:
        """Return what answers them, as Tornado's applications take it."""
        return (rf"{base_url}{PANEL_PATH}", _Page, {"pages": self})

    def tell(self, message: dict[str, Any], *, watching: bool = False) -> None:
        """Send a message to all, or to those that show what the session uses."""
        for page in list(self._open):
            if page.watches or not watching:
                page.tell(message)

    def end(self, reason: str) -> None:
        """Have all of them, and those that are yet to come, save what is unsaved: the session ends.

        Args:
            reason: As in a `stopping` event.
        """
        self._ending = {"kind": "ending", "reason": reason}
        self._owed.update(self._open)
        self.tell(self._ending)

    async def saved(self, within: float) -> None:
        """Wait until all have saved after each `end`, or are gone, at most so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._owed:
                    self._answered.clear()
                    await self._answered.wait()

    @property
    def unsaved(self) -> list[str]:
        """What pages could not save, by their last word."""
        return [path for paths in self._unsaved.values() for path in paths]

    def close(self) -> None:
        """Close all connections."""
        for page in list(self._open):
            page.close(1001, "The session has ended.")

    def opened(self, page: _Page) -> None:
        """Know a page."""
        if len(self._open) >= _MAX_PAGES:
            page.close(1013, "Too many pages are open.")
            return
        self._open.add(page)
        for greeting in self.greetings:
            for message in greeting():
                page.tell(message)
        if self._ending:
            self._owed[page] += 1
            page.tell(self._ending)

    def closed(self, page: _Page) -> None:
        """Forget a page."""
        self._open.discard(page)
        del self._owed[page]
        self._answered.set()

    def said(self, page: _Page, message: dict[str, Any]) -> None:
        """Take a message of a page; what is not known is passed over."""
        match message.get("kind"):
            case "used":
                self.used()
            case "watch":
                before = self.watched
                page.watches = message.get("on") is True
                if page.watches and not before:
                    self.watching()
            case "saved":
                if page in self._owed:
                    left = message.get("unsaved")
                    names = [each for each in left if isinstance(each, str)] if isinstance(left, list) else []
                    self._unsaved[page] = names[:_MAX_NAMES]
                    # Each `ending` has an answer of its own: what was saved before the last is not all.
                    self._owed -= Counter([page])
                    self._answered.set()
            case "stop":
                self.stop()


class _Page(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """One page's websocket, for whoever may run code in this server."""

    auth_resource = "server"
    watches = False

    def initialize(self, pages: Pages) -> None:
        self.pages = pages

    def set_default_headers(self) -> None:
        """Send none: they are for answers that a browser shows."""

    @property
    def max_message_size(self) -> int:
        """Bytes of a message at most."""
        return _MAX_MESSAGE

    @ws_authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Open the connection."""
        if not await ensure_async(
            self.authorizer.is_authorized(self, self.current_user, "execute", self.auth_resource)
        ):
            raise HTTPError(403)
        opening: Awaitable[None] | None = super().get(*args, **kwargs)
        if opening is not None:
            await opening

    def open(self, *args: Any, **kwargs: Any) -> None:
        """Greet the page."""
        super().open(*args, **kwargs)
        self.pages.opened(self)

    def on_close(self) -> None:
        """Forget it."""
        self.pages.closed(self)
        super().on_close()

    def on_message(self, message: str | bytes) -> None:
        """Take what it says; nothing that is no JSON object means anything."""
        try:
            said = json.loads(message)
        except (ValueError, RecursionError):
            return
        if isinstance(said, dict):
            self.pages.said(self, said)

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message, unless the page is gone."""
        try:
            sending = self.write_message(json.dumps(message))
        except WebSocketClosedError:
            self.pages.closed(self)
            return
        # Of a page that goes meanwhile nobody needs to know.
        asyncio.ensure_future(sending).add_done_callback(lambda done: done.cancelled() or done.exception())
