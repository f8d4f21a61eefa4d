"""Jobs and nodes do what nobody asked them for."""

from __future__ import annotations

import asyncio

import pytest
from fault_site import MANY
from support import eventually

from launcher.sandbox.scheduler import JobState

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.fault(
    "A job is requeued before it has claimed its launch",
    sees="The pending page; then the server, of the same job",
)
async def test_requeued_before_the_claim(site, user):
    alice = await user()
    await alice.begin(environment="unclaimed")
    job_id = await alice.reaches("submitted")
    await eventually(alice.runs)
    site.scheduler.requeue(job_id, after=1)
    alice.goes_on()
    await eventually(alice.serves)
    assert await alice.job() == job_id


@pytest.mark.fault(
    "A job is requeued after it has claimed its launch",
    sees="Why the start failed: job id, exit code, the job's log",
)
async def test_requeued_after_the_claim(site, user):
    alice = await user()
    await alice.begin(environment="claimed")
    job_id = await alice.reaches("claimed")
    site.scheduler.requeue(job_id, after=1)
    failed = (await alice.progress())[-1]
    assert failed["failed"]
    assert f"Job {job_id} ended before JupyterLab was ready" in failed["message"]
    assert "exit code 21" in failed["message"]
    assert "This launch was claimed by another process" in failed["message"]
    await eventually(alice.no_jobs)


@pytest.mark.fault("A job is requeued while its server runs", sees="The server is stopped")
async def test_requeued_while_the_server_runs(site, user):
    alice = await user()
    await alice.has_ready()
    site.scheduler.requeue(await alice.job(), after=1)
    await eventually(alice.is_stopped)
    await eventually(alice.no_jobs)
    await alice.has_ready()


@pytest.mark.fault(
    "A node dies while JupyterLab starts", sees="Why the start failed: job id, NODE_FAIL, what to do"
)
async def test_node_dies_during_a_start(site, user):
    alice = await user()
    await alice.begin(environment="starting")
    job_id = await alice.reaches("claimed")
    site.scheduler.end(job_id, JobState.NODE_FAIL, at_once=True)
    failed = (await alice.progress())[-1]
    assert failed["failed"]
    assert f"Job {job_id} ended" in failed["message"]
    assert "NODE_FAIL" in failed["message"]


@pytest.mark.fault(
    "A node dies under a server, and its user presses Stop and Start", sees="The server stops; a new one"
)
async def test_node_dies_under_a_server(site, user):
    alice = await user()
    await alice.has_ready()
    first = await alice.job()
    site.scheduler.end(first, JobState.NODE_FAIL, at_once=True)
    await eventually(alice.no_jobs)
    await alice.end()
    await alice.has_ready()
    assert await alice.job() != first


@pytest.mark.fault(
    "A submit is carried out twice", sees="The server; of the job that nobody wants, nothing: it is cancelled"
)
async def test_two_submits(site, user, faults):
    alice = await user()

    async def twice(_, call):
        await call()
        return await call()

    said = site.hub.log.stat().st_size
    site.scheduler.slots = 0
    with faults.add(twice, method="POST", user=alice.name):
        await alice.begin()
        job_id = await alice.reaches("submitted")
    (other,) = set(await alice.jobs()) - {job_id}
    await eventually(lambda: only(alice, job_id))
    await eventually(lambda: told(site, said, f"Job {other} of {alice.name} on sandbox was cancelled"))
    site.scheduler.slots = MANY
    await eventually(alice.serves)


async def told(site, said, words):
    return words in site.hub.log_since(said)


async def only(someone, job_id):
    return await someone.jobs() == [job_id]


@pytest.mark.fault("Stop is pressed at any moment of a start", sees="The start ends")
async def test_stop_at_any_moment(site, user):
    alice = await user()
    # The first before the submit is answered, the last when the server is ready or almost.
    for pause in (0.0, 0.05, 0.15, 0.3, 0.5, 0.8):
        await alice.begin()
        await asyncio.sleep(pause)
        answer = await alice.api("DELETE", f"users/{alice.name}/server")
        assert answer.status_code in (202, 204), pause
        await alice.end()
        assert await alice.no_jobs(), pause
