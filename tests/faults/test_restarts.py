"""The hub, its proxy or its database restarts."""

from __future__ import annotations

import asyncio
import signal
import time
from types import SimpleNamespace

import pytest
import pytest_asyncio
from fault_site import MANY, edited, held, write_record
from support import eventually

from launcher.sandbox.scheduler import JobState

pytestmark = pytest.mark.asyncio(loop_scope="session")

SUBMIT = {"method": "POST", "path": "/compute/{system}/jobs"}


# ---- SIGKILL: one, at a moment when somebody is at each point of a launch


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def killed(site, crowd):
    """What became of everybody's launch when the hub was killed and started again."""
    names = "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "kim", "leo"
    alice, bob, carol, dave, erin, frank, grace, heidi, ivan, judy, kim, leo = users = [
        await crowd.user(name) for name in names
    ]
    faults, scheduler = site.gateway.faults, site.scheduler
    await asyncio.gather(*(each.has_ready() for each in (frank, grace, heidi, ivan, leo)))
    await asyncio.gather(dave.begin(environment="claimed"), erin.begin(environment="starting"))
    await asyncio.gather(dave.reaches("claimed"), erin.reaches("claimed"))
    scheduler.slots = 0
    await asyncio.gather(*(each.begin() for each in (carol, judy, kim)))
    waiting = await asyncio.gather(*(each.reaches("submitted") for each in (carol, judy, kim)))
    never = faults.hang(user=alice.name, **SUBMIT)
    unanswered = faults.hang(after=True, user=bob.name, **SUBMIT)
    for each in (alice, bob):
        await each.begin()
    await asyncio.gather(never.acted.wait(), unanswered.acted.wait(), eventually(bob.has_job))
    stuck = faults.hang(method="DELETE", user=grace.name)
    for each in (grace, ivan):
        each.signal(signal.SIGSTOP)
    stopping = asyncio.create_task(grace.api("DELETE", f"users/{grace.name}/server"))
    await grace.reaches("ending")
    ended = await ends_unseen(site, leo)
    before = {each.name: await each.jobs() for each in users}
    last = leo.record

    await site.hub.kill_hub()
    seen = SimpleNamespace(jobs=before, reached=await frank.answers(), last=last)
    for fault in (never, unanswered, stuck, ended):
        fault.remove()
    await asyncio.gather(stopping, return_exceptions=True)
    grace.signal(signal.SIGCONT)
    scheduler.end(before[heidi.name][0], JobState.NODE_FAIL, at_once=True)
    # As after an hour in the queue of a hub that waits for not much longer.
    write_record(site, judy, ticket_expires=time.time() + 60)
    began = time.monotonic()
    dave.goes_on()
    await site.hub.start_hub()

    await asyncio.gather(*(eventually(each.is_starting) for each in (carol, judy, kim)))
    seen.pending = (await carol.progress(until=f"Found job {waiting[0]}"))[-1]["message"]
    await kim.api("DELETE", f"users/{kim.name}/server")
    seen.cancelled = await held(kim.no_jobs)
    seen.ended, seen.noticed = await asyncio.gather(held(grace.no_jobs), held(heidi.is_stopped))
    # Longer than JupyterHub waits for a server that does not answer.
    await asyncio.sleep(began + 8 - time.monotonic())
    seen.patience = judy.record["ticket_expires"] - time.time()
    seen.unreachable = await ivan.jobs(), (await ivan.server_model() or {}).get("ready")
    ivan.signal(signal.SIGCONT)
    scheduler.slots = MANY
    erin.goes_on()
    after = (alice, bob, carol, dave, erin, frank, ivan, judy, leo)
    served = await asyncio.gather(*(held(each.serves) for each in after))
    seen.served = {each.name: served[n] for n, each in enumerate(after)}
    seen.now = {each.name: await each.jobs() for each in after}
    seen.next = leo.record
    await crowd.settle(users)
    return seen


async def ends_unseen(site, user):
    """Have a session end unseen, and its user's next start wait for that; return the fault."""
    fault = site.gateway.faults.hang(user=user.name)
    user.signal(signal.SIGTERM)
    await eventually(user.is_stopped)
    await user.begin()
    await eventually(user.waits_for_the_end)
    return fault


def kept(seen, name):
    """Tell whether somebody's server is ready, and its job the one that was there before."""
    return seen.served[name] and len(seen.jobs[name]) == 1 and seen.now[name] == seen.jobs[name]


@pytest.mark.fault("The hub is killed before a submit", sees="The pending page; then the server")
async def test_before_the_submit(killed, user):
    alice = await user("alice")
    assert killed.jobs[alice.name] == []
    assert killed.served[alice.name]
    assert len(killed.now[alice.name]) == 1


@pytest.mark.fault(
    "The hub is killed after a submit, before it has saved the job's id",
    sees="The pending page; then the server, of the one job",
)
async def test_before_the_id_is_saved(killed, user):
    assert kept(killed, (await user("bob")).name)


@pytest.mark.fault(
    "The hub is killed while a job waits", sees="The pending page; then the server, of the same job"
)
async def test_pending(killed, user):
    carol = await user("carol")
    assert killed.pending == f"Found job {killed.jobs[carol.name][0]}, submitted before"
    assert kept(killed, carol.name)


@pytest.mark.fault(
    "The hub is killed while a job waits, its ticket almost expired",
    sees="The pending page; then the server, of the same job",
)
async def test_an_hour_in_the_queue(killed, user):
    assert kept(killed, (await user("judy")).name)
    assert killed.patience > 3600


@pytest.mark.fault("The hub is killed while a job waits, and its user presses Stop", sees="The start ends")
async def test_pending_and_stop(killed, user):
    await user("kim")
    assert killed.cancelled


@pytest.mark.fault(
    "The hub is killed when a job has claimed its launch",
    sees="The pending page; then the server, of the same job",
)
async def test_claimed(killed, user):
    assert kept(killed, (await user("dave")).name)


@pytest.mark.fault(
    "The hub is killed while JupyterLab starts", sees="The pending page; then the server, of the same job"
)
async def test_starting(killed, user):
    assert kept(killed, (await user("erin")).name)


@pytest.mark.fault(
    "The hub is killed while a server runs", sees="Nothing: the server is reached all the time"
)
async def test_ready(killed, user):
    assert killed.reached
    assert kept(killed, (await user("frank")).name)


@pytest.mark.fault(
    "The hub is killed while a server runs, whose node can't be reached for a while",
    sees="A page that waits; then the server",
)
async def test_unreachable(killed, user):
    ivan = await user("ivan")
    jobs, ready = killed.unreachable
    assert jobs == killed.jobs[ivan.name]
    assert not ready
    assert kept(killed, ivan.name)


@pytest.mark.fault("The hub is killed while a server stops", sees="The server is stopped")
async def test_stopping(killed, user):
    grace = await user("grace")
    assert len(killed.jobs[grace.name]) == 1
    assert killed.ended


@pytest.mark.fault(
    "The hub is killed while a start waits for the end of the last session, which FirecREST can't tell",
    sees="The pending page again, without a press; then the server",
)
async def test_the_last_session_ends(killed, user):
    leo = await user("leo")
    assert killed.last["phase"] == "ending"
    assert killed.served[leo.name]
    assert len(killed.now[leo.name]) == 1
    assert killed.next["launch_id"] != killed.last["launch_id"]


@pytest.mark.fault("The hub is killed; a node dies while it is away", sees="The server is stopped")
async def test_node_died(killed, user):
    await user("heidi")
    assert killed.noticed


# ---- SIGTERM, and a hub that is away for long, with its proxy


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def terminated(site, crowd):
    """What became of everybody's launch when the hub was told to end, and was away for long."""
    alice, bob, carol, dave = users = [await crowd.user(name) for name in ("alice", "bob", "carol", "dave")]
    await alice.has_ready()
    await carol.begin(environment="claimed")
    await carol.reaches("claimed")
    site.scheduler.slots = 0
    with edited(site, claim_timeout=10):
        await dave.begin()
        job_id = await dave.reaches("submitted")
    await bob.begin()
    await bob.reaches("submitted")
    before = {each.name: await each.jobs() for each in users}

    await site.hub.terminate_hub()
    seen = SimpleNamespace(jobs=before, reached=await alice.answers())
    seen.alive = {each.name: await each.jobs() for each in users}
    await site.hub.proxy.stop()
    site.scheduler.slots = 4
    carol.goes_on()
    seen.gave_up = await held(dave.no_jobs)
    seen.job = await site.scheduler.job(job_id)
    await site.hub.proxy.start()
    await site.hub.start_hub()
    await eventually(dave.is_starting)
    seen.failed = (await dave.progress())[-1]
    site.scheduler.slots = MANY
    after = (alice, bob, carol)
    served = await asyncio.gather(*(held(each.serves) for each in after))
    seen.served = {each.name: served[n] for n, each in enumerate(after)}
    seen.now = {each.name: await each.jobs() for each in after}
    await crowd.settle(users)
    return seen


@pytest.mark.fault("The hub is told to end (SIGTERM) while a server runs", sees="Nothing")
async def test_sigterm_ready(terminated, user):
    alice = await user("alice")
    assert terminated.reached
    assert terminated.alive[alice.name] == terminated.jobs[alice.name]
    assert kept(terminated, alice.name)


@pytest.mark.fault(
    "The hub is told to end while a job waits", sees="The pending page; then the server, of the same job"
)
async def test_sigterm_pending(terminated, user):
    assert kept(terminated, (await user("bob")).name)


@pytest.mark.fault(
    "The hub is told to end when a job has claimed its launch",
    sees="The pending page; then the server, of the same job",
)
async def test_sigterm_claimed(terminated, user):
    assert kept(terminated, (await user("carol")).name)


@pytest.mark.fault(
    "Hub and proxy are away for longer than a job tries to reach them",
    sees="Once they are back: the hub could not be reached from the node, job id, exit code, the job's log",
)
async def test_away_for_long(terminated, user):
    await user("dave")
    assert terminated.gave_up
    assert (terminated.job.state, terminated.job.exit_code) == ("FAILED", 20)
    assert terminated.failed["failed"]
    assert f"Job {terminated.job.id} ended" in terminated.failed["message"]
    assert "exit code 20" in terminated.failed["message"]
    assert "could not be reached from this node for 10 seconds" in terminated.failed["message"]


# ---- the proxy


@pytest.mark.fault(
    "The proxy is restarted; one server runs, one job waits", sees="A page that waits; then the server"
)
async def test_proxy(site, user):
    alice, bob = await user("alice"), await user("bob")
    await alice.has_ready()
    site.scheduler.slots = 0
    await bob.begin()
    await bob.reaches("submitted")
    await site.hub.restart_proxy()
    site.scheduler.slots = MANY

    async def routed():
        return (await alice.browser.call("GET", f"{alice.hub}api/")).status_code == 200

    await eventually(routed)
    await asyncio.gather(eventually(alice.serves, within=60), eventually(bob.serves, within=60))
