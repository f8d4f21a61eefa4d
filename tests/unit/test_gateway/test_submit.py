"""What becomes of a submitted script."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import httpx
import pytest
from firecrest.FirecrestException import UnexpectedStatusException
from firecrest.v2 import AsyncFirecrest

from launcher.sandbox.accounts import Account
from launcher.sandbox.gateway import Gateway
from launcher.sandbox.scheduler import SubmitRefused

from .kit import SCRIPT, Memory, error


async def test_submit_answers_the_job_id_and_hands_everything_to_the_scheduler(
    alice: AsyncFirecrest, scheduler: Memory, accounts: Mapping[str, Account]
) -> None:
    answer = await alice.submit(
        "sandbox",
        working_dir="/home/alice",
        script_str=SCRIPT,
        account="proj2",
        partition="debug",
        reservation="course",
    )
    assert answer == {"jobId": "3"}
    assert scheduler.submitted == [
        {
            "account": accounts["alice"],
            "script": SCRIPT,
            "working_directory": "/home/alice",
            "environment": {"F7T_version": "v2.0.0"},
            "name": None,
            "project": "proj2",
            "partition": "debug",
            "reservation": "course",
            "constraints": None,
            "standard_input": None,
            "standard_output": None,
            "standard_error": None,
        }
    ]


async def test_submit_takes_camel_case_too(http: httpx.AsyncClient, scheduler: Memory) -> None:
    job = {
        "workingDirectory": "/home/alice",
        "script": SCRIPT,
        "standardOutput": "out",
        "name": "x",
        "env": {"A": "1"},
    }
    answer = await http.post("/compute/sandbox/jobs", json={"job": job})
    assert (answer.status_code, answer.json()) == (201, {"jobId": "3"})
    assert scheduler.submitted[0]["standard_output"] == "out"
    assert scheduler.submitted[0]["environment"] == {"A": "1"}


@pytest.mark.parametrize(
    ("words", "status", "exit_status"),
    [
        ("sbatch: error: invalid partition specified: nosuch\n", 500, 1),
        ("sbatch: unrecognized option '--nosuch=1'\nTry \"sbatch --help\" for more information\n", 500, 255),
        ("sbatch: error: Invalid --time specification\n", 500, 255),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit\n", 403, 1),
        ("sbatch: error: AssocMaxJobsLimit\n", 403, 1),
    ],
)
async def test_a_refused_job_is_answered_in_the_words_of_sbatch(
    alice: AsyncFirecrest, scheduler: Memory, words: str, status: int, exit_status: int
) -> None:
    scheduler.refusal = SubmitRefused(words, exit_status=exit_status)
    with pytest.raises(UnexpectedStatusException) as caught:
        await alice.submit("sandbox", working_dir="/", script_str=SCRIPT)
    [answer] = caught.value.responses
    message = f"Unexpected Slurm command response. exit_status:{exit_status} std_err:{words}"
    assert (answer.status_code, answer.json()) == (status, error(message))


async def test_an_empty_script_times_out(impatient: AsyncFirecrest, scheduler: Memory) -> None:
    with pytest.raises(UnexpectedStatusException) as caught:
        await impatient.submit("sandbox", working_dir="/", script_str="")
    [answer] = caught.value.responses
    assert (answer.status_code, answer.json()) == (408, error("Command execution timeout limit exceeded."))
    assert not scheduler.submitted


async def test_a_submit_that_failed_by_time_may_have_submitted(
    impatient: AsyncFirecrest, scheduler: Memory
) -> None:
    scheduler.stalled = asyncio.Event()
    with pytest.raises(UnexpectedStatusException) as caught:
        await impatient.submit("sandbox", working_dir="/", script_str=SCRIPT)
    [answer] = caught.value.responses
    assert (answer.status_code, answer.json()) == (500, error("('Channel not open for sending',)"))
    scheduler.stalled.set()
    await asyncio.wait_for(scheduler.taken.wait(), 30)
    assert list(scheduler.held) == ["3"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"job": {}}',
        b'{"job": {"script": "#!/bin/sh"}}',
        b'{"job": {"script": 1, "working_directory": "/"}}',
        b'{"job": {"script": "#!/bin/sh SECRET", "working_directory": "/", "env": ["SECRET"]}}',
    ],
)
async def test_a_bad_body_is_a_validation_error_that_repeats_nothing_of_it(
    http: httpx.AsyncClient, scheduler: Memory, body: bytes
) -> None:
    answer = await http.post("/compute/sandbox/jobs", content=body)
    assert answer.status_code == 400
    assert answer.json()["errorType"] == "validation"
    assert answer.json()["message"].startswith("1 validation error: body")
    assert "SECRET" not in answer.text
    assert not scheduler.submitted


async def test_a_body_over_five_mebibytes_is_cut_off(
    gateway: Gateway, http: httpx.AsyncClient, scheduler: Memory
) -> None:
    job = {"job": {"working_directory": "/", "script": "#!/bin/sh\n" + "#" * 5 * 1024 * 1024}}
    with suppress(httpx.TransportError):  # if the body was still on its way
        assert (await http.post("/compute/sandbox/jobs", json=job)).status_code == 400
    assert not scheduler.submitted
    assert (await http.get("/status/systems")).status_code == 200
