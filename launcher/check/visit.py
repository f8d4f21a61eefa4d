"""A person's way into a hub: the log-in and the options form."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from launcher.check.browser import Browser
from launcher.check.forms import Form
from launcher.check.page import Page
from launcher.check.server import JobGone, ServerSteps
from launcher.check.steps import Seen
from launcher.errors import CheckFailed

_NAME_FIELDS = {"text", "email"}


class Visit(ServerSteps):
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
        super().__init__(browser, hub_url, job_gone=job_gone)
        self._username = username
        self._password = password
        self._options = options

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
