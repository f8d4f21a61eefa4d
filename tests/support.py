"""A person who uses a site, and looks behind its scenes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from launcher.check.browser import Browser
from launcher.check.session import Kernel
from launcher.check.visit import Visit
from launcher.protocol import SIGNATURE_HEADER, Event, EventKind, derive_launch_key, encode, sign
from launcher.sandbox.accounts import Account
from launcher.sandbox.scheduler import slurm_daemons
from launcher.sandbox.site import Site


def missing(what: str, how: str) -> None:
    """Skip the test and say how to get what it needs; where nothing may be missing, fail."""
    text = f"{what}: {how}"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


def program(name: str) -> str:
    """Return the path of a program that the test can't do without."""
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not found:
        missing(f"{name} is not installed", f"as root: apt-get install {name}")
    return str(found)


def slurm(*, accounting: bool = False) -> None:
    """Make sure that Slurm is installed, with what its accounting needs or without."""
    if absent := slurm_daemons.missing(accounting=accounting):
        packages = slurm_daemons.packages(accounting=accounting)
        missing(absent, f"as root: apt-get install {' '.join(packages)}")


class Person:
    """Somebody with a browser, logged in to a site."""

    def __init__(self, site: Site, name: str, browser: Browser, visit: Visit) -> None:
        self.site = site
        self.name = name
        self.browser = browser
        self.visit = visit
        self.hub = f"{site.url}hub/"
        self.server = f"{site.url}user/{name}/"

    @classmethod
    async def log_in(cls, site: Site, name: str, browser: Browser) -> Self:
        account = site.accounts[name]
        visit = Visit(browser, site.url, username=name, password=account.password, options={}, job_gone=None)
        await visit.log_in([])
        return cls(site, name, browser, visit)

    async def api(self, method: str, path: str, body: object = None) -> Any:
        """Call the hub's API as the page's scripts do; return the response."""
        return await self.browser.call(method, f"{self.hub}api/{path}", body)

    async def start(self, **options: Any) -> list[dict[str, Any]]:
        """Start a server; return the progress events up to ready or failed."""
        path = f"users/{self.name}/server"
        asked = asyncio.create_task(self.api("POST", path, {"user_options": options}))
        try:
            # Before the start is under way, the stream tells of the one before.
            while not asked.done() and not (await self.server_model() or {}).get("pending"):
                await asyncio.sleep(0.02)
            seen = await self.progress()
            answer = await asked
        finally:
            asked.cancel()
        # A start that fails at once may have no progress to follow: then the answer says why.
        return seen or [{"failed": True, "message": answer.json()["message"]}]

    async def progress(self, until: str = "") -> list[dict[str, Any]]:
        """Follow the progress stream until it ends, or until a message holds some words."""
        seen = []
        async with self.browser.events(f"{self.hub}api/users/{self.name}/server/progress") as events:
            async for event in events or _nothing():
                seen.append(event)
                if event.get("ready") or event.get("failed") or (until and until in event["message"]):
                    break
        return seen

    async def stop(self) -> None:
        """Stop the server and wait until the hub and the scheduler agree that it is gone."""
        await self.visit.stop([])
        await eventually(self.no_jobs)

    async def no_jobs(self) -> bool:
        return not await self.site.live_jobs(self.name)

    async def has_job(self) -> bool:
        return bool(await self.site.live_jobs(self.name))

    async def is_ready(self) -> bool:
        return bool((await self.server_model() or {}).get("ready"))

    async def is_stopped(self) -> bool:
        return await self.server_model() is None

    async def server_model(self) -> dict[str, Any] | None:
        return (await self.api("GET", f"users/{self.name}")).json()["servers"].get("")

    async def compute(self, code: str = "print(6*7)") -> str:
        """Run a cell in a new kernel of the server; return what it printed."""
        # The server's own log-in at the hub, as when a browser opens the page.
        assert (await self.browser.open(f"{self.server}lab")).status == 200
        kernel = await Kernel.start(self.browser, self.server)
        try:
            return await kernel.run(code)
        finally:
            await kernel.shut_down()
            kernel.close()


async def _nothing() -> AsyncIterator[dict[str, Any]]:
    """A stream that is not there."""
    for event in ():
        yield event


@contextlib.contextmanager
def localhost_names() -> Iterator[None]:
    """Have every name below `localhost` stand for this machine, as browsers do and the C library may not."""
    resolve = socket.getaddrinfo

    def local(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host or ""
        return resolve("127.0.0.1" if name.endswith(".localhost") else host, *arguments, **options)

    socket.getaddrinfo = local
    try:
        yield
    finally:
        socket.getaddrinfo = resolve


class Robot:
    """A program with an API token of its own, on a site with `robot`.

    Args:
        site: The site.
        token: Another token than the robot's.
    """

    def __init__(self, site: Site, token: str = "") -> None:
        self._client = httpx.AsyncClient(
            base_url=f"{site.url}hub/api/",
            headers={"Authorization": f"Bearer {token or site.hub.api_token}"},
            trust_env=False,
            timeout=60,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def __call__(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Call the hub's API."""
        return await self._client.request(method, path, json=body)

    async def token_of(self, name: str) -> str:
        """Make a user, if there is none of this name, and return an API token of theirs."""
        await self("POST", f"users/{name}")
        answer = await self("POST", f"users/{name}/tokens", {"expires_in": 3600})
        return str(answer.json()["token"])


async def eventually(holds: Callable[[], Any], within: float = 30.0) -> None:
    """Wait until something holds; fail if it does not within so many seconds."""
    deadline = asyncio.get_running_loop().time() + within
    while not await holds():
        assert asyncio.get_running_loop().time() < deadline, f"did not hold within {within} s"
        await asyncio.sleep(0.1)


def messages(events: list[dict[str, Any]]) -> list[str]:
    """Return the texts of progress events."""
    return [event["message"] for event in events]


def command_lines() -> list[str]:
    """Return the argument lists of all processes of this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


def signal_jobs(account: Account, number: signal.Signals) -> None:
    """Send a signal to all processes of an account's jobs: a node that hangs, and goes on."""
    home = f"HOME={account.home}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if home in path.read_bytes().split(b"\0"):
                os.kill(int(path.parent.name), number)


def saved_record(site: Site, name: str) -> dict[str, Any]:
    """Return the launch record that the hub's database holds for somebody."""
    with contextlib.closing(sqlite3.connect(site.state / "hub/jupyterhub.sqlite")) as database:
        query = "select s.state from spawners s join users u on u.id = s.user_id where u.name = ?"
        return json.loads(database.execute(query, (name,)).fetchone()[0])["launch"]


async def node_says(site: Site, name: str, reason: str, **facts: Any) -> None:
    """Have the node of somebody's server say that it ends, as nobody else can."""
    launch_id = saved_record(site, name)["launch_id"]
    secret = bytes.fromhex((site.state / "hub/cookie_secret").read_text().strip())
    # Above whatever the node itself has sent.
    body = encode(Event(launch_id, EventKind.STOPPING, 10**9, reason=reason, **facts))
    signature = sign(derive_launch_key(secret, launch_id), body)
    async with httpx.AsyncClient(trust_env=False) as client:
        url = f"{site.url}hub/api/launcher/events"
        answer = await client.post(url, content=body, headers={SIGNATURE_HEADER: signature})
        assert answer.status_code in (200, 410)


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    """Yield a port of 127.0.0.1 that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
