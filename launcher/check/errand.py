"""A program's way into a hub: an API token, and a start by the REST API.

After JupyterHub 6's REST API and scopes (https://jupyterhub.readthedocs.io, "JupyterHub REST API", "Scopes").
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import httpx

from launcher.check.browser import Browser, NoAnswer, describe
from launcher.check.server import ServerSteps
from launcher.check.steps import Seen
from launcher.errors import CheckFailed

_PAUSE = 0.2
_NEEDED = ("read:servers", "start:servers", "delete:servers", "access:servers")


class Errand(ServerSteps):
    """One server that a program starts for a user.

    Args:
        browser: Holds the token.
        hub_url: The hub's public address.
        user: Whose server; empty for that of the token's owner.
        server_name: The server's name; empty for the default one.
        options: The server's `user_options`.

    Raises:
        UsageError: `hub_url` is no address of a web site.
    """

    def __init__(
        self,
        browser: Browser,
        hub_url: str,
        *,
        user: str,
        server_name: str,
        options: Mapping[str, str],
    ) -> None:
        super().__init__(browser, hub_url, server_name=server_name)
        self._name = user
        self._options = options
        self._request: asyncio.Task[httpx.Response | None] | None = None
        self._is_new = False

    async def identify(self, seen: Seen) -> None:
        """See whose token this is, and that it may do what comes."""
        answer = await self._browser.call("GET", f"{self._hub}api/user")
        if answer.status_code in {401, 403}:
            raise CheckFailed(
                "The hub does not accept the token.",
                why=f"It answered {describe(answer)}.",
                todo="Tokens expire, and end with their owner: make a new one.",
            )
        if not answer.is_success:
            failure = NoAnswer if answer.is_server_error else CheckFailed
            raise failure(
                f"{self._hub}api/user answered {describe(answer)}.", todo="Is this a hub's address?"
            )
        try:
            owner = answer.json()
        except ValueError:
            raise CheckFailed(
                f"{self._hub}api/user is not a hub's API.",
                why="It did not answer with JSON.",
                todo="A log-in page that stands before the hub must let its API through.",
            ) from None
        if not self._name and owner["kind"] != "user":
            raise CheckFailed(
                f"The token is that of the {owner['kind']} {owner['name']}, which has no servers.",
                todo="Say whose server to start: --user NAME",
            )
        self._name = self._name or owner["name"]
        self._require_scopes(owner["scopes"])
        await self._require_user()
        seen.append(f"of the {owner['kind']} {owner['name']}, for a server of {self._name}")

    async def request(self, seen: Seen) -> None:
        """Ask for the server; what comes of it is the next step's finding."""
        server = await self._stored_server()
        if server and not server["stopped"]:
            state = f"pending {server['pending']}" if server["pending"] else "running"
            raise CheckFailed(
                f"{self._name} has that server already; it is {state}.",
                todo="Stop it at the hub, or name another server: --server NAME",
            )
        self._is_new = bool(self._server_name) and server is None
        seen.append(", ".join(f"{name}: {value}" for name, value in self._options.items()) or "all defaults")
        self.started = True
        self._request = asyncio.create_task(self._post())
        # The answer may take until the server is ready, and its progress can be followed before.
        while not self._request.done():
            await asyncio.wait({self._request}, timeout=_PAUSE)
            with suppress(NoAnswer):
                if not self._request.done() and await self._server_model():
                    return
        answer = self._request.result()
        if answer is not None and (answer.is_success or await self._failed()):
            return
        if answer is not None and answer.is_client_error:
            self.started = False
            raise CheckFailed("The hub refused to start the server.", why=f"It answered {describe(answer)}.")
        # It may start all the same: what stands before a hub can lose patience.
        seen.append(f"the hub answered {describe(answer)}" if answer is not None else "no answer")

    async def see_gone(self, seen: Seen) -> None:
        """See that server and job are gone; remove the name of a server that was not there before."""
        if await self._server_model():
            raise CheckFailed("The hub shows the server again.")
        stored = await self._stored_server() if self._is_new else None
        if stored and stored["stopped"]:
            await self._browser.fetch("DELETE", self._api("server"), {"remove": True})
        while ending := await self._ending_job():
            seen[:] = [f"the hub shows no server any more, but job {ending} is still ending"]
            await asyncio.sleep(_PAUSE)
        told = "its job is gone" if ending is not None else "of its job it tells nothing"
        seen[:] = [f"the hub shows no server any more; {told}"]

    @property
    def _settled(self) -> bool:
        return super()._settled and (self._request is None or self._request.done())

    async def _post(self) -> httpx.Response | None:
        """Ask for the server; None stands for no answer."""
        body = {"user_options": dict(self._options)}
        with suppress(NoAnswer), self._away_is_noted():
            return await self._browser.call("POST", self._api("server"), body)
        return None

    async def _failed(self) -> bool:
        """Whether a start was under way, and failed; one of somebody else's would not have."""
        with suppress(NoAnswer), self._away_is_noted():
            async with self._browser.events(self._api("server/progress")) as events:
                if events is not None:
                    async for event in events:
                        return bool(event.get("failed"))
        return False

    async def _ending_job(self) -> str | None:
        """Its job that has not yet ended; empty if there is none, None if the hub does not tell."""
        answer = await self._browser.call("GET", f"{self._hub}api/launcher/launches")
        if not answer.is_success:
            return None
        for launch in answer.json()["launches"]:
            whose = (launch["user"], launch["server"])
            if whose == (self._name, self._server_name) and launch["phase"] == "ending":
                return launch["job_id"] or "of a submit without an answer"
        return ""

    async def _stored_server(self) -> dict[str, Any] | None:
        """The server as the hub remembers it, running or not."""
        user = await self._browser.fetch("GET", f"{self._api()}?include_stopped_servers")
        model: dict[str, Any] | None = user["servers"].get(self._server_name)
        return model

    def _require_scopes(self, held: list[str]) -> None:
        mine = {"", f"user={self._name}", f"server={self._name}/{self._server_name}"}
        pairs = [scope.partition("!")[::2] for scope in held]
        # Who is in a group only the hub knows.
        useful = {scope for scope, where in pairs if where in mine or where.startswith("group=")}
        if missing := [scope for scope in _NEEDED if scope not in useful]:
            raise CheckFailed(
                f"The token has no right to {', '.join(missing)} of {self._name}.",
                todo=f"Give its role the scopes servers!user={self._name} and "
                f"access:servers!user={self._name}",
            )

    async def _require_user(self) -> None:
        answer = await self._browser.call("GET", self._api())
        if answer.status_code == 404:
            raise CheckFailed(
                f"The hub knows no user {self._name}.",
                why="Users are known once they have logged in, or an admin has added them.",
            )
