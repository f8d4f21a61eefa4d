"""What is behind a hub: its database, the jobs that live, and whether the way to a server leads to it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import httpx

from launcher.check.browser import Browser
from launcher.protocol import PROBE_PATH, derive_api_token, derive_launch_key, new_nonce, probe_proof
from launcher.sandbox.processes import Program
from launcher.sandbox.scheduler import JobState
from launcher.sandbox.scheduler.process import ProcessScheduler
from launcher.sandbox.site import Site

Key = tuple[str, str]
"""Name of a user, and of their server."""

_MARK = "# launch "


@dataclass(frozen=True)
class LiveJob:
    """A job that has not ended.

    Attributes:
        id: Its id.
        owner: Whose it is.
        mark: The launch that its script names.
    """

    id: str
    owner: str
    mark: str


class Scene:
    """A site, seen from behind.

    Args:
        site: The site.
        robot: A browser with the token of the site's robot.
    """

    def __init__(self, site: Site, robot: Browser) -> None:
        self.site = site
        self._robot = robot

    @property
    def scheduler(self) -> ProcessScheduler:
        """What runs the jobs."""
        return cast(ProcessScheduler, self.site.scheduler)

    @property
    def hub(self) -> Program:
        """JupyterHub's process."""
        assert self.site.hub.process
        return self.site.hub.process

    def path(self, key: Key) -> str:
        """Return where the proxy leads to a server."""
        user, server = key
        return f"{self.site.url}user/{user}/{f'{server}/' if server else ''}"

    def api(self, key: Key) -> str:
        """Return where the hub's API has a server."""
        user, server = key
        return f"{self.site.url}hub/api/users/{user}/{f'servers/{server}' if server else 'server'}"

    async def models(self) -> dict[Key, dict[str, Any]]:
        """Return the servers that the hub shows."""
        users = await self._robot.fetch("GET", f"{self.site.url}hub/api/users")
        return {(user["name"], name): model for user in users for name, model in user["servers"].items()}

    def records(self) -> dict[Key, dict[str, Any]]:
        """Return the launch records that the hub has saved."""
        with self._database() as database:
            query = "select u.name, s.name, s.state from spawners s join users u on u.id = s.user_id"
            states = {
                (user, name): json.loads(state or "{}") for user, name, state in database.execute(query)
            }
        return {key: state["launch"] for key, state in states.items() if "launch" in state}

    def rows(self) -> Counter[str]:
        """Return how many rows each table of the hub's database has.

        Tokens that expire within ten minutes do not count: the hub removes them by itself, once an hour.
        """
        with self._database() as database:
            found = database.execute("select name from sqlite_master where type = 'table'").fetchall()
            counted = {name: database.execute(f'select count(*) from "{name}"') for (name,) in found}  # noqa: S608 - its own
            counts = Counter({name: count.fetchone()[0] for name, count in counted.items()})
            soon = "select count(*) from api_tokens where expires_at < datetime('now', '+10 minutes')"
            counts["api_tokens"] -= database.execute(soon).fetchone()[0]
        return counts

    async def live(self) -> list[LiveJob]:
        """Return all jobs that have not ended."""
        return [
            LiveJob(job.id, job.account_name, _mark(job.script))
            for job in await self.scheduler.queue()
            if not JobState(job.state.split()[0]).ended
        ]

    async def answers(self, key: Key, record: Mapping[str, Any]) -> bool:
        """Tell whether the way to a server leads to the very launch that is saved."""
        nonce = new_nonce()
        proof = probe_proof(derive_launch_key(self._secret, record["launch_id"]), nonce)
        async with httpx.AsyncClient(trust_env=False) as client:
            with contextlib.suppress(httpx.HTTPError):
                answer = await client.get(f"{self.path(key)}{PROBE_PATH}", params={"nonce": nonce})
                return answer.text == proof
        return False

    def token(self, record: Mapping[str, Any]) -> str:
        """Return the API token of a launch's server."""
        return derive_api_token(self._secret, record["launch_id"])

    @property
    def _secret(self) -> bytes:
        return bytes.fromhex((self.site.state / "hub/cookie_secret").read_text().strip())

    def _database(self) -> contextlib.closing[sqlite3.Connection]:
        return contextlib.closing(sqlite3.connect(self.site.state / "hub/jupyterhub.sqlite"))


def _mark(script: str) -> str:
    lines = script.splitlines()
    return lines[1].removeprefix(_MARK) if lines[1:] and lines[1].startswith(_MARK) else ""
