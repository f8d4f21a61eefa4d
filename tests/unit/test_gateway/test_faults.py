"""Faults that a test can put into the gateway's answers."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from firecrest.FirecrestException import UnexpectedStatusException
from firecrest.v2 import AsyncFirecrest

from launcher.sandbox.gateway import Answer, Gateway

from .kit import FIRST, OPERATOR, SCRIPT, Memory, client, error, running


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
    assert list(scheduler.held) == ["3"]


async def test_answers_can_be_late_empty_changed_or_cut(
    gateway: Gateway, alice: AsyncFirecrest, scheduler: Memory
) -> None:
    scheduler.held["3"] = running(FIRST)
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


JOBS, JOB = "/compute/sandbox/jobs", "/compute/sandbox/jobs/3"
SUBMISSION = {"job": {"working_directory": "/", "script": SCRIPT}}
CALLS = {
    "status": ("GET", JOB),
    "list": ("GET", JOBS),
    "userinfo": ("GET", "/status/sandbox/userinfo"),
    "nodes": ("GET", "/status/sandbox/nodes"),
    "metadata": ("GET", f"{JOB}/metadata"),
    "submit": ("POST", JOBS),
    "cancel": ("DELETE", JOB),
}


async def statuses(http: httpx.AsyncClient) -> dict[str, int]:
    """Return the status of each call's answer."""
    return {
        name: (await http.request(method, path, json=SUBMISSION if method == "POST" else None)).status_code
        for name, (method, path) in CALLS.items()
    }


async def healthy(http: httpx.AsyncClient) -> bool:
    async with asyncio.timeout(30):
        while True:
            [system] = (await http.get("/status/systems")).json()["systems"]
            if system["servicesHealth"] is not None:
                return all(service["healthy"] for service in system["servicesHealth"])
            await asyncio.sleep(0.01)


async def test_without_accounting_nobody_is_told_of_jobs_and_all_else_works(
    gateway: Gateway, http: httpx.AsyncClient, scheduler: Memory
) -> None:
    scheduler.held["3"] = running(FIRST)
    with gateway.faults.accounting_down():
        assert await statuses(http) == {
            "status": 500,
            "list": 500,
            "userinfo": 500,
            "nodes": 200,
            "metadata": 200,
            "submit": 201,
            "cancel": 204,
        }
        assert await healthy(http)
    assert (await http.get(JOBS)).status_code == 200


async def test_a_controller_that_is_down_gives_the_errors_of_each_command_until_it_is_noticed(
    gateway: Gateway, http: httpx.AsyncClient, scheduler: Memory
) -> None:
    scheduler.held["3"] = running(FIRST)
    with gateway.faults.controller_down(noticed=False, after=0.001):
        assert await statuses(http) == {
            "status": 500,
            "list": 500,
            "userinfo": 200,
            "nodes": 500,
            "metadata": 500,
            "submit": 500,
            "cancel": 408,
        }
        assert (await http.get(f"{JOB}/metadata")).json()["message"] == "()"
    assert list(scheduler.held) == ["3"]
    assert scheduler.held["3"].state == "RUNNING"


async def test_a_controller_that_is_known_to_be_down_makes_all_jobs_unavailable_at_once(
    gateway: Gateway, http: httpx.AsyncClient
) -> None:
    assert await healthy(http)
    with gateway.faults.controller_down(noticed=True):
        assert not await healthy(http)
        found = await statuses(http)
        assert {found[name] for name in ("status", "list", "metadata", "submit", "cancel")} == {503}
        answer = (await http.get(JOBS)).json()
        assert answer["message"] == "The scheduler service for the requested system (sandbox) is unhealthy."


async def test_too_many_commands_of_one_caller_are_refused_in_sshs_words(
    gateway: Gateway, http: httpx.AsyncClient
) -> None:
    with gateway.faults.ssh_busy():
        answer = await http.get(JOBS)
        assert (answer.status_code, answer.json()["message"]) == (500, "Unable to open a new SSH channel.")
        assert await healthy(http)


async def test_a_fault_can_be_one_callers(gateway: Gateway, alice: AsyncFirecrest) -> None:
    with gateway.faults.error(401, "Access token expired", user="service-account-*") as fault:
        assert await alice.job_info("sandbox") == []
        async with client(gateway, OPERATOR) as operator:
            with pytest.raises(UnexpectedStatusException):
                await operator.job_info("sandbox")
    assert fault.hits == 1


async def test_a_list_can_lack_some_jobs(gateway: Gateway, alice: AsyncFirecrest, scheduler: Memory) -> None:
    scheduler.held |= {"3": running(FIRST), "4": replace(running(FIRST), id="4")}
    with gateway.faults.leaving_out("3"):
        assert [job["jobId"] for job in await alice.job_info("sandbox")] == ["4"]
        assert [job["jobId"] for job in await alice.job_info("sandbox", "3")] == ["3"]


async def test_an_unknown_state_leaves_what_has_none_alone(
    gateway: Gateway, alice: AsyncFirecrest, scheduler: Memory
) -> None:
    scheduler.held["3"] = running(FIRST)
    with gateway.faults.state("LUNCH"), gateway.faults.backwards():
        assert (await alice.job_metadata("sandbox", "3"))[0]["script"] == SCRIPT


async def test_a_late_answer_may_be_that_of_a_call_that_was_carried_out_at_once(
    gateway: Gateway, alice: AsyncFirecrest, scheduler: Memory
) -> None:
    with gateway.faults.delay(3600, after=True):
        submit = asyncio.create_task(alice.submit("sandbox", working_dir="/", script_str=SCRIPT))
        await asyncio.wait_for(scheduler.taken.wait(), 30)
        submit.cancel()
        await asyncio.gather(submit, return_exceptions=True)
    assert list(scheduler.held) == ["3"]
