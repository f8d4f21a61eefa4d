"""One launch, end to end, in a real Slurm."""

from __future__ import annotations

import asyncio
import re

import pytest
from support import eventually, messages, saved_record

from launcher.check import check

SCHEDULER = "slurm"

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def slurm(site, *command) -> str:
    status, output, words = await site.scheduler._run(list(command))
    assert status == 0, words
    return output


async def test_the_check_holds(site):
    account = next(iter(site.accounts))

    async def job_gone():
        return not await site.live_jobs(account.name)

    report = await check(site.url, username=account.name, password=account.password, job_gone=job_gone)
    assert report.ok, report.table()


async def test_two_people_run_at_once_as_themselves_on_one_machine(site, person):
    alice, bob = await person(), await person()
    await asyncio.gather(alice.start(), bob.start())
    code = "import os; print(os.getuid(), os.environ['SLURM_JOB_ID'])"
    seen = [(await each.compute(code)).split() for each in (alice, bob)]
    assert [int(uid) for uid, _ in seen] == [site.accounts[each.name].uid for each in (alice, bob)]
    assert [[job] for _, job in seen] == [await site.live_jobs(each.name) for each in (alice, bob)]


async def test_slurm_stores_no_secret_but_the_ticket(site, person):
    alice = await person()
    await alice.start()
    (job_id,) = await site.live_jobs(alice.name)
    stored = await slurm(site, "scontrol", "write", "batch_script", job_id, "-")
    shown = await slurm(site, "scontrol", "show", "job", job_id)
    ticket = re.search(r"^launch_ticket=([0-9a-f]{64})$", stored, re.MULTILINE)[1]
    token = (await alice.compute("import os; print(os.environ['JUPYTERHUB_API_TOKEN'])")).strip()
    record = saved_record(site, alice.name)
    for secret in (token, site.hub.client_secret, site.accounts[alice.name].password):
        assert secret not in stored + shown
    assert ticket not in shown
    assert f"# launch {record['launch_id']}" in stored
    # A ticket's hash, its script's hash and the launch id are all that looks random in it.
    assert set(re.findall(r"[0-9a-f]{32,}", stored)) == {ticket, record["launch_id"]}


async def test_a_job_that_waits_says_why_and_stop_cancels_it(site, person):
    alice = await person()
    await site.scheduler.operator.set_partition("debug", "DOWN")
    try:
        starting = asyncio.create_task(alice.start(partition="debug", time=15))
        await eventually(alice.has_job)
        (job_id,) = await site.live_jobs(alice.name)
        said = messages(await alice.progress(until="PartitionDown"))
        assert said[-1] == f"Job {job_id} waits for its partition, which is closed for now (PartitionDown)"
        assert (await alice.api("DELETE", f"users/{alice.name}/server")).status_code in (202, 204)
        await eventually(alice.no_jobs)
        await starting
    finally:
        await site.scheduler.operator.set_partition("debug", "UP")
    assert (await site.scheduler.job(job_id)).state.startswith("CANCELLED")


async def test_the_warning_before_the_time_limit_ends_the_server_gracefully(site, person):
    alice = await person()
    await alice.start()
    (job_id,) = await site.live_jobs(alice.name)
    await slurm(site, "scancel", "--batch", "--signal=USR1", job_id)

    await eventually(alice.is_stopped)
    await eventually(alice.no_jobs)
    assert (await site.scheduler.job(job_id)).state == "COMPLETED"
