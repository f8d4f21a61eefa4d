"""Many users at once, and messages and tokens at the wrong time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
import time
from collections import Counter
from pathlib import Path

import fault_site
import pytest
import pytest_asyncio
from fault_site import PEOPLE, Crowd, User, launch_key, posted
from support import eventually

from launcher.check.browser import Browser
from launcher.protocol import Claim, Event, EventKind, ScriptExit, encode, new_nonce, sign
from launcher.sandbox.gateway import Answer

pytestmark = pytest.mark.asyncio(loop_scope="session")

MANY = [f"user{number:02}" for number in range(1, 51)]
SSHD_SESSIONS, SESSIONS_OF_A_LOOK = 10, 2
BLINK = 0.05
"""Seconds for which our code may keep the hub's event loop."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site():
    """A site with many users, whose hub notes the long steps of its event loop."""
    watch = {"PYTHONPATH": str(Path(__file__).with_name("loop_watch"))}
    people = (*PEOPLE, *MANY)
    async with fault_site.running(people=people, token_lifetime=300, environment=watch) as site:
        site.answers_since = time.time()
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def crowd(site):
    """Those whom the other rows concern."""
    async with Crowd(site) as crowd:
        yield crowd


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fifty(site):
    """Fifty people, logged in."""
    tls = ssl.create_default_context()
    async with contextlib.AsyncExitStack() as stack:
        accounts = list(site.accounts)[len(PEOPLE) :]
        browsers = [await stack.enter_async_context(Browser(tls)) for _ in accounts]
        yield [
            await User.log_in(site, account.name, browser)
            for account, browser in zip(accounts, browsers, strict=True)
        ]


@pytest_asyncio.fixture(loop_scope="session")
async def many(fifty, users):
    """The same, with the form before them."""
    users.extend(fifty)
    await asyncio.gather(*(each.browser.open(f"{each.hub}spawn/{each.name}") for each in users))
    return users


async def press_start(user):
    """Press Start; return the status of the answer."""
    return (await user.api("POST", f"users/{user.name}/server", {"user_options": {}})).status_code


async def jobs_ever(site, user):
    return [job.id for job in await site.scheduler.jobs() if job.account_name == user.account.name]


@pytest.mark.fault("50 users press Start in the same second", sees="50 servers, each of one job")
async def test_fifty_at_once(site, many):
    site.gateway.traffic.clear()
    said = site.hub.log.stat().st_size
    answers = await asyncio.gather(*map(press_start, many))
    assert set(answers) <= {201, 202}
    for user in many:
        await eventually(user.serves, within=60)
        assert len(await jobs_ever(site, user)) == 1
    log = site.hub.log_since(said)
    assert not re.search(r"SSH channel|Launch \w+: the submit|can't tell their state", log)
    assert not re.search(r"^\[E ", log, re.MULTILINE)
    peaks = site.gateway.traffic.peaks
    assert max(peaks[user.account.name] for user in many) * SESSIONS_OF_A_LOOK <= SSHD_SESSIONS


@pytest.mark.fault(
    "Somebody presses Start in two tabs at the same moment", sees="In both the same server, of one job"
)
async def test_two_tabs(site, user):
    alice = await user()
    answers = await asyncio.gather(press_start(alice), press_start(alice))
    assert max(answers) < 500
    await eventually(alice.serves)
    assert len(await jobs_ever(site, alice)) == 1


@pytest.mark.fault("A job claims another user's launch, before and after its own job does", sees="Nothing")
async def test_claim_of_anothers_launch(site, user):
    alice, bob = await user("alice"), await user("bob")
    await bob.has_ready()
    await alice.begin(environment="unclaimed")
    await alice.reaches("submitted")
    ticket = await ticket_of(site, alice)
    for _ in range(2):
        claim = Claim(ticket, new_nonce(), await bob.job(), "nid001", "6.1.1")
        assert await posted(site, "claim", encode(claim)) == 409
        alice.goes_on()
        await eventually(alice.serves)
    assert alice.record["job_id"] == await alice.job()
    assert await bob.serves()


@pytest.mark.fault(
    "The messages of a running launch come once more, and some that look like them", sees="Nothing"
)
async def test_messages_of_a_running_launch_again(site, user):
    alice = await user()
    await alice.has_ready()
    before = alice.record
    claim = Claim(await ticket_of(site, alice), before["nonce"], before["job_id"], "nid001", "6.1.1")
    assert await posted(site, "claim", encode(claim)) == 409
    for sequence in (1, 2**40):
        elsewhere = Event(before["launch_id"], EventKind.READY, sequence, address="127.0.0.1", port=50000)
        assert await send(site, elsewhere) == 200
    stopping = Event(before["launch_id"], EventKind.STOPPING, 2, reason="exit", exit_code=0)
    assert await send(site, stopping) == 200
    assert alice.record == before
    assert await alice.serves()


@pytest.mark.fault(
    "The messages of a launch that is over come once more, beside the next one", sees="Nothing"
)
async def test_messages_of_an_earlier_launch_again(site, user):
    alice = await user()
    await alice.has_ready()
    old, ticket = alice.record, await ticket_of(site, alice)
    await alice.end()
    await alice.has_ready()
    claim = Claim(ticket, old["nonce"], old["job_id"], "nid001", "6.1.1")
    assert await posted(site, "claim", encode(claim)) == 410
    assert await posted(site, "events", encode(ScriptExit(ticket, 1))) == 410
    for kind, words in ((EventKind.READY, {"address": "127.0.0.1", "port": 50000}), (EventKind.STOPPING, {})):
        assert await send(site, Event(old["launch_id"], kind, 2**40, **words)) == 410
    assert await alice.serves()
    assert len(await alice.jobs()) == 1


@pytest.mark.fault(
    "The hub's clock is slow: FirecREST takes tokens for expired that the hub takes for good",
    sees="The server; the log-in is renewed once",
)
async def test_clock_skew(site, user, faults):
    alice = await user()
    renewals = Counter(site.identity.token_requests)
    renewal = ("refresh_token", alice.account.name)

    async def takes_new_ones(_, call):
        if site.identity.token_requests[renewal] > renewals[renewal]:
            return await call()
        return Answer(401, {"errorType": "error", "message": "Access token expired"})

    faults.add(takes_new_ones, user=alice.account.name)
    await alice.has_ready()
    assert await alice.serves()
    assert site.identity.token_requests[renewal] == renewals[renewal] + 1


@pytest.mark.fault(
    "All of the above: does it keep the hub's event loop?", sees="Nothing: our code never does for 50 ms"
)
async def test_event_loop(site, user):
    alice = await user()
    await alice.has_ready()
    lines = (site.state / "hub/steps.jsonl").read_text().splitlines()
    steps = [step for step in map(json.loads, lines) if step["ended"] > site.answers_since]
    ours = [step for step in steps if step["where"]]
    longest = [(step["worked"] * step["ours"], step["where"]) for step in ours]
    assert max(longest, default=(0.0, ""))[0] < BLINK, max(longest)
    # A busy machine may stop anything, anywhere; what really waits does so for everybody. The hub's database
    # is asked in the event loop by JupyterHub's own design.
    waits = Counter(step["where"] for step in ours if step["stood"] > BLINK and not step["database"])
    assert max(waits.values(), default=0) < len(MANY) / 5, waits


async def ticket_of(site, user):
    """Return the ticket that stands in the script of somebody's job."""
    job = await site.scheduler.job(await user.job())
    return re.search(r"^launch_ticket=([0-9a-f]{64})$", job.script, re.MULTILINE)[1]


async def send(site, event):
    """Send an event as its own node would sign it; return the status of the answer."""
    body = encode(event)
    return await posted(site, "events", body, sign(launch_key(site, event.launch_id), body))
