"""With a service account, and a database that was restored."""

from __future__ import annotations

import asyncio

import httpx
import pytest
import pytest_asyncio
from fault_site import MANY, Crowd, Visitor, launch_key, running
from support import Robot, eventually

from launcher.protocol import PROBE_PATH, new_nonce, probe_proof

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site():
    """A site whose hub has credentials of its own, and only reports strays."""
    async with running(
        service_account=True,
        service_token_lifetime=61,
        token_lifetime=300,
        user_accounts={"visitor": "bob"},
        spawner={"stop_timeout": 5, "strays": "report"},
    ) as site:
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def crowd(site):
    """Its users."""
    async with Crowd(site) as crowd:
        yield crowd


@pytest.mark.fault(
    "A log-in expires while a job waits, and its user presses Stop",
    sees="What the job waits for, as before; the start ends: the service account cancels the job",
)
async def test_expired_and_stop_of_a_job_that_waits(site, crowd, user):
    carol = await user("carol")
    site.scheduler.slots = 0
    await carol.begin()
    await carol.reaches("submitted")
    site.identity.expire_refresh_tokens(carol.name)
    site.gateway.faults.error(401, "Access token expired", user=carol.name)
    assert "waits for" in (await carol.progress(until="waits for"))[-1]["message"]
    await carol.end()
    assert await carol.no_jobs()
    await crowd.newcomer("carol")


@pytest.mark.fault(
    "The service account may not see jobs (PrivateData)",
    sees="What the job waits for: its owner is asked; then the server",
)
async def test_private_jobs(site, user):
    alice = await user()
    site.gateway.private_jobs = True
    site.scheduler.slots = 0
    await alice.begin()
    assert "waits for" in (await alice.progress(until="waits for"))[-1]["message"]
    site.scheduler.slots = MANY
    await eventually(alice.serves)


@pytest.mark.fault("The service account gets no token", sees="The pending page; then the server")
async def test_no_token_for_the_service_account(site, user, token_faults):
    alice = await user()
    site.scheduler.slots = 0
    await alice.begin()
    await alice.reaches("submitted")
    with token_faults.error(503, user="service-account-launcher") as fault:
        async with asyncio.timeout(30):
            await fault.acted.wait()
        assert await alice.is_starting()
        site.scheduler.slots = MANY
        await eventually(alice.serves)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def robot(site):
    """A program that acts for people who have no log-in."""
    async with Robot(site) as robot:
        yield robot


@pytest.mark.fault(
    "A program presses Start for somebody without a log-in, to whom an account is mapped", sees="The server"
)
async def test_mapped(site, crowd, users, robot):
    visitor = Visitor(site, "visitor", robot, crowd.account("bob"))
    users.append(visitor)
    await robot("POST", "users/visitor")
    await visitor.has_ready()
    assert await visitor.serves()
    assert len(await visitor.jobs()) == 1


@pytest.mark.fault(
    "The hub's database is restored from a copy that is older than a server, then the right one is put back",
    sees="The server can't be reached, but computes; then it is back",
)
async def test_older_database(site, crowd, user, tmp_path):
    await crowd.newcomer("alice")
    alice = await user("alice")
    site.hub.save_database(tmp_path / "older")
    await alice.has_ready()
    record = alice.record
    site.gateway.traffic.clear()
    await restored(site, tmp_path / "older", instead=tmp_path / "right")
    assert not alice.record

    async def looked_at():
        asked = site.gateway.traffic.by_user
        return asked[alice.name, "GET", "/compute/{system}/jobs/{job}/metadata"]

    await eventually(looked_at)
    assert await alice.job() == record["job_id"]
    assert await proves(site, alice, record)
    await restored(site, tmp_path / "right", instead=tmp_path / "older")
    await eventually(alice.serves)
    assert await alice.job() == record["job_id"]


async def restored(site, copy, *, instead):
    """Restart the hub with another database, and keep the one that it has."""
    await site.hub.kill_hub()
    site.hub.save_database(instead)
    site.hub.restore_database(copy)
    await site.hub.start_hub()


async def proves(site, someone, record):
    """Tell whether a server, asked directly, is that of a launch."""
    nonce = new_nonce()
    url = f"{record['url']}/user/{someone.name}/{PROBE_PATH}"
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(url, params={"nonce": nonce})
    return answer.text == probe_proof(launch_key(site, record["launch_id"]), nonce)
