"""Does a server live? An error never says that it does not."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stand_in import LATE, LOG, Person, Slurm, jobs, launch
from virtual_time import run

from launcher.database.launch_record import Phase
from launcher.errors import FirecrestError
from launcher.firecrest import JobStatus, Verdict, Watcher
from launcher.protocol import ALIVE_INTERVAL, Event, EventKind
from launcher.spawner import verdict

ALIVE, DEAD, UNKNOWN = Verdict.ALIVE, Verdict.DEAD, Verdict.UNKNOWN
ERRORS = [LATE, *(FirecrestError("No.", status=status) for status in (401, 403, 404, 408, 500, 503))]


class Server:
    """A server that was ready, on a cluster that may be shared with others.

    Attributes:
        answers: Whether it answers the hub.
        probes: How often it was asked.
    """

    def __init__(self, slurm, *, watcher=None, name="alice"):
        self.slurm = slurm
        self.job_id = slurm.add(user=name, state="RUNNING")
        self.launch = launch(name, job_id=self.job_id, phase=Phase.READY, url="http://10.0.0.7:40000")
        self.jobs = jobs(slurm, Person(name), watcher=watcher)
        self.answers = True
        self.probes = 0

    async def proves(self, of):
        assert of is self.launch
        self.probes += 1
        await asyncio.sleep(0 if self.answers else 5)
        return self.answers

    def reports(self):
        self.launch.heard(Event(self.launch.record.launch_id, EventKind.ALIVE, self.launch.sequence + 1))

    async def verdict(self):
        return await verdict.of(self.launch, self.jobs, self.proves, LOG)

    async def settled(self):
        return await verdict.settled(self.launch, self.jobs, self.proves)

    def falls_silent(self):
        self.launch.last_event, self.answers = None, False


@pytest.fixture
def slurm():
    return Slurm()


@pytest.fixture
def server(slurm):
    return Server(slurm)


@pytest.mark.usefixtures("virtual_time")
class TestInOrder:
    async def test_a_recent_event_is_enough(self, slurm, server):
        server.reports()
        server.answers = False
        await asyncio.sleep(2 * ALIVE_INTERVAL)
        assert await server.verdict() is ALIVE
        assert server.probes == 0
        assert slurm.calls.total() == 0

    async def test_an_old_one_is_not_then_the_server_is_asked(self, slurm, server):
        server.reports()
        await asyncio.sleep(3 * ALIVE_INTERVAL)
        assert await server.verdict() is ALIVE
        assert server.probes == 1
        assert slurm.calls.total() == 0

    async def test_its_answer_is_a_sign_of_life_too(self, server):
        assert await server.verdict() is ALIVE
        assert await server.verdict() is ALIVE
        assert server.probes == 1

    async def test_only_then_the_scheduler(self, slurm, server):
        server.falls_silent()
        assert await server.verdict() is ALIVE
        assert slurm.calls == {"jobs": 1}

    async def test_a_healthy_server_never_costs_a_request_to_firecrest(self, slurm, server):
        for _ in range(24 * 12):
            server.reports()
            await asyncio.sleep(ALIVE_INTERVAL)
            assert await server.verdict() is ALIVE
        assert slurm.calls.total() == 0
        assert server.probes == 0

    async def test_neither_does_one_whose_events_do_not_arrive(self, slurm, server):
        for _ in range(24 * 12):
            await asyncio.sleep(ALIVE_INTERVAL)
            assert await server.verdict() is ALIVE
        assert slurm.calls.total() == 0


@pytest.mark.usefixtures("virtual_time")
class TestSilence:
    @pytest.mark.parametrize("state", ["RUNNING", "COMPLETING", "SUSPENDED", "PENDING", "REQUEUED"])
    async def test_a_job_that_the_scheduler_knows_to_live_keeps_its_server(self, slurm, server, state):
        server.falls_silent()
        slurm.enters(server.job_id, state)
        assert await server.verdict() is ALIVE
        assert server.launch.doubt.status.state == state

    @pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL", "TIMEOUT"])
    async def test_one_that_has_ended_does_not(self, slurm, server, state):
        server.falls_silent()
        slurm.enters(server.job_id, state)
        assert await server.verdict() is DEAD

    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: str(error.status))
    async def test_no_answer_leaves_it_unknown(self, slurm, server, error):
        server.falls_silent()
        slurm.errors["all"] = error
        assert await server.verdict() is UNKNOWN
        assert server.launch.doubt.problem

    @pytest.mark.parametrize("state", ["", "DREAMING"])
    async def test_neither_does_a_word_that_nobody_knows(self, slurm, server, state):
        server.falls_silent()
        slurm.enters(server.job_id, state)
        assert await server.verdict() is UNKNOWN

    async def test_a_single_absence_is_none(self, slurm, server):
        server.falls_silent()
        slurm.jobs_by_id.clear()
        assert await server.verdict() is UNKNOWN

    async def test_what_is_in_doubt_already_is_not_asked_for_again(self, slurm, server):
        server.falls_silent()
        slurm.errors["all"] = LATE
        for _ in range(10):
            assert await server.verdict() is UNKNOWN
        assert slurm.calls.total() == 1

    async def test_the_doubt_is_told_with_what_the_scheduler_says(self, slurm, server, caplog):
        server.falls_silent()
        slurm.enters(server.job_id, "DREAMING")
        await server.verdict()
        assert "DREAMING" in caplog.text
        assert "alice" in caplog.text


@pytest.mark.usefixtures("virtual_time")
class TestSettled:
    async def in_doubt(self, server):
        server.falls_silent()
        await server.verdict()
        return asyncio.create_task(server.settled())

    async def test_an_event_ends_the_doubt(self, server):
        task = await self.in_doubt(server)
        await asyncio.sleep(1000)
        server.reports()
        async with asyncio.timeout(400):
            assert await task is ALIVE
        assert server.launch.doubt is None

    async def test_so_does_an_answer(self, server):
        task = await self.in_doubt(server)
        await asyncio.sleep(1000)
        server.answers = True
        async with asyncio.timeout(400):
            assert await task is ALIVE
        assert server.launch.doubt is None
        assert await server.verdict() is ALIVE

    async def test_so_does_the_end_of_the_job(self, slurm, server):
        task = await self.in_doubt(server)
        await asyncio.sleep(100)
        slurm.enters(server.job_id, "NODE_FAIL")
        async with asyncio.timeout(400):
            assert await task is DEAD

    async def test_so_does_a_job_that_is_surely_not_there_any_more(self, slurm, server):
        task = await self.in_doubt(server)
        slurm.jobs_by_id.clear()
        async with asyncio.timeout(400):
            assert await task is DEAD

    @pytest.mark.parametrize("error", [*ERRORS, None], ids=str)
    async def test_nothing_else_does_and_it_costs_ever_less(self, slurm, server, error):
        slurm.errors = {"all": error} if error else {}
        task = await self.in_doubt(server)
        await asyncio.sleep(3600)
        before = slurm.calls.total()
        await asyncio.sleep(24 * 3600)
        assert not task.done()
        assert slurm.calls.total() - before <= 24 * 15 * 2
        task.cancel()

    async def test_a_server_that_is_stopped_is_in_doubt_no_more(self, slurm, server):
        task = await self.in_doubt(server)
        server.launch.enter(Phase.ENDING)
        async with asyncio.timeout(400):
            assert await task is ALIVE
        before = slurm.calls.total()
        await asyncio.sleep(3600)
        assert slurm.calls.total() == before


class Hub:
    """Twenty servers of twenty users, looked at every five minutes as JupyterHub does."""

    def __init__(self, slurm, *, service):
        who = Person("service account", everybody=True)
        shared = Watcher(slurm, who, LOG) if service else None
        self.servers = [Server(slurm, watcher=shared, name=f"user-{each}") for each in range(20)]
        self.verdicts = set()
        self.tasks = set()

    async def polls(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for server in self.servers:
                doubted = server.launch.doubt is not None
                self.verdicts.add(await server.verdict())
                if server.launch.doubt is not None and not doubted:
                    self.tasks.add(asyncio.create_task(server.settled()))
            await asyncio.sleep(300)


@pytest.mark.usefixtures("virtual_time")
class TestTenMinutesWithoutFirecrest:
    @pytest.mark.parametrize("service", [True, False])
    async def test_servers_that_report_do_not_even_notice(self, slurm, service):
        slurm.errors["all"] = LATE
        hub = Hub(slurm, service=service)
        for server in hub.servers:
            server.reports()
        await hub.polls(600)
        assert hub.verdicts == {ALIVE}
        assert slurm.calls.total() == 0

    @pytest.mark.parametrize("service", [True, False])
    async def test_those_that_are_out_of_reach_too_are_kept_and_all_live_afterwards(self, slurm, service):
        slurm.errors["all"] = LATE
        hub = Hub(slurm, service=service)
        for server in hub.servers:
            server.falls_silent()
        await hub.polls(600)
        assert hub.verdicts == {UNKNOWN}
        watchers = 1 if service else 20
        assert slurm.calls.total() <= 10 * watchers
        slurm.errors.clear()
        for server in hub.servers:
            server.answers = True
        await asyncio.sleep(600)
        hub.verdicts.clear()
        await hub.polls(1)
        assert hub.verdicts == {ALIVE}
        assert {task.result() for task in hub.tasks} == {ALIVE}
        assert len(slurm.alive) == 20


HAPPENINGS = st.lists(
    st.sampled_from(["report", "answer", "silence", *ERRORS, "back", "RUNNING", "PENDING", "", "ODD"]),
    max_size=25,
)


@given(HAPPENINGS)
def test_whatever_happens_to_a_job_that_lives_its_server_is_never_dead(happenings):
    async def play():
        slurm = Slurm()
        server = Server(slurm)
        doubts = set()
        for each in happenings:
            if each == "report":
                server.reports()
            elif each in ("answer", "silence"):
                server.answers = each == "answer"
            elif each == "back":
                slurm.errors.clear()
            elif isinstance(each, Exception):
                slurm.errors["all"] = each
            else:
                slurm.jobs_by_id[server.job_id] = JobStatus(each, user="alice")
            doubted = server.launch.doubt is not None
            assert await server.verdict() is not DEAD
            if server.launch.doubt is not None and not doubted:
                doubts.add(asyncio.create_task(server.settled()))
            await asyncio.sleep(400)
        assert all(task.result() is ALIVE for task in doubts if task.done())

    run(play())
