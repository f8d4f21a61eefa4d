"""One person's way through a hub: each method is a step, and notes what it sees.

Addresses and answers are those of JupyterHub 6 and Jupyter Server 2.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from launcher.errors import CheckFailed, UsageError
from launcher.sandbox.check.browser import Browser, NoAnswer, describe
from launcher.sandbox.check.forms import Form
from launcher.sandbox.check.page import Page
from launcher.sandbox.check.session import Kernel, run_in_terminal
from launcher.sandbox.check.tree import parse_html

JobGone = Callable[[], Awaitable[bool]]
Seen = list[str]

_PAUSE = 0.5
_JOB_SHOWS = 10.0
_NAME_FIELDS = {"text", "email"}
_CELL, _OUTPUT = "print(6*7)", "42\n"


class Visit:
    """One person at one hub.

    Args:
        browser: Their browser.
        hub_url: The hub's public address.
        username: Their name at the log-in form.
        password: Their password.
        options: What they put into the options form.
        job_gone: Tells whether the scheduler has no job of theirs.

    Raises:
        UsageError: `hub_url` is no address of a web site.
    """

    def __init__(
        self,
        browser: Browser,
        hub_url: str,
        *,
        username: str,
        password: str,
        options: Mapping[str, str],
        job_gone: JobGone | None,
    ) -> None:
        self.started = False
        self._browser = browser
        self._hub = _hub_address(hub_url)
        self._username = username
        self._password = password
        self._options = options
        self._job_gone = job_gone
        self._name = ""
        self._server = ""
        self._kernel: Kernel | None = None

    async def log_in(self, seen: Seen) -> None:
        """Go through the hub's log-in to whatever form asks for a password, and back."""
        home = urlsplit(self._hub).path + "home"
        page = await self._browser.open(f"{self._hub}login?next={quote(home)}")
        form = page.password_form
        if form is None and (link := self._login_link(page)):
            page = await self._browser.open(link)
            form = page.password_form
        if form is None:
            raise CheckFailed("There is no form that asks for a password.", why=page.describe())
        asked_at = page.path
        page = await self._browser.submit(form, self._credentials(form))
        if page.password_form:
            raise CheckFailed("The log-in was refused.", why=page.describe())
        answer = await self._browser.call("GET", self._hub + "api/user")
        if not answer.is_success:
            raise CheckFailed("The log-in did not lead back to the hub.", why=page.describe())
        self._name = answer.json()["name"]
        seen.append(f"as {self._name}, by the form at {asked_at}")

    async def submit_options(self, seen: Seen) -> None:
        """Send the options form as it stands, apart from the given options."""
        if await self._server_model():
            raise CheckFailed(
                f"{self._name} has a server already.", todo="Stop it at the hub, then check again."
            )
        # A hub without an options form starts the server when this page is opened.
        self.started = True
        page = await self._browser.open(f"{self._hub}spawn/{self._user}")
        form = self._options_form(page)
        if form:
            self.started = False
            sent = form.filled(self._options)
            self.started = True
            page = await self._browser.submit(form, self._options)
            unseen = {control.name for control in form.controls if control.kind in {"hidden", "password"}}
            seen.append(", ".join(f"{name}: {value}" for name, value in sent if name not in unseen))
        elif self._options:
            raise CheckFailed("There is no options form.", why=page.describe())
        else:
            seen.append("this hub has none")
        # A start that failed at once comes back as an error page, too: it is the next step's finding.
        if (page.status >= 400 or self._options_form(page)) and not await self._start_known():
            self.started = bool(await self._server_model())
            raise CheckFailed("The options were refused.", why=page.describe())

    async def wait_for_start(self, seen: Seen) -> None:
        """Follow the progress until the server is ready, and its job is there."""
        began = time.monotonic()
        while not self._server:
            # The stream breaks off when a hub or a proxy restarts. Browsers take it up again, too.
            with suppress(NoAnswer):
                async with self._browser.events(self._progress_url) as events:
                    if events is not None:
                        await self._follow(events, seen, began)
            with suppress(NoAnswer):
                await self._look_for_server()
        if self._job_gone:
            await _first_seen(self._job_gone)

    async def open_lab(self, seen: Seen) -> None:
        """Open JupyterLab, through its own log-in at the hub, and load its scripts."""
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
        asked = False
        while True:
            # The hub may be restarting, or still be busy with cancelling the start: keep asking.
            try:
                model = await self._server_model()
                if model is None:
                    break
                if model["pending"] != "stop":
                    await self._browser.fetch("DELETE", f"{self._hub}api/users/{self._user}/server")
                    asked = True
                seen.clear()
            except NoAnswer as error:
                seen[:] = [str(error)]
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
    def _progress_url(self) -> str:
        return f"{self._hub}api/users/{self._user}/server/progress"

    def _login_link(self, page: Page) -> str | None:
        # The log-in page of an OAuthenticator has a link, and no form.
        links = (link for link in page.links if urlsplit(link).path.endswith("login"))
        return next((link for link in links if urlsplit(link).path != page.path), None)

    def _credentials(self, form: Form) -> dict[str, str]:
        password = form.control("password")
        names = [control.name for control in form.controls if control.name and control.kind in _NAME_FIELDS]
        assert password
        user = {("username" if "username" in names else names[0]): self._username} if names else {}
        return user | {password.name: self._password}

    def _options_form(self, page: Page) -> Form | None:
        place = urlsplit(self._hub).path + "spawn"
        forms = (form for form in page.forms if urlsplit(form.action).path.startswith(place))
        return next((form for form in forms if form.method == "post"), None)

    async def _server_model(self) -> dict[str, Any] | None:
        user = await self._browser.fetch("GET", f"{self._hub}api/users/{self._user}")
        model: dict[str, Any] | None = user["servers"].get("")
        return model

    async def _start_known(self) -> bool:
        async with self._browser.events(self._progress_url) as events:
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
        if model is None:
            raise CheckFailed("The hub no longer starts the server.")
        if model["ready"]:
            self._server = urljoin(self._hub, model["url"])


def _hub_address(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"{url!r} is no address of a hub.", todo="Give it as a browser shows it: https://…")
    path = parts.path.rstrip("/").removesuffix("/hub") + "/hub/"
    return f"{parts.scheme}://{parts.netloc}{path}"


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
