"""What is shown of jobs."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest
from firecrest.FirecrestException import UnexpectedStatusException
from firecrest.v2 import AsyncFirecrest

from launcher.errors import SandboxError
from launcher.sandbox.gateway import Gateway
from launcher.sandbox.scheduler import Job

from .kit import (
    FIRST,
    OPERATOR,
    SCRIPT,
    START,
    Memory,
    cancelled_while_pending,
    client,
    ended,
    error,
    running,
)


def in_the_answer(**changes: Any) -> dict[str, Any]:
    """The recorded answer for the job `FIRST`, with other fields."""
    return {
        "jobId": "3",
        "name": "first",
        "status": {"state": "PENDING", "stateReason": "None", "exitCode": None, "interruptSignal": None},
        "tasks": [],
        "time": {"elapsed": 0, "start": None, "end": None, "suspended": None, "limit": 300},
        "account": "proj1",
        "allocationNodes": 1,
        "cluster": "cluster",
        "group": "alice",
        "nodes": "",
        "partition": "normal",
        "killRequestUser": None,
        "user": "alice",
        "workingDirectory": "/home/alice",
        "priority": 4294901757,
        **changes,
    }


def step(
    state: str, exit_code: int = 0, signal: int = 0, *, elapsed: int = 12, end: int | None = START + 12
) -> list[Any]:
    return [
        {
            "id": "3.batch",
            "name": "batch",
            "status": {"state": state, "stateReason": None, "exitCode": exit_code, "interruptSignal": signal},
            "time": {"elapsed": elapsed, "start": START, "end": end, "suspended": 0, "limit": None},
        }
    ]


def status(state: str, exit_code: int = 0, signal: int = 0, reason: str = "None") -> dict[str, Any]:
    return {"state": state, "stateReason": reason, "exitCode": exit_code, "interruptSignal": signal}


ENDED = {"elapsed": 12, "start": START, "end": START + 12, "suspended": 0, "limit": 300}


@pytest.mark.parametrize(
    ("job", "answer"),
    [
        pytest.param(FIRST, in_the_answer(), id="just submitted"),
        pytest.param(
            replace(FIRST, reason="Resources", start=START, end=START + 300),
            in_the_answer(
                status={
                    "state": "PENDING",
                    "stateReason": "Resources",
                    "exitCode": None,
                    "interruptSignal": None,
                },
                time={"elapsed": 0, "start": START, "end": START + 300, "suspended": None, "limit": 300},
            ),
            id="waits",
        ),
        pytest.param(
            running(FIRST),
            in_the_answer(
                status=status("RUNNING"),
                tasks=step("RUNNING", elapsed=4, end=None),
                time={"elapsed": 4, "start": START, "end": None, "suspended": 0, "limit": 300},
                nodes="nid001",
            ),
            id="running",
        ),
        pytest.param(
            ended(FIRST, "COMPLETED"),
            in_the_answer(status=status("COMPLETED"), tasks=step("COMPLETED"), time=ENDED, nodes="nid001"),
            id="completed",
        ),
        pytest.param(
            ended(FIRST, "FAILED", 3),
            in_the_answer(status=status("FAILED", 3), tasks=step("FAILED", 3), time=ENDED, nodes="nid001"),
            id="failed",
        ),
        pytest.param(
            ended(FIRST, "FAILED", 0, 9),
            in_the_answer(
                status=status("FAILED", 0, 9), tasks=step("CANCELLED", 0, 9), time=ENDED, nodes="nid001"
            ),
            id="killed",
        ),
        pytest.param(
            ended(FIRST, "CANCELLED by 1001", 0, 15),
            in_the_answer(
                status=status("CANCELLED by 1001", 0, 15),
                tasks=step("CANCELLED", 0, 15),
                time=ENDED,
                nodes="nid001",
            ),
            id="cancelled while running",
        ),
        pytest.param(
            cancelled_while_pending(FIRST),
            in_the_answer(
                status=status("CANCELLED by 1001"),
                time={"elapsed": 0, "start": None, "end": START + 12, "suspended": 0, "limit": 300},
                nodes="None assigned",
                allocationNodes=0,
            ),
            id="cancelled while pending",
        ),
    ],
)
async def test_a_job_looks_as_it_was_recorded(
    alice: AsyncFirecrest, scheduler: Memory, job: Job, answer: dict[str, Any]
) -> None:
    scheduler.held["3"] = job
    assert await alice.job_info("sandbox", "3") == [answer]
    assert await alice.job_info("sandbox") == [answer]


async def test_anybody_sees_a_job_by_its_id(gateway: Gateway, scheduler: Memory) -> None:
    scheduler.held["3"] = FIRST
    async with client(gateway, "bob") as bob:
        [job] = await bob.job_info("sandbox", "3")
    assert job["user"] == "alice"


@pytest.mark.parametrize("job_id", ["99999", "99999999999999"])
async def test_an_unknown_job_is_not_found(alice: AsyncFirecrest, job_id: str) -> None:
    for question in (alice.job_info, alice.job_metadata):
        with pytest.raises(UnexpectedStatusException) as caught:
            await question("sandbox", job_id)
        [answer] = caught.value.responses
        assert (answer.status_code, answer.json()) == (404, error("Job not found."))


async def test_a_job_id_with_letters_is_what_sacct_says_of_it(http: httpx.AsyncClient) -> None:
    answer = await http.get("/compute/sandbox/jobs/abc")
    words = (
        "Unexpected Slurm command response. exit_status:1 std_err:sacct: fatal: Bad job/step specified: abc\n"
    )
    assert (answer.status_code, answer.json()) == (
        500,
        error("Error executing Slurm command.", caused_by=[words]),
    )
    assert (await http.get("/compute/sandbox/jobs/3;ls")).status_code == 400


async def test_lists_filter_by_owner_account_name_and_window(gateway: Gateway, scheduler: Memory) -> None:
    long_ago = replace(ended(FIRST, "COMPLETED"), start=START - 90_000, end=START - 89_000)
    scheduler.held = {
        "3": FIRST,
        "4": replace(FIRST, id="4", account_name="bob"),
        "5": replace(FIRST, id="5", project="proj2"),
        "6": replace(FIRST, id="6", name="jupyter"),
        "7": replace(long_ago, id="7"),
        "8": replace(ended(FIRST, "TIMEOUT"), id="8"),
    }

    async with client(gateway) as alice:

        async def ids(**filters: Any) -> list[str]:
            return [job["jobId"] for job in await alice.job_info("sandbox", **filters)]

        assert await ids() == ["3", "5", "6", "8"]
        assert await ids(allusers=True) == ["3", "4", "5", "6", "8"]
        assert await ids(account="proj2") == ["5"]
        assert await ids(name="jupyter") == ["6"]
        assert await ids(time_window="3d") == ["3", "5", "6", "7", "8"]
        assert await ids(name="nosuch") == []
        with pytest.raises(UnexpectedStatusException) as caught:
            await ids(time_window="2h")
    assert caught.value.responses[-1].status_code == 400


async def test_one_job_with_a_bar_in_its_name_spoils_lists_that_show_it(
    gateway: Gateway, scheduler: Memory
) -> None:
    scheduler.held = {
        "3": replace(FIRST, name="jupyter"),
        "4": replace(FIRST, id="4", account_name="bob", name="a|b"),
    }
    async with client(gateway) as alice:
        assert len(await alice.job_info("sandbox")) == 1
        assert len(await alice.job_info("sandbox", allusers=True, name="jupyter")) == 1
        for question in ({"allusers": True}, {"jobid": "4"}):
            with pytest.raises(UnexpectedStatusException) as caught:
                await alice.job_info("sandbox", **question)
            assert caught.value.responses[-1].status_code == 500


async def test_private_jobs_are_their_owners_alone(gateway: Gateway, scheduler: Memory) -> None:
    scheduler.held["3"] = running(FIRST)
    gateway.private_jobs = True
    async with client(gateway) as alice, client(gateway, OPERATOR) as operator:
        assert len(await alice.job_info("sandbox", "3")) == 1
        assert len(await alice.job_info("sandbox", allusers=True)) == 1
        assert await operator.job_info("sandbox", allusers=True) == []
        for look in (operator.job_info, operator.job_metadata):
            with pytest.raises(UnexpectedStatusException) as caught:
                await look("sandbox", "3")
            assert caught.value.responses[-1].status_code == 404
        await operator.cancel_job("sandbox", "3")
    assert scheduler.held["3"].state.startswith("CANCELLED")


async def test_the_script_is_shown_to_its_owner_only(gateway: Gateway, scheduler: Memory) -> None:
    scheduler.held["3"] = FIRST
    files = {
        "jobId": "3",
        "standardInput": "/dev/null",
        "standardOutput": "/home/alice/out-3.txt",
        "standardError": "/home/alice/out-3.txt",
    }
    for user, script in (("alice", SCRIPT), ("bob", ""), (OPERATOR, "")):
        async with client(gateway, user) as firecrest:
            assert await firecrest.job_metadata("sandbox", "3") == [{**files, "script": script}]


@pytest.mark.parametrize("down", [True, False], ids=["refuses", "stalls"])
async def test_a_scheduler_that_does_not_answer(
    impatient: AsyncFirecrest, scheduler: Memory, down: bool
) -> None:
    scheduler.held["3"] = FIRST
    if down:
        scheduler.refusal = SandboxError("Unable to contact slurm controller")
    else:
        scheduler.stalled = asyncio.Event()
    for question, expected in (
        (impatient.job_info("sandbox"), (500, "Error executing Slurm command.")),
        (impatient.job_info("sandbox", "3"), (500, "Error executing Slurm command.")),
        (impatient.job_metadata("sandbox", "3"), (500, "()")),
        (impatient.cancel_job("sandbox", "3"), (408, "Command execution timeout limit exceeded.")),
    ):
        with pytest.raises(UnexpectedStatusException) as caught:
            await question
        [answer] = caught.value.responses
        assert (answer.status_code, answer.json()["message"]) == expected
    if scheduler.stalled:
        scheduler.stalled.set()


async def test_one_identity_has_five_status_calls_at_once(gateway: Gateway, scheduler: Memory) -> None:
    scheduler.held["3"] = FIRST
    scheduler.stalled = asyncio.Event()
    async with client(gateway) as alice, client(gateway, "bob") as bob:
        mine = [asyncio.create_task(alice.job_info("sandbox", "3")) for _ in range(6)]
        with pytest.raises(UnexpectedStatusException) as caught:
            await next(asyncio.as_completed(mine))
        assert caught.value.responses[-1].json() == error("Unable to open a new SSH channel.")
        theirs = asyncio.create_task(bob.job_info("sandbox", "3"))
        scheduler.stalled.set()
        answers = await asyncio.gather(*mine, return_exceptions=True)
        assert sum(isinstance(answer, list) for answer in answers) == 5
        assert len(await theirs) == 1
