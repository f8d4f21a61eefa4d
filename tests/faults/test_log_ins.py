"""Log-ins expire, and nobody gives new tokens."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
import pytest_asyncio
from fault_site import MANY, Visitor, held
from support import Robot, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

USED_UP = 1.5
"""Seconds after which a token is so old that it must be renewed."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def refused(site, crowd):
    """What each has seen while their tokens could not be renewed."""
    names = "alice", "bob", "carol", "dave", "erin"
    alice, bob, carol, dave, erin = [await crowd.newcomer(name) for name in names]
    await alice.has_ready()
    site.scheduler.slots = 0
    await asyncio.gather(carol.begin(), dave.begin())
    waiting = await carol.reaches("submitted")
    await dave.reaches("submitted")
    await asyncio.sleep(USED_UP)
    seen = SimpleNamespace()
    for each in (alice, bob, carol):
        site.identity.expire_refresh_tokens(each.name)
        site.gateway.faults.error(401, "Access token expired", user=each.name)
    down = {each: site.identity.faults.error(503, user=each.name) for each in (dave, erin)}
    seen.expired, seen.down, *_ = await asyncio.gather(
        bob.start(),
        erin.start(),
        *(each.api("DELETE", f"users/{each.name}/server") for each in (alice, carol)),
    )
    seen.stopped, _ = await asyncio.gather(held(alice.no_jobs), eventually(carol.is_stopped))
    seen.kept = await carol.jobs() == [waiting]
    async with asyncio.timeout(30):
        await down[dave].acted.wait()
    seen.waits = await dave.is_starting()
    site.scheduler.slots = MANY
    seen.ended, seen.served = await asyncio.gather(held(carol.no_jobs), held(dave.serves))
    seen.job = await site.scheduler.job(waiting)
    site.identity.faults.clear()
    site.gateway.faults.clear()
    alice, bob, carol = [await crowd.newcomer(each) for each in names[:3]]
    await bob.begin()
    seen.again = await held(bob.serves)
    await crowd.settle([alice, bob, carol, dave, erin])
    return seen


@pytest.mark.fault("A log-in expires while a server runs, and its user presses Stop", sees="The server stops")
async def test_expired_and_stop(refused, user):
    await user("alice")
    assert refused.stopped


@pytest.mark.fault(
    "A log-in has expired; somebody presses Start",
    sees="Your log-in has expired, with a link to log in again; then Start works",
)
async def test_expired_and_start(refused, user):
    await user("bob")
    failed = refused.expired[-1]
    assert failed["failed"]
    assert "Your log-in has expired" in failed["message"]
    assert "/hub/oauth_login?" in failed["html_message"]
    assert refused.again


@pytest.mark.fault(
    "A log-in expires while a job waits, and its user presses Stop",
    sees="The start ends; the job ends when it starts: the hub tells it that it is not wanted",
)
async def test_expired_and_stop_of_a_job_that_waits(refused, user):
    await user("carol")
    assert refused.kept
    assert refused.ended
    assert refused.job.exit_code == 21


@pytest.mark.fault("The token endpoint is down while a job waits", sees="The pending page; then the server")
async def test_endpoint_down_while_a_job_waits(refused, user):
    await user("dave")
    assert refused.waits
    assert refused.served


@pytest.mark.fault(
    "The token endpoint is down; somebody presses Start",
    sees="The identity provider did not renew your log-in, after some tries; what to do",
)
async def test_endpoint_down_and_start(refused, user):
    await user("erin")
    failed = refused.down[-1]
    assert failed["failed"]
    assert "The identity provider did not renew your log-in" in failed["message"]
    assert "Try again in some minutes" in failed["message"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def robot(site):
    """A program that acts for people who have no log-in."""
    async with Robot(site) as robot:
        yield robot


@pytest.mark.fault(
    "A program presses Start for somebody without a log-in, to whom no account is mapped",
    sees="Your log-in can't be used to start a server",
)
async def test_unmapped(site, crowd, users, robot):
    nobody = Visitor(site, "nobody", robot, crowd.account("bob"))
    users.append(nobody)
    await robot("POST", "users/nobody")
    answer = await nobody.api("POST", "users/nobody/server", {"user_options": {}})
    assert answer.status_code < 500
    assert "Your log-in can't be used to start a server" in answer.json()["message"]
    assert await nobody.no_jobs()
