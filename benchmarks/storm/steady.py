"""Thousands of servers that run, and what they cost their hub.

They are not started, which would take hours: one is, and the others are written into the hub's database as
that one is there, while the hub is down. Then a hub takes all of them up.
"""

from __future__ import annotations

import asyncio
import copy
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from jupyterhub import orm
from jupyterhub.utils import hash_token

from benchmarks.crowd.residents import session
from benchmarks.crowd.session import Launched
from benchmarks.storm.figures import Seen
from benchmarks.storm.ground import WARM_UP, Ground
from launcher.database.launch_record import STATE_KEY, LaunchRecord
from launcher.protocol import (
    ALIVE_INTERVAL,
    derive_api_token,
    derive_launch_key,
    new_launch_id,
    new_ticket,
    ticket_hash,
)
from launcher.sandbox.accounts import Account

_TAKEN_UP = re.compile(r"Initialized ([0-9]+) spawners in ([0-9.]+) seconds")
_PATIENCE = 900.0
_HUB_ADDRESS = "127.0.0.1"


@dataclass(frozen=True)
class Return:
    """A hub that comes back, and takes its servers up.

    Attributes:
        answers: Seconds until it answers.
        servers: Seconds until it has looked at all servers.
        cpu: Seconds of a processor until then.
    """

    answers: float
    servers: float
    cpu: float


@dataclass(frozen=True)
class While:
    """What a hub told of itself over a while.

    Attributes:
        seen: What it told.
        seconds: How long it was.
    """

    seen: Seen
    seconds: float

    @property
    def share(self) -> float:
        """The part of a core that the hub took."""
        return self.seen.cpu / self.seconds

    @property
    def own(self) -> float:
        """The part of a core that the launcher's code in it took."""
        return sum(self.seen.own.values()) / self.seconds


async def settle_in(ground: Ground) -> int:
    """Have everybody's server run, on a ground whose hub has started the first few; return how many.

    The hub is killed for that.
    """
    await ground.site.hub.kill_hub()
    secret = bytes.fromhex((ground.site.state / "hub/cookie_secret").read_text().strip())
    names = [person.name for person in ground.people]
    accounts = [ground.site.accounts[name] for name in names]
    launches = [_Launch(account, secret) for account in accounts[WARM_UP:]]
    hub_url = f"{ground.site.url}hub/api"
    for each in launches:
        first = random.uniform(0, ALIVE_INTERVAL)  # noqa: S311 - spreads load
        each.job_id, each.port = await ground.crowd.resume(
            each.account, each.launched, hub_url=hub_url, ticket=each.ticket, first=first
        )
    await asyncio.to_thread(_written, ground, names[0], launches)
    return len(names)


async def come_back(ground: Ground) -> Return:
    """Start the hub, and wait until it has looked at all servers."""
    hub, said, began = ground.site.hub, ground.site.hub.log.stat().st_size, time.monotonic()
    assert hub.process
    await hub.process.start()
    assert hub.process.pid
    ground.cores.give(hub.process.pid)

    async def answers() -> bool:
        return await _answers(f"{ground.site.url}hub/api/")

    await hub.process.until(answers, timeout=_PATIENCE)
    answered = time.monotonic() - began
    ground.cores.give(hub.process.pid)
    async with asyncio.timeout(_PATIENCE):
        while not (told := _TAKEN_UP.search(hub.log_since(said))):  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.5)
    return Return(answered, max(answered, float(told[2])), (await ground.figures())["cpu"])


async def watch(ground: Ground, seconds: float) -> While:
    """Watch a hub for a while."""
    before, began = await ground.figures(), time.monotonic()
    await asyncio.sleep(seconds)
    after = await ground.figures()
    return While(Seen.between(before, after), time.monotonic() - began)


class _Launch:
    """A launch that is to be written as if it had come to a server that is ready."""

    def __init__(self, account: Account, secret: bytes) -> None:
        self.account = account
        self.ticket = new_ticket()
        launch_id = new_launch_id(secret)
        self.launched = Launched(
            launch_id,
            derive_launch_key(secret, launch_id),
            f"/user/{account.name}/",
            derive_api_token(secret, launch_id),
            account.name,
        )
        self.job_id, self.port = "", 0

    def state(self, like: dict[str, Any]) -> dict[str, Any]:
        """Return the spawner's state, like another one's."""
        state = copy.deepcopy(like)
        record = LaunchRecord.from_state(state)
        assert record
        record.launch_id, record.job_id = self.launched.launch_id, self.job_id
        record.ticket_hash, record.nonce = ticket_hash(self.ticket), new_ticket()
        record.url = f"http://{_HUB_ADDRESS}:{self.port}"
        state[STATE_KEY] = record.to_state()
        return state


def _written(ground: Ground, like: str, launches: Sequence[_Launch]) -> None:
    with session(ground.site) as database:
        (one,) = database.query(orm.Spawner).join(orm.User).filter(orm.User.name == like)
        users = {user.name: user for user in database.query(orm.User)}
        clients, rows = [], []
        for each in launches:
            name = each.account.name
            client = orm.OAuthClient(
                identifier=one.oauth_client_id.replace(like, name),
                description=one.oauth_client.description.replace(like, name),
                secret=hash_token(each.launched.token, rounds=1),
                redirect_uri=one.oauth_client.redirect_uri.replace(like, name),
                allowed_scopes=[scope.replace(like, name) for scope in one.oauth_client.allowed_scopes],
            )
            clients.append(client)
            server = orm.Server(proto="http", ip=_HUB_ADDRESS, port=each.port, base_url=f"/user/{name}/")
            spawner = orm.Spawner(
                user=users[name],
                name="",
                server=server,
                state=each.state(one.state),
                started=one.started,
                last_activity=one.last_activity,
                user_options=one.user_options,
                oauth_client=client,
            )
            token = orm.APIToken(client_id="jupyterhub", scopes=["inherit"], note=f"Server at /user/{name}/")
            token.user_id, token.token = users[name].id, each.launched.token
            rows += [spawner, token]
        database.add_all(clients)
        database.flush()
        database.add_all(rows)
        database.commit()


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            return (await client.get(url)).status_code == 200
    except httpx.HTTPError:
        return False
