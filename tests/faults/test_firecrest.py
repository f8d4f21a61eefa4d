"""FirecREST and Slurm do not answer, or wrongly."""

from __future__ import annotations

import asyncio
import signal
from types import SimpleNamespace

import pytest
import pytest_asyncio
from fault_site import MANY, held
from support import eventually

from launcher.sandbox.gateway import Answer

pytestmark = pytest.mark.asyncio(loop_scope="session")


# ---- FirecREST goes down for a while: one outage, and everybody is somewhere else


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def outage(site, crowd):
    """What each has seen while FirecREST was down."""
    names = "alice", "bob", "carol", "dave", "erin"
    alice, bob, carol, dave, erin = [await crowd.user(name) for name in names]
    await asyncio.gather(alice.has_ready(), bob.has_ready())
    site.scheduler.slots = 0
    for each in (carol, dave):
        await each.begin()
        await each.reaches("submitted")
    seen = SimpleNamespace()
    await site.gateway.stop()
    try:
        starting = asyncio.create_task(erin.start())
        for each in (bob, dave):
            await each.api("DELETE", f"users/{each.name}/server")
        seen.stopped, _ = await asyncio.gather(held(bob.no_jobs), eventually(dave.is_stopped))
        seen.kept = await dave.jobs()
        # One more job may run: that of carol, who was the first.
        site.scheduler.slots = 3
        seen.started = await held(carol.serves)
        seen.failed = (await starting)[-1]
        seen.served = await alice.serves()
    finally:
        await site.gateway.start()
    # Of dave's job, which is cancelled now, none of its script may run.
    await eventually(dave.no_jobs)
    site.scheduler.slots = MANY
    await erin.begin()
    seen.again = await held(erin.serves)
    await crowd.settle([alice, bob, carol, dave, erin])
    return seen


@pytest.mark.fault("FirecREST is down; a server runs", sees="Nothing")
async def test_down_while_a_server_runs(outage, user):
    await user("alice")
    assert outage.served


@pytest.mark.fault(
    "FirecREST is down; a server runs, and its user presses Stop",
    sees="The server stops at once: it is asked itself",
)
async def test_down_and_stop(outage, user):
    await user("bob")
    assert outage.stopped


@pytest.mark.fault("FirecREST is down; a job waits", sees="The pending page; the server, once the job runs")
async def test_down_while_a_job_waits(outage, user):
    await user("carol")
    assert outage.started


@pytest.mark.fault(
    "FirecREST is down; a job waits, and its user presses Stop",
    sees="The start ends; the job is cancelled once FirecREST is back",
)
async def test_down_and_stop_of_a_job_that_waits(outage, user):
    await user("dave")
    assert len(outage.kept) == 1


@pytest.mark.fault(
    "FirecREST is down; somebody presses Start",
    sees="FirecREST did not answer, after some tries; what to do; Start works once it is back",
)
async def test_down_and_start(outage, user):
    await user("erin")
    assert outage.failed["failed"]
    assert "FirecREST did not answer" in outage.failed["message"]
    assert "Try again in some minutes" in outage.failed["message"]
    assert outage.again


# ---- the submit's answer


@pytest.mark.fault("The answer to the submit is lost", sees="The server, of the one job")
async def test_submit_lost(site, user, faults):
    alice = await user()
    site.scheduler.slots = 0
    with faults.drop(after=True, method="POST", user=alice.name):
        await alice.begin()
        job_id = await alice.reaches("submitted")
    assert await alice.jobs() == [job_id]
    site.scheduler.slots = MANY
    await eventually(alice.serves)


@pytest.mark.fault(
    "The submit is answered with 500, and carried out 5 s later", sees="The server, of the one job"
)
async def test_submit_late(site, user, faults):
    alice = await user()

    async def late(_, call):
        asyncio.get_running_loop().call_later(5, lambda: asyncio.ensure_future(call()))
        return Answer(500, {"message": "An error occurred during the request process"})

    site.scheduler.slots = 0
    with faults.add(late, method="POST", user=alice.name):
        await alice.begin()
        job_id = await alice.reaches("submitted")
    assert await alice.jobs() == [job_id]
    site.scheduler.slots = MANY
    await eventually(alice.serves)


# ---- wrong answers: each user's are wrong in another way, while their job waits, starts, and is in doubt

_WRONG = {
    "alice": (
        "answers 500",
        lambda faults, **who: faults.error(500, "Error executing Slurm command.", **who),
    ),
    "bob": ("answers 401", lambda faults, **who: faults.error(401, "Access token expired", **who)),
    "carol": ("answers 408", lambda faults, **who: faults.error(408, "Command execution timed out", **who)),
    "dave": ("sends half an answer", lambda faults, **who: faults.truncate(0.5, **who)),
    "erin": ("sends empty lists", lambda faults, **who: faults.empty(**who)),
    "frank": (
        "tells a state that Slurm does not document",
        lambda faults, **who: faults.state("VOID", **who),
    ),
    "grace": ("hangs up", lambda faults, **who: faults.drop(**who)),
    "heidi": ("answers 404 in a proxy's words", lambda faults, **who: faults.answer(_NOT_FOUND, **who)),
    "ivan": ("answers 20 s late", lambda faults, **who: faults.delay(20, **who)),
    "judy": ("can't reach accounting", lambda faults, **who: faults.accounting_down(**who)),
    "kim": ("can't reach the controller", lambda faults, **who: faults.controller_down(noticed=False, **who)),
    "leo": (
        "knows the controller to be down",
        lambda faults, **who: faults.controller_down(noticed=True, **who),
    ),
}
_NOT_FOUND = Answer(404, "<html><body>404 page not found</body></html>")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def wrong(site, crowd):
    """What became of everybody's job under wrong answers: did it wait, serve, live on, come back?"""
    users = {name: await crowd.user(name) for name in _WRONG}
    site.scheduler.slots = 0
    await asyncio.gather(*(each.begin() for each in users.values()))
    await asyncio.gather(*(each.reaches("submitted") for each in users.values()))
    jobs = {name: await each.jobs() for name, each in users.items()}
    put = {
        name: add(site.gateway.faults, method="GET", user=users[name].name)
        for name, (_, add) in _WRONG.items()
    }
    await asyncio.gather(*(fault.acted.wait() for fault in put.values()))
    seen = {
        name: SimpleNamespace(waits=(await each.server_model())["pending"] == "spawn")
        for name, each in users.items()
    }
    site.scheduler.slots = MANY
    for name, each in users.items():
        seen[name].served = await held(each.serves)
    # Neither events nor probes: only the scheduler could tell.
    for each in users.values():
        each.signal(signal.SIGSTOP)
    said = site.hub.log.stat().st_size
    await site.hub.kill_hub()
    await site.hub.start_hub()

    async def doubted():
        log = site.hub.log_since(said)
        told = (f"Server {each.name} of job {jobs[name][0]} neither" in log for name, each in users.items())
        return sum(told) >= len(users) - 2  # slow answers come later

    await eventually(doubted, within=45)
    for name, each in users.items():
        seen[name].kept = await each.jobs() == jobs[name]
        each.signal(signal.SIGCONT)
    slow = users["ivan"]
    for name, each in users.items():
        seen[name].back = each is slow or await held(each.serves)
    site.gateway.faults.clear()
    seen["ivan"].back = await held(slow.serves)
    await crowd.settle(list(users.values()))
    return seen


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=pytest.mark.fault(
                f"FirecREST {what}; jobs wait and start, then a node hangs over a restart of the hub",
                sees="The server; nothing else",
            ),
            id=name,
        )
        for name, (what, _) in _WRONG.items()
    ],
)
async def test_wrong_answers(wrong, user, name):
    await user(name)
    assert wrong[name] == SimpleNamespace(waits=True, served=True, kept=True, back=True)
