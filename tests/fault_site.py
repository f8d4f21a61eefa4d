"""The users of a site on which things go wrong, and what is counted after each fault."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self
from uuid import uuid4

import httpx
import yaml
from support import Person, Robot, eventually, signal_jobs

from launcher.check.browser import Browser
from launcher.check.session import Kernel
from launcher.errors import CheckFailed
from launcher.protocol import (
    PROBE_PATH,
    SIGNATURE_HEADER,
    STOP_PATH,
    Claim,
    Event,
    EventKind,
    Stop,
    derive_api_token,
    derive_launch_key,
    encode,
    new_launch_id,
    new_nonce,
    new_ticket,
    probe_proof,
    sign,
)
from launcher.sandbox.accounts import Account
from launcher.sandbox.scheduler import Job, JobState
from launcher.sandbox.site import Site
from launcher.sandbox.state import state_directory

WITNESS, STRANGER = "witness", "stranger"
PEOPLE = (
    *(WITNESS, STRANGER, "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy"),
    *("kim", "leo"),
)

MANY = 64
"""Slots for as many jobs as there may be."""

# Holds a job at one of its steps until its owner has a file named `go`.
_HELD = """\
#!{python}
import os, sys, time
from pathlib import Path
from launcher.sandbox import stand_in
from launcher.singleuser import entry

def held(step, name):
    go_on = getattr(step, name)
    def wait(*arguments):
        while not Path("{home}", os.environ["USER"], "go").exists():
            time.sleep(0.05)
        return go_on(*arguments)
    setattr(step, name, wait)

held(*dict(unclaimed=(entry.Hub, "claim"), claimed=(entry, "preflight"), starting=(stand_in, "serve"))
     [os.environ["HELD_AT"]])
sys.exit(stand_in.main())
"""


@contextlib.asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Site]:
    """Run a site on which things can go wrong, with other options than these."""
    usual = {
        "scheduler": "process",
        "stand_in": True,
        "people": PEOPLE,
        "cleanup_servers": False,
        "robot": True,
        # So that a token is renewed at almost every use.
        "token_lifetime": 61,
        "jupyterhub": {"init_spawners_timeout": 2},
    }
    with state_directory(None) as state:
        site = Site(state, **(usual | options))
        await site.start()
        try:
            yield site
        finally:
            await site.stop()


class User(Person):
    """Somebody whose server things happen to."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._starts: list[asyncio.Task[Any]] = []

    @property
    def account(self) -> Account:
        """Whose the jobs are."""
        return self.site.accounts[self.name]

    # ---- what they do

    async def begin(self, **options: Any) -> None:
        """Press Start; return once the hub is at it."""
        body = {"user_options": options}
        asked = asyncio.create_task(self.api("POST", f"users/{self.name}/server", body))
        self._starts.append(asked)
        await eventually(lambda: self._begun(asked))

    async def _begun(self, asked: asyncio.Task[Any]) -> bool:
        return asked.done() or bool(await self.server_model())

    async def has_ready(self, **options: Any) -> None:
        """Start a server, and see it ready."""
        await self.begin(**options)
        await eventually(self.is_ready)

    async def end(self, within: float = 60.0) -> None:
        """Press Stop, as often as it takes, until the hub knows no server and no launch any more."""
        for start in self._starts:
            start.cancel()
        await asyncio.gather(*self._starts, return_exceptions=True)
        self._starts.clear()
        await eventually(self._ended, within)

    async def _ended(self) -> bool:
        model = await self.server_model()
        if model and model["pending"] != "stop":
            await self.api("DELETE", f"users/{self.name}/server")
        return model is None and not self.record

    def goes_on(self) -> None:
        """Let a job go on that is held at one of its steps."""
        (self.account.home / "go").touch()

    # ---- what is behind it

    @property
    def record(self) -> dict[str, Any]:
        """The launch record that the hub has saved, or nothing."""
        return records(self.site).get(self.name, {})

    async def reaches(self, phase: str, within: float = 30.0) -> str:
        """Wait until the record says that a launch has come so far; return the job's id."""

        async def there() -> bool:
            return bool(self.record.get("phase") == phase)

        await eventually(there, within)
        return str(self.record["job_id"])

    async def waits_for_the_end(self) -> bool:
        """Tell whether the hub has saved that a start waits for the end of the last session."""
        return bool(self.record.get("successor_until"))

    async def jobs(self) -> list[str]:
        """Return the ids of all jobs that live."""
        return await self.site.live_jobs(self.account.name)

    async def job(self) -> str:
        """Return the id of the one job that lives."""
        (job_id,) = await self.jobs()
        return job_id

    async def has_job(self) -> bool:
        """Tell whether a job lives."""
        return bool(await self.jobs())

    async def no_jobs(self) -> bool:
        """Tell whether none does."""
        return not await self.jobs()

    async def runs(self) -> bool:
        """Tell whether the one job runs."""
        found = await self.site.scheduler.job(await self.job())
        return found is not None and found.state == "RUNNING"

    def signal(self, number: signal.Signals) -> None:
        """Send all processes of the jobs a signal."""
        signal_jobs(self.account, number)

    async def answers(self) -> bool:
        """Tell whether the way to the server leads to the very launch that the hub has saved."""
        record, nonce = self.record, new_nonce()
        if not record.get("url"):
            return False
        key = launch_key(self.site, record["launch_id"])
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{self.server}{PROBE_PATH}", params={"nonce": nonce})
        return answer.text == probe_proof(key, nonce)

    async def is_starting(self) -> bool:
        """Tell whether the hub starts a server."""
        return (await self.server_model() or {}).get("pending") == "spawn"

    async def serves(self) -> bool:
        """Tell whether the server is ready, and reached, and the hub knows it by its token."""
        return await self.is_ready() and await self.answers() and await self.is_known()

    async def is_known(self) -> bool:
        """Tell whether the hub takes the server's own token for its user's."""
        token = derive_api_token(hub_secret(self.site), self.record["launch_id"])
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{self.hub}api/user", headers={"Authorization": f"token {token}"})
        return answer.status_code == 200 and answer.json()["name"] == self.name


class Visitor(User):
    """A user of the hub who has never logged in: a program acts for them."""

    def __init__(self, site: Site, name: str, robot: Robot, account: Account) -> None:
        super().__init__(site, name, None, None)
        self._robot = robot
        self._account = account

    @property
    def account(self) -> Account:
        """Whose the jobs are."""
        return self._account

    async def api(self, method: str, path: str, body: object = None) -> Any:
        """Call the hub's API as the program."""
        return await self._robot(method, path, body)


class Witness:
    """Somebody with a real JupyterLab, whom no fault concerns: their kernel must keep what it holds."""

    def __init__(self, user: User) -> None:
        self.user = user
        self._value = uuid4().hex
        self._kernel: Kernel

    async def begin(self) -> None:
        """Start JupyterLab, and a kernel that holds something."""
        await self.user.has_ready(environment="jupyterlab")
        assert (await self.user.browser.open(f"{self.user.server}lab")).status == 200
        self._kernel = await Kernel.start(self.user.browser, self.user.server)
        await self._kernel.run(f"held = {self._value!r}")

    async def computes(self) -> bool:
        """Tell whether the kernel still holds it."""
        try:
            return await self._kernel.run("print(held)") == f"{self._value}\n"
        except CheckFailed:  # the websocket was cut, as by a proxy that ends
            self._kernel.close()
            with contextlib.suppress(CheckFailed):
                self._kernel = await self._joined()
            return False

    async def end(self) -> None:
        """Leave the kernel; JupyterLab ends with the site, as the log-in may be over by then."""
        self._kernel.close()

    async def _joined(self) -> Kernel:
        browser, server = self.user.browser, self.user.server
        session = await browser.fetch("GET", self._kernel.url)
        channels = f"{server}api/kernels/{session['kernel']['id']}/channels?session_id={uuid4().hex}"
        return Kernel(
            self._kernel.title, self._kernel.url, browser, await browser.connect(channels), uuid4().hex
        )


@dataclass
class Count:
    """What is counted after a fault: `fault_matrix.COUNTS`."""

    forgotten: int = 0
    orphans: int = 0
    wrong: int = 0

    def __iter__(self) -> Iterator[int]:
        return iter((self.forgotten, self.orphans, self.wrong))


class Crowd:
    """All users of a site.

    Args:
        site: The site, with `PEOPLE`.

    Attributes:
        counts: What was counted of those who have stopped their servers, by name.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self._accounts = dict(zip(PEOPLE, site.accounts, strict=False))
        self._users: dict[str, User] = {}
        self._browsers = contextlib.AsyncExitStack()
        self.counts: dict[str, Count] = {}
        self.witness: Witness

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._offer)
        self.site.scheduler.slots = MANY  # type: ignore[attr-defined]
        self.witness = Witness(await self.user(WITNESS))
        await self.witness.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.witness.end()
        await self._browsers.aclose()

    def _offer(self) -> None:
        """Offer JupyterLab itself and programs that halt where they are told, beside the stand-in."""
        path, software = self.site.cluster_file, self.site.state / "software/bin"
        held = software / "launcher-held"
        held.write_text(_HELD.format(python=software / "python", home=self.site.state / "home"))
        held.chmod(0o755)
        cluster = yaml.safe_load(path.read_text())
        cluster["environments"] = [
            *cluster["environments"],
            {
                "id": "jupyterlab",
                "title": "JupyterLab itself",
                "kind": "host",
                "launcher": str(software / "launcher-singleuser"),
            },
            *(
                {
                    "id": step,
                    "title": f"Held: {step}",
                    "kind": "host",
                    "launcher": str(held),
                    "prologue": f"export HELD_AT={step}",
                }
                for step in ("unclaimed", "claimed", "starting")
            ),
        ]
        edit(self.site, yaml.safe_dump(cluster, sort_keys=False))

    def account(self, name: str) -> Account:
        """Return the account of one of `PEOPLE`."""
        return self._accounts[name]

    async def user(self, name: str) -> User:
        """Return one of `PEOPLE`, logged in."""
        if name not in self._users:
            browser = await self._browsers.enter_async_context(Browser())
            self._users[name] = await User.log_in(self.site, self._accounts[name].name, browser)
        return self._users[name]

    async def newcomer(self, name: str) -> User:
        """Return one of `PEOPLE`, logged in at this moment."""
        self._users.pop(name, None)
        return await self.user(name)

    async def settle(self, users: Sequence[User]) -> None:
        """Count, after a fault, what must be 0 of each of these users, and have them stop their servers."""
        kept = await held(self.witness.computes)
        forgotten, wrong = await unknown(self.site) + (not kept), await self._got_in(self.witness.user)
        for user in users:
            self.counts[user.name] = found = Count(forgotten=forgotten, wrong=wrong)
            ready = user.record.get("phase") == "ready" and await user.has_job()
            found.forgotten += ready and not await held(user.serves)
            found.wrong += await self._got_in(user)
        ended = await asyncio.gather(*(user.end() for user in users), return_exceptions=True)
        for user, problem in zip(users, ended, strict=True):
            self.counts[user.name].orphans += problem is not None or await user.has_job()

    async def _got_in(self, user: User) -> int:
        """Return how many attempts of a stranger succeeded that concern a user's server."""
        stranger, site = await self.user(STRANGER), self.site
        mine, record = f"users/{user.name}/server", user.record
        good = [
            (await stranger.api("DELETE", mine)).status_code not in (403, 404),
            (await stranger.api("POST", mine, {"user_options": {}})).status_code not in (403, 404),
            (await stranger.api("GET", f"{mine}/progress")).status_code not in (403, 404),
        ]
        if user is self.witness.user:
            opened = await stranger.browser.open(f"{user.server}lab")
            called = await stranger.browser.call("GET", f"{user.server}api/kernels")
            good += [opened.status not in (403, 404), called.status_code not in (403, 404)]
        if record:
            claim = encode(Claim(new_ticket(), new_nonce(), record["job_id"] or "1", "nid001", "6.1.1"))
            event = encode(Event(record["launch_id"], EventKind.STOPPING, 2**62, reason="exit", exit_code=0))
            wrong_key = sign(launch_key(site, new_launch_id(b"")), event)
            good += [
                (await posted(site, "claim", claim)) == 200,
                (await posted(site, "events", event, wrong_key)) == 200,
            ]
        if await user.is_ready():
            stop = encode(Stop(new_nonce()))
            async with httpx.AsyncClient(trust_env=False) as client:
                asked = await client.post(f"{user.server}{STOP_PATH}", content=stop)
            good.append(asked.status_code == 202)
        return sum(good)

    async def calm(self, users: Sequence[User]) -> None:
        """Take back what a row has done to the site, and stop what it has left."""
        site = self.site
        site.gateway.faults.clear()
        site.identity.faults.clear()
        site.gateway.private_jobs = False
        site.scheduler.slots = MANY  # type: ignore[attr-defined]
        for user in users:
            user.signal(signal.SIGCONT)
            user.goes_on()
        await asyncio.gather(*(user.end() for user in users), return_exceptions=True)
        for user in users:
            (user.account.home / "go").unlink(missing_ok=True)


def records(site: Site) -> dict[str, dict[str, Any]]:
    """Return the launch records that the hub has saved, by their users' names."""
    with contextlib.closing(sqlite3.connect(site.state / "hub/jupyterhub.sqlite")) as database:
        query = "select u.name, s.state from spawners s join users u on u.id = s.user_id"
        found = {name: json.loads(state or "{}") for name, state in database.execute(query)}
    return {name: state["launch"] for name, state in found.items() if "launch" in state}


def write_record(site: Site, user: User, **values: Any) -> None:
    """Change what is saved of a launch, while no hub runs."""
    with contextlib.closing(sqlite3.connect(site.state / "hub/jupyterhub.sqlite")) as database, database:
        where = "user_id = (select id from users where name = ?)"
        (state,) = database.execute(f"select state from spawners where {where}", (user.name,)).fetchone()
        saved = json.loads(state)
        saved["launch"] |= values
        database.execute(f"update spawners set state = ? where {where}", (json.dumps(saved), user.name))


async def live(site: Site) -> list[Job]:
    """Return all jobs that have not ended."""
    return [job for job in await site.scheduler.queue() if not JobState(job.state.split()[0]).ended]


async def unknown(site: Site) -> int:
    """Return how many jobs live that no launch of the hub's names."""

    async def found() -> int:
        known = {record["launch_id"]: record["job_id"] for record in records(site).values()}
        marks = [(job.script.splitlines()[1].rpartition(" ")[2], job.id) for job in await live(site)]
        return sum(known.get(mark) not in ("", job_id) for mark, job_id in marks)

    with contextlib.suppress(AssertionError):
        await eventually(lambda: _none(found))
    return await found()


async def _none(count: Callable[[], Awaitable[int]]) -> bool:
    return not await count()


async def held(holds: Callable[[], Awaitable[bool]]) -> bool:
    """Tell whether something holds, or comes to."""
    try:
        await eventually(holds)
    except AssertionError:
        return False
    return True


def launch_key(site: Site, launch_id: str) -> str:
    """Return the launch key of a launch."""
    return derive_launch_key(hub_secret(site), launch_id)


def hub_secret(site: Site) -> bytes:
    """Return what the hub derives all keys from."""
    return bytes.fromhex((site.state / "hub/cookie_secret").read_text().strip())


async def posted(site: Site, path: str, body: bytes, signature: str = "") -> int:
    """Send the hub what a node would; return the status of its answer."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(
            f"{site.url}hub/api/launcher/{path}", content=body, headers={SIGNATURE_HEADER: signature}
        )
    return answer.status_code


@contextlib.contextmanager
def edited(site: Site, **keys: Any) -> Iterator[None]:
    """Give keys of the first cluster's file other values for a while. Blocks until the hub has seen it."""
    before = site.cluster_file.read_text()
    edit(site, yaml.safe_dump(yaml.safe_load(before) | keys, sort_keys=False))
    yield
    edit(site, before)


def edit(site: Site, text: str) -> None:
    """Write the first cluster's file; the hub has seen it when this returns. Blocks."""
    said = site.hub.log.stat().st_size
    site.cluster_file.write_text(text)
    deadline = time.monotonic() + 30
    while f"Cluster file {site.cluster_file} is in use" not in site.hub.log_since(said):
        assert time.monotonic() < deadline, "the hub did not see the edit"
        time.sleep(0.1)
