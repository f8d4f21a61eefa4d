"""Slurm fails, or its administrators act."""

from __future__ import annotations

import asyncio
import contextlib
import time

import fault_site
import pytest
import pytest_asyncio
from fault_site import Crowd
from scheduler_spec import has_ended, runs
from support import eventually, messages

from launcher.sandbox.scheduler import Submission

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCHEDULER = "slurm"
THREE = ("alice", "bob", "carol")
TO_WAIT = {"partition": "debug", "time": 15}
"""Options of a job that waits while its partition is closed."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site():
    """A site with a Slurm that has accounting, for all rows."""
    async with fault_site.running(scheduler=SCHEDULER, accounting=True, health_interval=1) as site:
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def crowd(site):
    """Its users."""
    async with Crowd(site) as crowd:
        yield crowd


@pytest.fixture
def operator(site):
    """Whoever runs Slurm."""
    return site.scheduler.operator


@contextlib.asynccontextmanager
async def closed(operator):
    """The partition `debug` takes jobs and starts none."""
    await operator.set_partition("debug", "DOWN")
    try:
        yield
    finally:
        await operator.set_partition("debug", "UP")


@contextlib.asynccontextmanager
async def without_controller(operator):
    await operator.stop_controller()
    try:
        yield
    finally:
        await operator.start_controller()


@contextlib.asynccontextmanager
async def without_accounting(operator):
    await operator.stop_accounting()
    try:
        yield
    finally:
        await operator.start_accounting()


async def running(someone):
    """The id of somebody's job, as soon as it runs."""
    await eventually(someone.has_job)
    job_id = await someone.job()

    async def does():
        return runs(await someone.site.scheduler.known(job_id))

    await eventually(does)
    return job_id


async def says(someone, words):
    """Wait until somebody's pending page says something."""

    async def said():
        # The stream ends when a start has, and is not there before it has begun.
        return any(words in message for message in messages(await someone.progress(until=words)))

    await eventually(said)


def press(someone, **options):
    """Press Start, and follow what the page says."""
    return asyncio.create_task(someone.start(**options))


async def failure(pressed):
    """What a page says at last."""
    last = (await pressed)[-1]
    assert last.get("failed"), last
    return last["message"]


@pytest.mark.fault(
    "slurmctld is stopped; a server runs, a job waits, and somebody presses Start",
    sees="Nothing; that the state can't be told just now; that the hub tries again. Then all have their server",
)
async def test_controller_stopped(site, user, operator):
    alice, bob, carol = [await user(name) for name in THREE]
    await alice.has_ready()
    async with closed(operator):
        await bob.begin(**TO_WAIT)
        await says(bob, "PartitionDown")
        async with without_controller(operator):
            await eventually(lambda: gateway_knows(site))
            await carol.begin()
            await asyncio.gather(
                says(carol, "the hub tries again"),
                says(bob, "can't be told just now; it is not given up"),
            )
            assert await alice.serves()
    for each in (alice, bob, carol):
        await eventually(each.serves)


async def gateway_knows(site):
    return not site.gateway._status.healthy


@pytest.mark.fault(
    "slurmctld stalls for 8 s during a submit, and then takes it", sees="The server, of the one job"
)
async def test_controller_stalls(site, user, operator):
    alice = await user("alice")
    before = len(await site.scheduler.queue())
    await operator.pause_controller()
    await alice.begin()
    await asyncio.sleep(8)
    await operator.resume_controller()
    await eventually(alice.serves)
    assert len(await site.scheduler.queue()) == before + 1


@pytest.mark.fault(
    "slurmdbd is stopped; a server runs and is stopped, a job waits, and somebody presses Start",
    sees="All goes on; while the job waits, that its state can't be told just now",
)
async def test_accounting_stopped(user, operator):
    alice, bob, carol = [await user(name) for name in THREE]
    await alice.has_ready()
    async with closed(operator):
        await bob.begin(**TO_WAIT)
        await bob.reaches("submitted")
        async with without_accounting(operator):
            await carol.has_ready()
            await alice.api("DELETE", f"users/{alice.name}/server")
            await eventually(alice.no_jobs)
            await says(bob, "can't be told just now; it is not given up")
            await operator.set_partition("debug", "UP")
            await eventually(bob.serves)
            assert await carol.serves()


@pytest.mark.fault(
    "A node dies; on it a server runs and another starts",
    sees="The start fails: a compute node of the job failed. The server is over when the hub looks; Start works",
)
async def test_node_killed(site, user, operator, cluster_file):
    cluster_file(directives=["--nodelist=nid002"])
    alice, bob = await user("alice"), await user("bob")
    await alice.has_ready()
    pressed = press(bob, environment="unclaimed")
    await running(bob)
    await operator.kill_node("nid002")
    try:
        assert "A compute node of it failed" in await failure(pressed)
        await site.hub.kill_hub()
        await site.hub.start_hub()
        await eventually(alice.is_stopped)
    finally:
        await operator.start_node("nid002")
    await alice.has_ready()


@pytest.mark.fault(
    "An administrator requeues jobs: one that runs, one that has claimed its launch, one with a ready server",
    sees="The starts fail and the server ends: it was told to end; no job starts a second time",
)
async def test_requeued(user, operator):
    alice, bob, carol = [await user(name) for name in THREE]
    await alice.has_ready()
    starts = [press(bob, environment="unclaimed"), press(carol, environment="claimed")]
    await carol.reaches("claimed")
    for each in (alice, bob, carol):
        await operator.requeue(await running(each))
    for start in starts:
        assert "It was told to end" in await failure(start)
    for each in (alice, bob, carol):
        await eventually(each.no_jobs, within=60)
    assert await alice.is_stopped()


@pytest.mark.fault(
    "An urgent job takes the node of a server, and of another that starts",
    sees="The server ends; the start fails: a job of higher priority took its node",
)
async def test_preempted(site, user, operator, cluster_file):
    cluster_file(directives=["--nodelist=nid002"])
    alice, bob = await user("alice"), await user("bob")
    await alice.has_ready()
    pressed = press(bob, environment="unclaimed")
    await running(bob)
    urgent = "#!/bin/bash\n#SBATCH --qos=urgent --exclusive --nodelist=nid002\n"
    await site.scheduler.submit(bob.account, Submission(urgent))
    assert "A job of higher priority took its node" in await failure(pressed)
    await eventually(alice.is_stopped)


@pytest.mark.fault(
    "An administrator cancels jobs: one that waits, one that runs, one with a ready server",
    sees="The starts fail: cancelled by an administrator; the server ends",
)
async def test_cancelled(user, operator):
    alice, bob, carol = [await user(name) for name in THREE]
    await alice.has_ready()
    async with closed(operator):
        starts = [press(bob, **TO_WAIT), press(carol, environment="claimed")]
        await bob.reaches("submitted")
        await carol.reaches("claimed")
        for each in (alice, bob, carol):
            await operator.cancel(await each.job())
        for start in starts:
            assert "It was cancelled by an administrator" in await failure(start)
    await eventually(alice.is_stopped)


@pytest.mark.fault(
    "An administrator holds a job that waits, and releases it",
    sees="That only the site's support can release it; then the server",
)
async def test_held(user, operator):
    alice = await user("alice")
    async with closed(operator):
        await alice.begin(**TO_WAIT)
        job_id = await alice.reaches("submitted")
        await operator.hold(job_id)
        await says(alice, "is held: only the site's support can release it (JobHeldAdmin)")
        await operator.release(job_id)
    await eventually(alice.serves)


@pytest.mark.fault("A partition is closed", sees="That the job waits for its partition; then the server")
async def test_partition_closed(user, operator):
    alice = await user("alice")
    async with closed(operator):
        await alice.begin(**TO_WAIT)
        await says(alice, "waits for its partition, which is closed for now (PartitionDown)")
    await eventually(alice.serves)


@pytest.mark.fault(
    "A maintenance begins before a job would end",
    sees="That the job waits for its end, and that a shorter one may fit in; then the server",
)
async def test_maintenance(user, operator):
    alice, bob = await user("alice"), await user("bob")
    await operator.begin_maintenance("now+30minutes")
    try:
        await alice.begin(time=60)
        await says(alice, "waits for the end of a maintenance; a shorter one may fit in before it")
        await bob.has_ready(time=15)
    finally:
        await operator.end_maintenance()
    await eventually(alice.serves)


@pytest.mark.fault(
    "The cluster file allows more time than Slurm's partition, whose jobs then wait for ever",
    sees="The start fails: more time than the partition allows (PartitionTimeLimit)",
)
async def test_too_long(user, cluster_file):
    cluster_file(partitions=[{"name": "normal", "time_limit": 240}, {"name": "debug", "time_limit": 240}])
    alice = await user("alice")
    failed = await failure(press(alice, partition="debug", time=60))
    assert "asks for more time than its partition allows, and will never start (PartitionTimeLimit)" in failed
    await eventually(alice.no_jobs)


@pytest.mark.fault(
    "The cluster file offers a partition, an account and a QoS that Slurm does not know",
    sees="The start fails in Slurm's words, with what to choose instead",
)
async def test_refused(user, cluster_file):
    cluster_file(
        partitions=[{"name": name, "time_limit": 240} for name in ("normal", "nosuch")],
        accounts={"choices": ["sandbox", "nosuch"]},
        qos={"choices": ["normal", "nosuch"]},
    )
    alice = await user("alice")
    for option, words, todo in (
        ("partition", "Invalid partition name specified", "Choose another partition"),
        ("account", "Invalid account or account/partition combination specified", "Choose another account"),
        ("qos", "Invalid qos specification", "Choose another QoS"),
    ):
        failed = await failure(press(alice, **{option: "nosuch"}))
        assert words in failed
        assert todo in failed


@pytest.mark.fault(
    "A job's working directory can't be entered on its node: it never runs a line",
    sees="The start fails within a minute: there is no log; the home may be full, or not be there",
)
async def test_never_ran(user):
    alice = await user("alice")
    alice.account.home.chmod(0)
    try:
        pressed = press(alice)
        failed = await failure(pressed)
    finally:
        alice.account.home.chmod(0o700)
    assert "It has no log that can be read" in failed
    assert await since_end(alice) < 60


@pytest.mark.fault(
    "A job's script fails before the server starts", sees="The start fails within seconds, with the job's log"
)
async def test_script_failed(user, cluster_file):
    cluster_file(prologue="module load nosuch\nexit 3\n")
    alice = await user("alice")
    failed = await failure(press(alice))
    late = await since_end(alice)
    assert "exit code 3" in failed
    assert "module: command not found" in failed
    assert late < 10


@pytest.mark.fault(
    "A job's script is killed, and can't say so", sees="The start fails within a minute, with Slurm's state"
)
async def test_script_killed(user, cluster_file):
    cluster_file(prologue="kill -KILL $$\n")
    alice = await user("alice")
    failed = await failure(press(alice))
    assert "FAILED (signal 9" in failed
    assert await since_end(alice) < 60


async def since_end(someone):
    """For how many seconds, at least, somebody's last job has been over."""
    jobs = [job for job in await someone.site.scheduler.queue() if job.account_name == someone.account.name]
    assert has_ended(jobs[-1])
    return time.time() - jobs[-1].end


@pytest.mark.fault(
    "A job runs, and does not reach the hub",
    sees="The start fails after the cluster file's `claim_timeout`; the job is cancelled",
)
async def test_unclaimed(user, cluster_file):
    cluster_file(claim_timeout=3)
    alice = await user("alice")
    failed = await failure(press(alice, environment="unclaimed"))
    assert "runs on nid001, but did not reach the hub for 3 seconds" in failed
    await eventually(alice.no_jobs)


@pytest.mark.fault(
    "Accounting tells of jobs that have just started as if they waited", sees="The server, and no word of it"
)
async def test_accounting_slips(site, user, cluster_file):
    cluster_file(prologue="sleep 6\n")
    everybody = [await user(name) for name in THREE]
    for said in await asyncio.gather(*(each.start() for each in everybody)):
        assert said[-1].get("ready"), said
        assert not any("waits" in message or "PENDING" in message for message in messages(said)[3:])


@pytest.mark.fault(
    "The hub is killed while jobs wait; when it is back, one starts and one is stopped",
    sees="The pending page again, without a press; then the server. Stop works",
)
async def test_hub_killed(site, user, operator):
    alice, bob = await user("alice"), await user("bob")
    async with closed(operator):
        for each in (alice, bob):
            await each.begin(**TO_WAIT)
            await each.reaches("submitted")
        job_id = await alice.job()
        await site.hub.kill_hub()
        await site.hub.start_hub()
        await asyncio.gather(says(alice, "PartitionDown"), says(bob, "PartitionDown"))
        await bob.end()
        assert await bob.no_jobs()
    await eventually(alice.serves)
    assert await alice.job() == job_id
