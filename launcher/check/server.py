"""One server at a hub, from its start to its end: each method is a step, and notes what it sees.

Addresses and answers are those of JupyterHub 6 and Jupyter Server 2.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from launcher.check.address import hub_address
from launcher.check.browser import Browser, NoAnswer, describe
from launcher.check.session import Kernel, run_in_terminal
from launcher.check.steps import Seen
from launcher.check.tree import parse_html
from launcher.errors import CheckFailed

JobGone = Callable[[], Awaitable[bool]]

_PAUSE = 0.5
_JOB_SHOWS = 10.0
_HUB_RESUMES = 20.0
_CELL, _OUTPUT = "print(6*7)", "42\n"


class ServerSteps:
    """The steps from a start that was asked for to the server's end.

    Args:
        browser: Who asks.
        hub_url: The hub's public address.
        server_name: The server's name; empty for the default one.
        job_gone: Tells whether the scheduler has no job of the user.

    Attributes:
        started: Whether a server may be there that has to be stopped.

    Raises:
        UsageError: `hub_url` is no address of a web site.
    """

    def __init__(
        self, browser: Browser, hub_url: str, *, server_name: str = "", job_gone: JobGone | None = None
    ) -> None:
        self.started = False
        self._browser = browser
        self._hub = hub_address(hub_url)
        self._server_name = server_name
        self._job_gone = job_gone
        self._name = ""
        self._server = ""
        self._kernel: Kernel | None = None
        self._started_at: str | None = None
        self._sure_at = 0.0

    async def wait_for_start(self, seen: Seen) -> None:
        """Follow the progress until the server is ready, and its job is there."""
        began = time.monotonic()
        while not self._server:
            # The stream breaks off when a hub or a proxy restarts. Browsers take it up again, too.
            with suppress(NoAnswer), self._away_is_noted():
                async with self._browser.events(self._api("server/progress")) as events:
                    if events is not None:
                        await self._follow(events, seen, began)
            with suppress(NoAnswer):
                await self._look_for_server()
        if self._job_gone:
            await _first_seen(self._job_gone)

    async def open_lab(self, seen: Seen) -> None:
        """Open JupyterLab, and load its scripts."""
        page = await self._browser.open(self._server + "lab")
        data = page.data.get("jupyter-config-data")
        if page.status != 200 or data is None:
            raise CheckFailed("This is not JupyterLab's page.", why=page.describe())
        config = json.loads(data)
        if config["baseUrl"] != urlsplit(self._server).path:
            raise CheckFailed(f"JupyterLab believes to be at {config['baseUrl']}.", why=page.describe())
        for script in page.scripts:
            answer = await self._browser.call("GET", script)
            if not answer.is_success:
                raise CheckFailed(
                    "JupyterLab's script does not load.", why=f"It answered {describe(answer)}."
                )
        seen.append(f"{config['appName']} {config['appVersion']} at {page.path}")

    async def start_kernel(self, seen: Seen) -> None:
        """Start the default kernel."""
        self._kernel = await Kernel.start(self._browser, self._server)
        seen.append(self._kernel.title)

    async def run_cell(self, seen: Seen) -> None:
        """Run a cell, compare what it prints, and shut its kernel down."""
        assert self._kernel
        output = await self._kernel.run(_CELL)
        if output != _OUTPUT:
            raise CheckFailed(f"{_CELL} printed {output!r}, not {_OUTPUT!r}.")
        seen.append(f"{_CELL} printed {output.strip()}")
        await self._kernel.shut_down()

    async def use_terminal(self, seen: Seen) -> None:
        """Let a shell compute something that can't be guessed from what was typed."""
        left, right = 1000 + secrets.randbelow(9000), 1000 + secrets.randbelow(9000)
        # `expr` is the same in every user's shell.
        command, output = f"expr {left} \\* {right}", str(left * right)
        await run_in_terminal(self._browser, self._server, command, output)
        seen.append(f"{command} printed {output}")

    def leave(self) -> None:
        """Close what is still open."""
        if self._kernel:
            self._kernel.close()

    async def stop(self, seen: Seen) -> None:
        """Stop the server, and wait until the hub says that it is stopped, however long that takes."""
        advice = f"The server may be left behind; it can be stopped at {self._hub}home"
        seen.append(advice)
        asked = False
        while True:
            # The hub may be restarting, or still be busy with cancelling the start: keep asking.
            try:
                model = await self._server_model()
                if model is None and self._settled:
                    break
                if model and model["pending"] != "stop":
                    await self._browser.fetch("DELETE", self._api("server"))
                    asked = True
                seen[:] = [advice]
            except NoAnswer as error:
                seen[:] = [str(error), advice]
            await asyncio.sleep(_PAUSE)
        seen[:] = [] if asked else ["nothing was left running"]

    async def wait_for_job_gone(self, seen: Seen) -> None:
        """Wait until the scheduler has no job left."""
        assert self._job_gone
        await _until(self._job_gone, answers=True)
        seen.append("the scheduler has no job left")

    @property
    def _user(self) -> str:
        return quote(self._name, safe="@~")

    @property
    def _settled(self) -> bool:
        """Whether a server that the hub does not show will not show up any more.

        A hub that was restarted takes up a start that was under way some time after it first answers.
        """
        return time.monotonic() >= self._sure_at

    def _api(self, what: str = "") -> str:
        """The address of the user in the hub's API, or of their `server` and what is below it."""
        user = f"{self._hub}api/users/{self._user}"
        if self._server_name:
            what = what.replace("server", f"servers/{quote(self._server_name, safe='')}", 1)
        return f"{user}/{what}" if what else user

    async def _server_model(self) -> dict[str, Any] | None:
        """The server as the hub shows it, or None if it shows none.

        Raises:
            NoAnswer: The hub gave no answer.
        """
        with self._away_is_noted():
            user = await self._browser.fetch("GET", self._api())
        model: dict[str, Any] | None = user["servers"].get(self._server_name)
        if self.started and model and (started_at := model.get("started")):
            self._started_at = self._started_at or started_at
            if started_at != self._started_at:
                # Somebody stopped this server and started another one, which is not ours to touch.
                return None
        return model

    @contextmanager
    def _away_is_noted(self) -> Iterator[None]:
        try:
            yield
        except NoAnswer:
            self._sure_at = time.monotonic() + _HUB_RESUMES
            # A start that a restarted hub takes up gets another time.
            self._started_at = None
            raise

    async def _start_known(self) -> bool:
        async with self._browser.events(self._api("server/progress")) as events:
            return events is not None

    async def _follow(self, events: AsyncIterator[dict[str, Any]], seen: Seen, began: float) -> None:
        last = ""
        async for event in events:
            message = _message(event)
            if event.get("failed"):
                raise CheckFailed(message or "The start failed.")
            if message and message != last:
                seen.append(f"{time.monotonic() - began:.1f} s  {message}")
                last = message
            if event.get("ready"):
                self._server = urljoin(self._hub, event["url"])
                return

    async def _look_for_server(self) -> None:
        if self._server:
            return
        await asyncio.sleep(_PAUSE)
        model = await self._server_model()
        if model is None and self._settled:
            raise CheckFailed("The hub no longer starts the server.")
        if model and model["ready"]:
            self._server = urljoin(self._hub, model["url"])


def _message(event: Mapping[str, Any]) -> str:
    """What a person reads of a progress event: its plain text, and what its HTML adds to that."""
    message = str(event.get("message") or "")
    html = parse_html(str(event.get("html_message") or "")).words()
    if " ".join(html.split()) in " ".join(message.split()):
        return message
    return html if message in html else f"{message}\n{html}"


async def _first_seen(job_gone: JobGone) -> None:
    # A scheduler that never showed the job would make its absence at the end meaningless.
    try:
        async with asyncio.timeout(_JOB_SHOWS):
            await _until(job_gone, answers=False)
    except TimeoutError:
        raise CheckFailed("The server is ready, but the scheduler shows no job of it.") from None


async def _until(job_gone: JobGone, *, answers: bool) -> None:
    while await job_gone() is not answers:  # noqa: ASYNC110 - a scheduler can only be asked
        await asyncio.sleep(_PAUSE)
