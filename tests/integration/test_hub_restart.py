"""A hub that is killed forgets no live job, and leaves none behind."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from support import eventually, messages

pytestmark = pytest.mark.asyncio(loop_scope="module")


@contextlib.asynccontextmanager
async def killed_while_pending(site, someone, **options):
    """Kill and start the hub while a job of somebody's waits; yields the job's id."""
    slots, site.scheduler.slots = site.scheduler.slots, 0
    starting = asyncio.create_task(someone.start(**options))
    try:
        await eventually(someone.has_job)
        (job_id,) = await site.live_jobs(someone.name)
        await someone.progress(until=f"Submitted as job {job_id}")
        await site.hub.kill_hub()
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await site.hub.start_hub()
        yield job_id
    finally:
        site.scheduler.slots = slots


async def test_a_running_server_stays_usable_when_the_hub_is_killed_and_started_again(site, person):
    alice = await person()
    await alice.start()
    (job_id,) = await site.live_jobs(alice.name)
    await site.hub.kill_hub()
    await site.hub.start_hub()
    await eventually(alice.is_ready)
    assert await alice.compute() == "42\n"
    assert await site.live_jobs(alice.name) == [job_id]
    await alice.stop()


async def test_a_running_server_that_ended_while_the_hub_was_away_is_noticed(site, person):
    alice = await person()
    await alice.start()
    (job_id,) = await site.live_jobs(alice.name)
    await site.hub.kill_hub()
    await site.scheduler.cancel(site.accounts[alice.name], job_id)
    await eventually(alice.no_jobs)
    await site.hub.start_hub()

    await eventually(alice.is_stopped)
    assert (await alice.start())[-1].get("ready")


async def test_a_job_that_waited_through_a_restart_is_adopted_by_the_next_start(site, person):
    alice = await person()
    async with killed_while_pending(site, alice) as job_id:
        assert await alice.server_model() is None
        starting = asyncio.create_task(alice.start())
        await asyncio.sleep(1)
        assert await site.live_jobs(alice.name) == [job_id]
    said = messages(await starting)
    assert f"Found job {job_id}, submitted before the hub was restarted" in said
    assert await alice.compute() == "42\n"


async def test_a_start_with_other_options_replaces_a_job_that_waited_through_a_restart(site, person):
    alice = await person()
    async with killed_while_pending(site, alice, partition="normal") as job_id:
        pass
    # The old job may run by now: it must not survive the new one.
    assert (await alice.start(partition="debug", time=15))[-1].get("ready")
    assert job_id not in await site.live_jobs(alice.name)
    assert len(await site.live_jobs(alice.name)) == 1


async def test_a_job_that_nobody_wants_after_a_restart_ends_by_itself(site, person):
    alice = await person()
    async with killed_while_pending(site, alice):
        pass
    await eventually(alice.no_jobs)


async def test_stop_works_after_a_restart(site, person):
    alice = await person()
    await alice.start()
    await site.hub.kill_hub()
    await site.hub.start_hub()
    await eventually(alice.is_ready)
    await alice.stop()


async def test_a_job_that_can_not_reach_the_hub_tries_again_then_says_so_in_its_log(
    site, person, cluster_file
):
    cluster_file(claim_timeout=10)
    alice = await person()
    slots, site.scheduler.slots = site.scheduler.slots, 0
    starting = asyncio.create_task(alice.start())
    await eventually(alice.has_job)
    (job_id,) = await site.live_jobs(alice.name)
    await site.hub.kill_hub()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    try:
        site.scheduler.slots = slots
        await eventually(lambda: ended(site, job_id))
    finally:
        await site.hub.start_hub()
    job = await site.scheduler.job(job_id)
    assert (job.state, job.exit_code) == ("FAILED", 20)
    log = Path(job.standard_output).read_text()
    assert "no answer from the hub yet" in log
    assert "could not be reached from this node for 10 seconds" in log
    assert "Traceback" not in log


async def ended(site, job_id):
    return (await site.scheduler.job(job_id)).state not in ("PENDING", "RUNNING")


async def test_a_job_that_had_claimed_when_the_hub_was_killed_ends_by_itself(site, person):
    alice = await person()
    starting = asyncio.create_task(alice.start())
    await eventually(alice.has_job)
    await alice.progress(until="JupyterLab is starting")
    await site.hub.kill_hub()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await site.hub.start_hub()
    await eventually(alice.no_jobs)
    assert (await alice.start())[-1].get("ready")


async def test_a_job_that_nobody_knows_any_more_after_a_restart_is_given_up(site, person):
    alice = await person()
    await alice.start()
    (job_id,) = await site.live_jobs(alice.name)
    await site.hub.kill_hub()
    await site.scheduler.cancel(site.accounts[alice.name], job_id)
    await eventually(alice.no_jobs)
    with site.gateway.faults.error(404, "Job not found.", path="/compute/{system}/jobs/{job}"):
        await site.hub.start_hub()

        await eventually(alice.is_stopped, within=60)
    assert (await alice.start())[-1].get("ready")
