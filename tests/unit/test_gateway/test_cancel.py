"""Who may cancel which job."""

from dataclasses import replace

import pytest
from firecrest.FirecrestException import UnexpectedStatusException
from firecrest.v2 import AsyncFirecrest

from launcher.sandbox.gateway import Gateway

from .kit import FIRST, OPERATOR, SCRIPT, Memory, client, ended, error


async def test_cancelling_ones_own_job_has_no_words(alice: AsyncFirecrest, scheduler: Memory) -> None:
    scheduler.held["3"] = FIRST
    assert await alice.cancel_job("sandbox", "3") == {}
    [job] = await alice.job_info("sandbox", "3")
    assert job["status"]["state"] == "CANCELLED by 1001"


@pytest.mark.parametrize(
    ("user", "job_id", "words"),
    [
        ("alice", "99999", "Invalid job id specified"),
        ("alice", "4", "Job/step already completing or completed"),
        ("bob", "3", "Access/permission denied"),
        ("service-account-other", "3", "Access/permission denied"),
        ("service-account-other", "99999", "Invalid job id specified"),
    ],
)
async def test_a_job_that_can_not_be_cancelled_is_answered_in_the_words_of_scancel(
    gateway: Gateway, scheduler: Memory, user: str, job_id: str, words: str
) -> None:
    scheduler.held = {"3": FIRST, "4": replace(ended(FIRST, "COMPLETED"), id="4")}
    async with client(gateway, user) as firecrest:
        with pytest.raises(UnexpectedStatusException) as caught:
            await firecrest.cancel_job("sandbox", job_id)
    [answer] = caught.value.responses
    exit_status = 210 if "denied" in words else 0
    message = (
        f"Unexpected Slurm command response. exit_status:{exit_status} std_err:scancel: Terminating job "
        f"{job_id}\nscancel: error: Kill job error on job id {job_id}: {words}\n"
    )
    assert (answer.status_code, answer.json()) == (500, error(message, user=user))


async def test_a_service_account_lists_all_and_cancels_as_operator_but_submits_nothing(
    gateway: Gateway, scheduler: Memory
) -> None:
    scheduler.held["3"] = FIRST
    async with client(gateway, OPERATOR) as firecrest:
        assert await firecrest.job_info("sandbox") == []
        assert len(await firecrest.job_info("sandbox", allusers=True)) == 1
        assert await firecrest.cancel_job("sandbox", "3") == {}
        with pytest.raises(UnexpectedStatusException) as caught:
            await firecrest.submit("sandbox", working_dir="/", script_str=SCRIPT)
    [answer] = caught.value.responses
    assert (answer.status_code, answer.json()["message"]) == (500, "Unable to establish SSH connection.")
