"""The two addresses of the hub that compute nodes use, asked by anyone, with anything."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re

import httpx
import pytest
from support import eventually, messages, saved_record

from launcher.protocol import (
    MAX_MESSAGE_BYTES,
    SIGNATURE_HEADER,
    Claim,
    Event,
    EventKind,
    Pulling,
    ScriptExit,
    encode,
    new_nonce,
    new_ticket,
    parse_claim_answer,
    parse_refusal,
    sign,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@contextlib.asynccontextmanager
async def waiting_launch(site, someone):
    """A launch whose job never gets a node: the test is its node. Yields its ticket and its job id."""
    slots, site.scheduler.slots = site.scheduler.slots, 0
    starting = asyncio.create_task(someone.start())
    try:
        await eventually(someone.has_job)
        (job_id,) = await site.live_jobs(someone.name)
        job = await site.scheduler.job(job_id)
        yield ticket_in(job.script), job_id
    finally:
        await someone.stop()
        await starting
        site.scheduler.slots = slots


def ticket_in(script):
    return re.search(r"^launch_ticket=([0-9a-f]{64})$", script, re.MULTILINE)[1]


async def post(site, path, body, **headers):
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(f"{site.url}hub/api/launcher/{path}", content=body, headers=headers)


def claim_for(ticket, job_id, nonce=None):
    return Claim(ticket, nonce or new_nonce(), job_id, "nid001", "6.1.1")


async def test_a_wrong_ticket_gets_the_hubs_own_410(site):
    answer = await post(site, "claim", encode(claim_for(new_ticket(), "1")))
    assert answer.status_code == 410
    assert parse_refusal(answer.content)


async def test_a_claim_can_be_repeated_until_ready_but_not_by_another_process(site, person):
    alice = await person()
    async with waiting_launch(site, alice) as (ticket, job_id):
        claim = claim_for(ticket, job_id)
        first = await post(site, "claim", encode(claim))
        assert first.status_code == 200
        answer = parse_claim_answer(first.content)
        assert answer.environment["JUPYTERHUB_USER"] == alice.name
        assert parse_claim_answer((await post(site, "claim", encode(claim))).content) == answer
        assert (await post(site, "claim", encode(claim_for(ticket, job_id)))).status_code == 409
        other_job = claim_for(ticket, str(int(job_id) + 1), claim.nonce)
        assert (await post(site, "claim", encode(other_job))).status_code == 409
        assert f"Second claim for launch {answer.launch_id}" in site.hub.log.read_text()


async def test_a_claim_may_come_before_the_answer_to_the_submit(site, person):
    alice = await person()

    async def answer_late(_, carry_out):
        answer = await carry_out()
        await asyncio.sleep(3)
        return answer

    with site.gateway.faults.add(answer_late, method="POST"):
        async with waiting_launch(site, alice) as (ticket, job_id):
            assert not saved_record(site, alice.name)["job_id"]
            assert (await post(site, "claim", encode(claim_for(ticket, job_id)))).status_code == 200
            assert saved_record(site, alice.name)["job_id"] == job_id


async def test_a_job_whose_submit_was_not_answered_is_found(site, person):
    alice = await person()
    with site.gateway.faults.drop(method="POST", after=True, times=1):
        assert (await alice.start())[-1].get("ready")
    assert len(await site.live_jobs(alice.name)) == 1


async def test_a_waiting_job_whose_submit_was_not_answered_is_found_and_stopped(site, person):
    alice = await person()
    with site.gateway.faults.drop(method="POST", after=True, times=1):
        async with waiting_launch(site, alice) as (_, job_id):
            await eventually(lambda: knows_job(site, alice, job_id))
    assert await alice.no_jobs()


async def knows_job(site, someone, job_id):
    return saved_record(site, someone.name)["job_id"] == job_id


async def test_a_ticket_is_worthless_once_its_launch_was_stopped(site, person):
    alice = await person()
    async with waiting_launch(site, alice) as (ticket, job_id):
        pass
    assert (await post(site, "claim", encode(claim_for(ticket, job_id)))).status_code == 410


@pytest.mark.parametrize("path", ["claim", "events"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b'{"ticket": 1}',
        b"\xff\xfe",
        b"[" * 10_000,
        b'{"kind": "ready"}',
        json.dumps({"ticket": "a" * 64, "nonce": "b" * 64, "job_id": "1\n", "node": "n"}).encode(),
    ],
)
async def test_what_is_no_message_gets_400(site, path, body):
    answer = await post(site, path, body)
    assert answer.status_code == 400
    assert answer.json()["message"]


@pytest.mark.parametrize("path", ["claim", "events"])
async def test_an_oversize_body_gets_413_however_it_is_sent(site, path):
    body = b"x" * (MAX_MESSAGE_BYTES + 1)
    assert (await post(site, path, body)).status_code == 413

    async def chunks():
        yield body

    assert (await post(site, path, chunks())).status_code == 413


async def test_nobody_can_send_events_for_somebody_elses_launch(site, person):
    alice, bob = await person(), await person()
    await bob.start()
    async with waiting_launch(site, alice) as (ticket, job_id):
        answer = parse_claim_answer((await post(site, "claim", encode(claim_for(ticket, job_id)))).content)
        bobs = saved_record(site, bob.name)["launch_id"]
        body = encode(Event(bobs, EventKind.STOPPING, 2**62, reason="exit", exit_code=0))
        headers = {SIGNATURE_HEADER: sign(answer.launch_key, body)}
        assert (await post(site, "events", body, **headers)).status_code == 403
        assert (await post(site, "events", body)).status_code == 403
        assert await bob.compute() == "42\n"


@pytest.mark.parametrize(("address", "port"), [("192.0.2.1", 50000), ("127.0.0.1", 80), ("localhost", 50000)])
async def test_a_node_can_not_lead_the_proxy_elsewhere(site, person, address, port):
    alice = await person()
    async with waiting_launch(site, alice) as (ticket, job_id):
        answer = parse_claim_answer((await post(site, "claim", encode(claim_for(ticket, job_id)))).content)
        body = encode(Event(answer.launch_id, EventKind.READY, 1, address=address, port=port))
        refused = await post(site, "events", body, **{SIGNATURE_HEADER: sign(answer.launch_key, body)})
        assert refused.status_code == 422
        assert "reported a wrong address" in " ".join(messages(await failed_start(alice)))


async def failed_start(someone):
    """Return the events of a start that has failed."""
    await eventually(lambda: start_over(someone))
    return await someone.progress()


async def start_over(someone):
    return not (await someone.server_model() or {}).get("pending")


async def test_an_old_event_is_not_taken_twice(site, person):
    alice = await person()
    async with waiting_launch(site, alice) as (ticket, job_id):
        answer = parse_claim_answer((await post(site, "claim", encode(claim_for(ticket, job_id)))).content)
        starting = encode(Event(answer.launch_id, EventKind.STARTING, 5))
        headers = {SIGNATURE_HEADER: sign(answer.launch_key, starting)}
        for _ in range(2):
            assert (await post(site, "events", starting, **headers)).status_code == 200
        late = encode(Event(answer.launch_id, EventKind.READY, 4, address="127.0.0.1", port=50000))
        headers = {SIGNATURE_HEADER: sign(answer.launch_key, late)}
        assert (await post(site, "events", late, **headers)).status_code == 200
        assert (await alice.server_model())["pending"] == "spawn"


async def test_a_script_that_ends_early_fails_the_start_at_once(site, person):
    alice = await person()
    async with waiting_launch(site, alice) as (ticket, job_id):
        assert (await post(site, "events", encode(ScriptExit(ticket, 3)))).status_code == 200
        failed = (await failed_start(alice))[-1]
        assert failed["failed"]
        assert f"Job {job_id} ended before JupyterLab was ready (exit code 3)" in failed["message"]


async def test_a_script_that_pulls_an_image_is_followed_on_the_page_until_the_claim(site, person):
    alice = await person()
    image = "prgenv-gnu/24.11:v1"
    async with waiting_launch(site, alice) as (ticket, job_id):
        await eventually(lambda: knows_job(site, alice, job_id))
        other = encode(Pulling(ticket, "other/1:v1", job_id=str(int(job_id) + 1)))
        assert (await post(site, "events", other)).status_code == 200
        body = encode(Pulling(ticket, image, 12 * 10**8, 39 * 10**8, job_id))
        assert (await post(site, "events", body)).status_code == 200
        said = messages(await alice.progress(until="Pulling"))
        assert said[-1] == f"Pulling {image}, 1.2 of 3.9 GB: the first use of this image on this cluster"
        assert "other/1" not in " ".join(said)
        assert ticket not in site.hub.log.read_text()
        assert (await post(site, "claim", encode(claim_for(ticket, job_id)))).status_code == 200
        late = encode(Pulling(ticket, "late/1:v1", job_id=job_id))
        assert (await post(site, "events", late)).status_code == 200
        assert "late/1" not in " ".join(messages(await alice.progress(until="Running on")))
    assert (await post(site, "events", body)).status_code == 410


async def test_a_script_that_pulls_an_image_is_followed_by_the_next_hub(site, person, monkeypatch):
    alice = await person()
    monkeypatch.setattr(site.scheduler, "slots", 0)
    asked = asyncio.create_task(alice.api("POST", f"users/{alice.name}/server", {}))
    await eventually(alice.has_job)
    (job_id,) = await site.live_jobs(alice.name)
    await eventually(lambda: knows_job(site, alice, job_id))
    ticket = ticket_in((await site.scheduler.job(job_id)).script)
    await site.hub.kill_hub()
    await asyncio.gather(asked, return_exceptions=True)
    await site.hub.start_hub()
    body = encode(Pulling(ticket, "prgenv-gnu/24.11:v1", 12 * 10**8, 39 * 10**8, job_id))

    async def is_followed():
        known = (await alice.server_model() or {}).get("pending") == "spawn"
        return known and (await post(site, "events", body)).status_code == 200

    await eventually(is_followed)
    said = messages(await alice.progress(until="Pulling"))
    await alice.stop()
    assert "1.2 of 3.9 GB" in said[-1]
