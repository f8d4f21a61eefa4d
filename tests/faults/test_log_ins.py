"""Log-ins expire, and nobody gives new tokens."""

from __future__ import annotations

import asyncio

import pytest
from fault_site import MANY, Visitor
from support import Robot, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

USED_UP = 1.5
"""Seconds after which a token is so old that it must be renewed."""


async def expired(site, someone):
    """Let a log-in expire."""
    await asyncio.sleep(USED_UP)
    site.identity.expire_refresh_tokens(someone.name)


@pytest.mark.fault("A log-in expires while a server runs, and its user presses Stop", sees="The server stops")
async def test_expired_and_stop(site, crowd, user):
    await crowd.newcomer("alice")
    alice = await user("alice")
    await alice.has_ready()
    await expired(site, alice)
    await alice.end()
    await crowd.newcomer("alice")


@pytest.mark.fault(
    "A log-in has expired; somebody presses Start",
    sees="Your log-in has expired, with a link to log in again; then Start works",
)
async def test_expired_and_start(site, crowd, user, users):
    alice = await crowd.newcomer("alice")
    await expired(site, alice)
    failed = (await alice.start())[-1]
    assert failed["failed"]
    assert "Your log-in has expired" in failed["message"]
    assert "/hub/oauth_login?" in failed["html_message"]
    await crowd.newcomer("alice")
    alice = await user("alice")
    await alice.has_ready()


@pytest.mark.fault(
    "A log-in expires while a job waits, and its user presses Stop",
    sees="The start ends; the job ends when it starts: the hub tells it that it is not wanted",
)
async def test_expired_and_stop_of_a_job_that_waits(site, crowd, user):
    await crowd.newcomer("alice")
    alice = await user("alice")
    site.scheduler.slots = 0
    await alice.begin()
    job_id = await alice.reaches("submitted")
    await expired(site, alice)
    await alice.api("DELETE", f"users/{alice.name}/server")
    await eventually(alice.is_stopped)
    assert await alice.jobs() == [job_id]
    site.scheduler.slots = MANY
    await eventually(alice.no_jobs)
    assert (await site.scheduler.job(job_id)).exit_code == 21
    await alice.end()
    await crowd.newcomer("alice")


@pytest.mark.fault("The token endpoint is down while a job waits", sees="The pending page; then the server")
async def test_endpoint_down_while_a_job_waits(site, crowd, user, token_faults):
    await crowd.newcomer("alice")
    alice = await user("alice")
    site.scheduler.slots = 0
    await alice.begin()
    await alice.reaches("submitted")
    with token_faults.error(503, user=alice.name) as fault:
        await fault.acted.wait()
        assert await alice.is_starting()
        site.scheduler.slots = MANY
        await eventually(alice.serves)


@pytest.mark.fault(
    "The token endpoint is down; somebody presses Start",
    sees="The identity provider did not renew your log-in; what to do; Start works once it is back",
)
async def test_endpoint_down_and_start(site, crowd, user, token_faults):
    await crowd.newcomer("alice")
    alice = await user("alice")
    await asyncio.sleep(USED_UP)
    with token_faults.error(503, user=alice.name):
        failed = (await alice.start())[-1]
    assert failed["failed"]
    assert "The identity provider did not renew your log-in" in failed["message"]
    assert "Try again in some minutes" in failed["message"]
    await eventually(lambda: starts(alice))


async def starts(someone):
    """Press Start, and tell whether that comes to a server: one who was refused a token asks again later."""
    return bool((await someone.start())[-1].get("ready"))


@pytest.mark.fault(
    "Somebody without a log-in, to whom no account is mapped, has Start pressed",
    sees="Your log-in can't be used to start a server",
)
async def test_unmapped(site, crowd, users):
    async with Robot(site) as robot:
        nobody = Visitor(site, "nobody", robot, crowd.account("bob"))
        await robot("POST", "users/nobody")
        answer = await nobody.api("POST", "users/nobody/server", {"user_options": {}})
        assert answer.status_code < 500
        assert "Your log-in can't be used to start a server" in answer.json()["message"]
        assert await nobody.no_jobs()
