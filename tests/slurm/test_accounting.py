"""A private Slurm with accounting: what FirecREST's questions bring to light, in good times and in bad."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import subprocess
import time

import httpx
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa
from scheduler_spec import FOREVER, People, has_ended, output, runs, state_directory, submit
from support import eventually, missing, slurm

from launcher.errors import SandboxError
from launcher.sandbox.accounts import Accounts
from launcher.sandbox.gateway import Gateway
from launcher.sandbox.scheduler import SubmitRefused
from launcher.sandbox.scheduler.slurm import SlurmScheduler
from launcher.sandbox.scheduler.slurm_accounting import merge

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUER = "http://127.0.0.1/realms/sandbox"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people():
    slurm(accounting=True)
    if os.geteuid():
        missing("root", "run the tests as root")
    with state_directory() as state:
        accounts = await asyncio.to_thread(Accounts.create, state)
        yield People(state, *accounts)
        await asyncio.to_thread(accounts.remove)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scheduler(people):
    scheduler = SlurmScheduler(people.state, [people.alice, people.bob], accounting=True)
    await scheduler.start()
    yield scheduler
    await scheduler.stop()


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def tidy(scheduler):
    """Each test begins with free nodes."""
    yield
    living = [job.id for job in await scheduler.queue() if not has_ended(job)]
    for job_id in living:
        await scheduler.operator.cancel(job_id)
    for job_id in living:
        await job_when(scheduler, job_id, has_ended)


async def job_when(scheduler, job_id, holds):
    """A job as soon as something holds for it; it may be unknown for a moment when it has just ended."""
    found = []

    async def look() -> bool:
        found.append(await scheduler.job(job_id))
        return bool(found[-1] and holds(found[-1]))

    await eventually(look, within=60)
    return found[-1]


def settled(job):
    """Whether accounting knows that a job runs: only squeue tells when it will end."""
    return runs(job) and job.end is None


def waits(reason):
    return lambda job: job.state == "PENDING" and job.reason.startswith(reason)


@contextlib.asynccontextmanager
async def without_accounting(scheduler):
    await scheduler.operator.stop_accounting()
    try:
        yield
    finally:
        await scheduler.operator.start_accounting()


@contextlib.asynccontextmanager
async def without_controller(scheduler):
    await scheduler.operator.stop_controller()
    try:
        yield
    finally:
        await scheduler.operator.start_controller()


async def test_its_database_has_no_port_and_its_daemons_listen_to_this_machine_alone(scheduler, people):
    listening = subprocess.run(["ss", "-Hltnp"], check=True, capture_output=True, text=True).stdout
    ours = [line for line in listening.splitlines() if '"slurmdbd"' in line]
    assert ours
    assert all(line.split()[3].startswith("127.") for line in ours)
    assert '"mariadbd"' not in listening
    database = people.state / "slurm/database"
    assert (database / "socket").is_socket()
    assert database.stat().st_mode & 0o077 == 0


async def test_a_job_is_its_accounts_and_never_seems_to_have_ended_while_it_runs(scheduler, people):
    job_id = await submit(scheduler, people.bob, FOREVER, project="training", name="mine")
    seen = set()

    def look(job):
        seen.add(job.state)
        return settled(job)

    job = await job_when(scheduler, job_id, look)
    # The row of defaults that accounting has in between is PENDING, too.
    assert seen == {"PENDING", "RUNNING"}
    assert (job.account_name, job.group, job.project) == (people.bob.name, people.bob.name, "training")
    assert (job.name, job.nodes, job.limit, job.end) == ("mine", "nid001", 4 * 3600, None)
    (shown,) = [shown for shown in await scheduler.jobs() if shown.id == job_id]
    assert dataclasses.replace(shown, elapsed=job.elapsed) == job


async def test_who_names_no_account_gets_the_default_one(scheduler, people):
    assert await scheduler.projects(people.alice) == ["sandbox", "training"]
    job_id = await submit(scheduler, people.alice, "#!/bin/bash\nexit 3\n")
    job = await job_when(scheduler, job_id, has_ended)
    assert (job.project, job.state, job.exit_code, job.signal) == ("sandbox", "FAILED", 3, 0)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("account", "Invalid account or account/partition combination specified"),
        ("qos", "Invalid qos specification"),
        ("partition", "Invalid partition name specified"),
    ],
)
async def test_what_somebody_may_not_use_is_refused_in_slurms_words(scheduler, people, option, words):
    with pytest.raises(SubmitRefused) as refused:
        await submit(scheduler, people.alice, f"#!/bin/bash\n#SBATCH --{option}=nosuch\n")
    assert refused.value.what.endswith(f"sbatch: error: Batch job submission failed: {words}\n")


async def test_a_job_tells_who_cancelled_it(scheduler, people):
    script = "#!/bin/bash\n#SBATCH --hold\n"
    own, others = [await submit(scheduler, people.alice, script) for _ in range(2)]
    await scheduler.cancel(people.alice, own)
    await scheduler.operator.cancel(others)
    for job_id, uid in ((own, people.alice.uid), (others, 0)):
        job = await job_when(scheduler, job_id, has_ended)
        assert (job.state, job.nodes) == (f"CANCELLED by {uid}", "None assigned")


async def test_a_job_that_just_ended_is_unknown_until_accounting_has_it(scheduler, people):
    job_id = await submit(scheduler, people.alice, "#!/bin/bash\n")
    await job_when(scheduler, job_id, has_ended)
    assert merge([], [await scheduler.known(job_id)]) == []


async def test_a_job_that_never_was_is_unknown(scheduler):
    assert await scheduler.job("4999") is None
    assert await scheduler.job("4x") is None


async def test_without_slurmdbd_jobs_are_taken_and_run_but_can_not_be_asked_for(scheduler, people):
    async with without_accounting(scheduler):
        job_id = await submit(scheduler, people.alice, "#!/bin/bash\necho done\n")
        for question in (scheduler.jobs(), scheduler.job(job_id)):
            with pytest.raises(SandboxError, match="did not answer") as error:
                await question
            assert "Connection refused" in error.value.why
        with pytest.raises(SubmitRefused, match="Invalid account"):
            await submit(scheduler, people.alice, FOREVER, project="nosuch")
        assert await scheduler.partitions()

        async def ended() -> bool:
            return has_ended(await scheduler.known(job_id))

        await eventually(ended)
        assert output(await scheduler.known(job_id)) == "done\n"
    assert (await job_when(scheduler, job_id, has_ended)).state == "COMPLETED"


async def test_running_jobs_outlive_a_stop_of_slurmctld(scheduler, people):
    job_id = await submit(scheduler, people.alice, FOREVER)
    await job_when(scheduler, job_id, settled)
    async with without_controller(scheduler):
        pass
    assert (await scheduler.job(job_id)).state == "RUNNING"


async def test_what_a_stalled_slurmctld_was_asked_for_happens_later(scheduler, people):
    await scheduler.operator.pause_controller()
    asked = asyncio.create_task(submit(scheduler, people.alice, "#!/bin/bash\n"))
    done, _ = await asyncio.wait({asked}, timeout=1)
    await scheduler.operator.resume_controller()
    assert not done
    await job_when(scheduler, await asked, has_ended)


async def test_a_crashed_node_ends_jobs_or_starts_them_again_under_the_same_id(scheduler, people):
    once, again = [
        await submit(
            scheduler, people.alice, f"#!/bin/bash\n#SBATCH --nodelist=nid002 {option}\nsleep 1000\n"
        )
        for option in ("--no-requeue", "--requeue")
    ]
    for job_id in (once, again):
        await job_when(scheduler, job_id, runs)
    await scheduler.operator.kill_node("nid002")
    try:
        assert (await job_when(scheduler, once, has_ended)).state == "NODE_FAIL"
        await job_when(scheduler, again, waits("BeginTime"))
        assert ("DOWN",) in [node.state for node in await scheduler.nodes()]
    finally:
        await scheduler.operator.start_node("nid002")
    assert [node.state for node in await scheduler.nodes()] == [("IDLE",), ("IDLE",)]


async def test_a_job_can_be_requeued_held_and_released(scheduler, people):
    job_id = await submit(scheduler, people.alice, FOREVER)
    await job_when(scheduler, job_id, runs)
    await scheduler.operator.requeue(job_id)
    job = await job_when(scheduler, job_id, waits("BeginTime"))
    assert job.start > time.time() + 60
    assert job.nodes == ""
    await scheduler.operator.hold(job_id)
    await job_when(scheduler, job_id, waits("JobHeldAdmin"))
    await scheduler.operator.release(job_id)
    job = await job_when(scheduler, job_id, lambda job: not waits("JobHeldAdmin")(job))
    assert job.state == "PENDING"


async def test_a_closed_partition_keeps_jobs_waiting_or_refuses_them(scheduler, people):
    try:
        await scheduler.operator.set_partition("debug", "DOWN")
        job_id = await submit(scheduler, people.alice, FOREVER, partition="debug")
        await job_when(scheduler, job_id, waits("PartitionDown"))
        await scheduler.operator.set_partition("debug", "DRAIN")
        with pytest.raises(SubmitRefused, match="Required partition not available"):
            await submit(scheduler, people.alice, FOREVER, partition="debug")
    finally:
        await scheduler.operator.set_partition("debug", "UP")


async def test_a_job_that_would_last_into_a_maintenance_waits_for_its_end(scheduler, people):
    await scheduler.operator.begin_maintenance("now+1hour", minutes=30)
    try:
        job_id = await submit(scheduler, people.alice, FOREVER)
        job = await job_when(scheduler, job_id, waits("ReqNodeNotAvail, Reserved for maintenance"))
    finally:
        await scheduler.operator.end_maintenance()
    assert job.nodes == ""


async def test_an_urgent_job_takes_the_place_of_another(scheduler, people):
    lines = "#!/bin/bash\n#SBATCH --exclusive --nodelist=nid002"
    first = await submit(scheduler, people.bob, f"{lines}\nsleep 1000\n")
    await job_when(scheduler, first, runs)
    urgent = await submit(scheduler, people.alice, f"{lines} --qos=urgent\n")
    assert (await job_when(scheduler, first, has_ended)).state == "PREEMPTED"
    assert (await job_when(scheduler, urgent, has_ended)).state == "COMPLETED"


async def test_what_can_not_be_done_is_told_in_slurms_words(scheduler):
    with pytest.raises(SandboxError) as error:
        await scheduler.operator.hold("4999")
    assert "Invalid job id specified" in error.value.why


@contextlib.asynccontextmanager
async def asker(gateway, name):
    """Asks the gateway as an account; gives the status of its answers."""
    claims = {"iss": ISSUER, "exp": time.time() + 600, "preferred_username": name}
    token = jwt.encode(claims, KEY, algorithm="RS256", headers={"kid": "k1"})
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=30) as client:

        async def ask(method, path, body=None):
            return (await client.request(method, path, json=body)).status_code

        yield ask


async def test_firecrest_answers_as_the_real_one_while_parts_of_slurm_are_down(scheduler, people):
    key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
    gateway = Gateway(
        scheduler=scheduler,
        accounts=[people.alice, people.bob],
        jwks=lambda: {"keys": [{**key, "kid": "k1"}]},
        issuer=ISSUER,
        file_systems=[people.state / "home"],
        health_interval=1,
    )
    job = {"working_directory": str(people.alice.home), "script": FOREVER}
    async with contextlib.AsyncExitStack() as ends:
        await gateway.start()
        ends.push_async_callback(gateway.stop)
        ask = await ends.enter_async_context(asker(gateway, people.alice.name))
        jobs, who = "/compute/sandbox/jobs", "/status/sandbox/userinfo"
        assert await ask("POST", jobs, {"job": job}) == 201
        first = f"{jobs}/{(await scheduler.queue())[-1].id}"
        for path, status in ((first, 200), (f"{first}/metadata", 200), (f"{jobs}/4999", 404), (who, 200)):
            assert await ask("GET", path) == status
        async with without_accounting(scheduler):
            for path, status in ((first, 500), (f"{first}/metadata", 200), (jobs, 500), (who, 500)):
                assert await ask("GET", path) == status
            assert await ask("POST", jobs, {"job": job}) == 201
            assert await ask("DELETE", first) == 204
        async with without_controller(scheduler):
            assert await ask("GET", first) == 500
            await eventually(lambda: _answers(ask, first, 503))
        await eventually(lambda: _answers(ask, first, 200))


async def _answers(ask, path, status):
    return await ask("GET", path) == status
