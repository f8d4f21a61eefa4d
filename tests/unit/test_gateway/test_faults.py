"""Faults that a test can put into the gateway's answers."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from firecrest.FirecrestException import UnexpectedStatusException
from firecrest.v2 import AsyncFirecrest

from launcher.sandbox.gateway import Answer, Gateway

from .kit import FIRST, SCRIPT, Memory, error, running


async def test_faults_act_as_often_as_they_are_told(gateway: Gateway, alice: AsyncFirecrest) -> None:
    fault = gateway.faults.error(500, "down", method="GET", path="/compute/{system}/jobs", times=2)
    for _ in range(2):
        with pytest.raises(UnexpectedStatusException) as caught:
            await alice.job_info("sandbox")
        assert caught.value.responses[-1].json() == error("down", user=None)
    assert await alice.job_info("sandbox") == []
    assert fault.hits == 2


async def test_faults_act_until_they_are_removed_and_only_where_they_match(
    gateway: Gateway, alice: AsyncFirecrest
) -> None:
    with gateway.faults.error(502, "proxy", path="/compute/*") as fault:
        assert await alice.systems()
        with pytest.raises(UnexpectedStatusException):
            await alice.job_info("sandbox")
    assert await alice.job_info("sandbox") == []
    assert fault.hits == 1


async def test_a_hanging_call_ends_with_its_fault(gateway: Gateway, alice: AsyncFirecrest) -> None:
    with gateway.faults.hang():
        alice.timeout = 0.05
        with pytest.raises(httpx.TimeoutException):
            await alice.systems()
    alice.timeout = 10
    fault = gateway.faults.hang()
    hanging = asyncio.create_task(alice.systems())
    await asyncio.wait_for(fault.acted.wait(), 30)
    fault.remove()
    with pytest.raises(httpx.RemoteProtocolError):
        await hanging


@pytest.mark.parametrize("kind", ["hang", "drop", "answer", "error"])
async def test_a_lost_answer_to_a_submit_leaves_a_job(
    gateway: Gateway, alice: AsyncFirecrest, scheduler: Memory, kind: str
) -> None:
    arguments: dict[str, tuple[Any, ...]] = {
        "answer": (Answer(502, "<html>Bad Gateway</html>"),),
        "error": (500, "('Channel not open for sending',)"),
    }
    fault = getattr(gateway.faults, kind)(*arguments.get(kind, ()), method="POST", after=True)
    submit = asyncio.create_task(alice.submit("sandbox", working_dir="/", script_str=SCRIPT))
    await asyncio.wait_for(scheduler.taken.wait(), 30)
    fault.remove()
    with pytest.raises((httpx.TransportError, UnexpectedStatusException)):
        await submit
    assert list(scheduler.known) == ["3"]


async def test_answers_can_be_late_empty_changed_or_cut(
    gateway: Gateway, alice: AsyncFirecrest, scheduler: Memory
) -> None:
    scheduler.known["3"] = running(FIRST)
    with gateway.faults.delay(0.01):
        assert len(await alice.job_info("sandbox")) == 1
    with gateway.faults.empty():
        assert await alice.job_info("sandbox") == []
    with gateway.faults.state("LUNCH", "Hunger"):
        [job] = await alice.job_info("sandbox", "3")
        assert job["status"]["state"] == "LUNCH"
        assert job["status"]["stateReason"] == "Hunger"
    with gateway.faults.backwards():
        [job] = await alice.job_info("sandbox", "3")
        assert job["status"]["state"] == "PENDING"
        assert (job["name"], job["nodes"], job["partition"]) == ("allocation", "nid001", "")
    with gateway.faults.truncate(), pytest.raises(httpx.RemoteProtocolError):
        await alice.job_info("sandbox")
    with gateway.faults.answer(Answer(200, '{"jobs": [')), pytest.raises(json.JSONDecodeError):
        await alice.job_info("sandbox")
