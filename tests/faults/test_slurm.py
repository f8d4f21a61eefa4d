"""Slurm fails, or its administrators act."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time

import fault_site
import pytest
import pytest_asyncio
from fault_site import Crowd
from scheduler_spec import has_ended, runs
from support import eventually, messages, slurm

from launcher.sandbox.scheduler import Submission

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCHEDULER = "slurm"
OFFERED = {
    # Slurm knows no `nosuch`, and its `debug` allows 30 minutes.
    "partitions": [{"name": name, "time_limit": 240} for name in ("normal", "debug", "nosuch")],
    "accounts": {"choices": ["sandbox", "nosuch"]},
    "qos": {"choices": ["normal", "nosuch"]},
    "claim_timeout": 10,
    "environments": [
        {"id": name, "title": name, "kind": "host", "prologue": prologue}
        for name, prologue in {
            "usual": "",
            "slow": "sleep 6\n",
            "failing": "module load nosuch\nexit 3\n",
            "killed": "kill -KILL $$\n",
        }.items()
    ],
}
THREE = ("alice", "bob", "carol")
TO_WAIT = {"partition": "debug", "time": 15}
"""Options of a job that waits while its partition is closed."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site():
    """A site with a Slurm that has accounting, for all rows."""
    slurm(accounting=True)
    options = {"scheduler": SCHEDULER, "accounting": True, "health_interval": 1, "changes": OFFERED}
    async with fault_site.running(**options) as site:
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def crowd(site):
    """Its users."""
    async with Crowd(site) as crowd:
        yield crowd


@pytest.fixture(scope="module")
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
    sees="Nothing; that the state can't be told; that the hub tries again. Then all have their server",
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
    sees="Nothing: the server stops, and both starts come to a server",
)
async def test_accounting_stopped(user, operator):
    alice, bob, carol = [await user(name) for name in THREE]
    await alice.has_ready()
    async with closed(operator):
        await bob.begin(**TO_WAIT)
        await bob.reaches("submitted")
        async with without_accounting(operator):
            stopped = asyncio.create_task(alice.api("DELETE", f"users/{alice.name}/server"))
            await carol.has_ready()
            await eventually(alice.no_jobs)
            await operator.set_partition("debug", "UP")
            await eventually(bob.serves)
            assert await carol.serves()
    assert (await stopped).status_code in (202, 204)


@pytest.mark.fault(
    "A node dies; on it a server runs and another starts",
    sees="The start fails: a compute node of it failed. The server is over when the hub looks; Start works",
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


# ---- Starts that fail, each in its own way, and some that take their time, all at the same time


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def starts(crowd, operator):
    """What each page has said at last, and for how long the job had been over by then."""
    pressed = {
        "alice": {"partition": "debug", "time": 60},
        "bob": {"partition": "nosuch"},
        "carol": {"account": "nosuch"},
        "dave": {"qos": "nosuch"},
        "erin": {},
        "frank": {"environment": "failing"},
        "grace": {"environment": "killed"},
        "heidi": {"environment": "unclaimed"},
        "ivan": {"environment": "slow"},
        "judy": {"environment": "slow"},
        "leo": {"environment": "claimed"},
    }
    users = {name: await crowd.user(name) for name in (*pressed, "kim")}

    async def seen(name):
        said = messages(await users[name].start(**pressed[name]))
        return said, await over_for(users[name])

    async def requeued(name, phase):
        await users[name].reaches(phase)
        await operator.requeue(await running(users[name]))

    home = users["erin"].account.home
    home.chmod(0)
    try:
        await users["kim"].has_ready()
        requeues = requeued("kim", "ready"), requeued("leo", "claimed")
        found = await asyncio.gather(*map(seen, pressed), *requeues)
        return dict(zip(pressed, found, strict=False))
    finally:
        home.chmod(0o700)


async def over_for(someone):
    """For how many seconds somebody's last job has been over; None if it lives, or there was none."""
    jobs = [job for job in await someone.site.scheduler.queue() if job.account_name == someone.account.name]
    return time.time() - jobs[-1].end if jobs and has_ended(jobs[-1]) else None


@pytest.mark.fault(
    "The cluster file allows more time than Slurm's partition, whose jobs then wait for ever",
    sees="The start fails: more time than the partition allows (PartitionTimeLimit)",
)
async def test_too_long(starts, user):
    alice = await user("alice")
    said, _ = starts["alice"]
    never = "asks for more time than its partition allows, and will never start (PartitionTimeLimit)"
    assert never in said[-1]
    await eventually(alice.no_jobs)


@pytest.mark.fault(
    "The cluster file offers a partition, an account and a QoS that Slurm does not know",
    sees="The start fails in Slurm's words, with what to choose instead",
)
async def test_refused(starts, user):
    for name, words, todo in (
        ("bob", "Invalid partition name specified", "Choose another partition"),
        ("carol", "Invalid account or account/partition combination specified", "Choose another account"),
        ("dave", "Invalid qos specification", "Choose another QoS"),
    ):
        await user(name)
        said, _ = starts[name]
        assert words in said[-1]
        assert todo in said[-1]


@pytest.mark.fault(
    "A job's working directory can't be entered on its node: it never runs a line",
    sees="The start fails within a minute and a half: there is no log; the home may be full, or not be there",
)
async def test_never_ran(starts, user):
    await user("erin")
    said, late = starts["erin"]
    assert "It has no log that can be read" in said[-1]
    assert late < 95


@pytest.mark.fault(
    "A job's script fails before the server starts", sees="The start fails within seconds, with the job's log"
)
async def test_script_failed(starts, user):
    await user("frank")
    said, late = starts["frank"]
    assert "exit code 3" in said[-1]
    assert "module: command not found" in said[-1]
    assert late < 10


@pytest.mark.fault(
    "A job's script is killed, and can't say so",
    sees="The start fails within a minute and a half, with Slurm's state",
)
async def test_script_killed(starts, user):
    await user("grace")
    said, late = starts["grace"]
    assert "FAILED (signal 9" in said[-1]
    assert late < 95


@pytest.mark.fault(
    "A job runs, and does not reach the hub",
    sees="The start fails after the cluster file's `claim_timeout`; the job is cancelled",
)
async def test_unclaimed(starts, user):
    heidi = await user("heidi")
    said, _ = starts["heidi"]
    assert re.search(r"runs on nid00\d, but did not reach the hub for 10 seconds", said[-1])
    await eventually(heidi.no_jobs)


@pytest.mark.fault(
    "Accounting tells of jobs that have just started as if they waited", sees="The server, and no word of it"
)
async def test_accounting_slips(starts, user):
    for name in ("ivan", "judy"):
        someone = await user(name)
        said, _ = starts[name]
        assert await someone.serves(), said
        begun = said.index(next(message for message in said if "is running" in message))
        assert not [message for message in said[begun:] if "waits" in message or "can't be told" in message]


# ---- Jobs that wait, all at the same time


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def waited(crowd, operator):
    """Some whose jobs wait for something, until their page has said so."""
    alice, bob, carol, dave = [await crowd.user(name) for name in ("alice", "bob", "carol", "dave")]
    await operator.begin_maintenance("now+30minutes")
    async with closed(operator):
        for each in (alice, bob):
            await each.begin(**TO_WAIT)
        await carol.begin(time=60)
        await dave.begin(time=15)
        await operator.hold(await alice.reaches("submitted"))
        await asyncio.gather(
            says(alice, "is held: only the site's support can release it (JobHeldAdmin)"),
            says(bob, "waits for its partition, which is closed for now (PartitionDown)"),
            says(carol, "waits for the end of a maintenance; a shorter one may fit in before it"),
            eventually(dave.serves),
        )
        await operator.release(await alice.job())
    await operator.end_maintenance()
    await asyncio.gather(*(eventually(each.serves) for each in (alice, bob, carol)))


@pytest.mark.fault(
    "An administrator holds a job that waits, and releases it",
    sees="That only the site's support can release it; then the server",
)
async def test_held(waited, user):
    assert await (await user("alice")).serves()


@pytest.mark.fault("A partition is closed", sees="That the job waits for its partition; then the server")
async def test_partition_closed(waited, user):
    assert await (await user("bob")).serves()


@pytest.mark.fault(
    "A maintenance begins before a job would end",
    sees="That the job waits for its end, and that a shorter one may fit in; then the server",
)
async def test_maintenance(waited, user):
    assert await (await user("carol")).serves()
    assert await (await user("dave")).serves()


# ---- The hub


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


# ---- What takes the hub longest to see off


@pytest.mark.fault(
    "An administrator requeues a job that has claimed its launch, and one with a ready server",
    sees="The start fails, and the server ends: it was told to end. No job starts a second time",
)
async def test_requeued(starts, user):
    kim, leo = await user("kim"), await user("leo")
    said, _ = starts["leo"]
    assert "It was told to end" in said[-1]
    assert await kim.is_stopped()
    for each in (kim, leo):
        await eventually(each.no_jobs, within=60)
