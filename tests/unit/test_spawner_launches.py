"""All launches of a hub: found by id and by ticket, and what happened to each in order."""

import asyncio
import time

import pytest
from jupyterhub import orm
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from launcher.protocol import Event, EventKind, ticket_hash
from launcher.spawner.launches import Launch, Launches
from launcher.spawner.record import STATE_KEY, LaunchRecord, Phase

TICKET = "5ec2e7" + "0" * 58


def record(**changes):
    fields = {
        "launch_id": "c" * 32,
        "ticket_hash": ticket_hash(TICKET),
        "ticket_expires": time.time() + 100,
        "cluster": "tiny",
        "script_hash": "f" * 64,
        "options": {},
    }
    return LaunchRecord(**{**fields, **changes})


@pytest.fixture
def launch():
    return Launch(record())


@pytest.fixture
def session():
    """A hub's database with three servers: one launched by us, one of another spawner, one never started."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    orm.Base.metadata.create_all(engine)
    session = Session(engine)
    for name, state in (
        ("alice", {STATE_KEY: record(phase=Phase.READY, job_id="42").to_state()}),
        ("bob", {"pid": 7}),
        ("carol", None),
    ):
        user = orm.User(name=name)
        session.add(user)
        session.add(orm.Spawner(user=user, name="", state=state))
    session.commit()
    yield session
    session.close()
    engine.dispose()


class TestLaunches:
    def test_those_of_an_earlier_hub_are_known_from_the_start(self, session):
        launch = Launches(session).get("c" * 32)
        assert launch.record == record(
            phase=Phase.READY, job_id="42", ticket_expires=launch.record.ticket_expires
        )
        assert launch.spawner is None

    def test_there_is_one_a_hub(self, session):
        settings = {}
        assert Launches.of(settings, session) is Launches.of(settings, session)

    def test_a_launch_is_found_by_its_ticket(self, session):
        launches = Launches(session)
        assert launches.by_ticket(TICKET) is launches.get("c" * 32)

    @pytest.mark.parametrize("ticket", ["a" * 64, "", ticket_hash(TICKET), TICKET.upper()])
    def test_no_other_ticket_finds_it(self, session, ticket):
        assert Launches(session).by_ticket(ticket) is None

    def test_an_expired_ticket_finds_its_launch_and_claims_nothing(self, session):
        launches = Launches(session)
        facts = {"launch_id": "d" * 32, "ticket_hash": ticket_hash("late")}
        late = launches.add(Launch(record(**facts, ticket_expires=time.time() - 1)))
        assert launches.by_ticket("late") is late
        assert late.ticket_expired
        assert not launches.get("c" * 32).ticket_expired

    def test_a_launch_that_is_known_is_not_made_twice(self, session):
        launches = Launches(session)
        known = launches.get("c" * 32)
        assert launches.add(Launch(record())) is known

    def test_a_forgotten_launch_is_found_no_more(self, session):
        launches = Launches(session)
        launches.remove(launches.get("c" * 32))
        assert launches.get("c" * 32) is None
        assert launches.by_ticket(TICKET) is None

    def test_forgetting_twice_harms_nobody(self, session, launch):
        launches = Launches(session)
        launches.remove(launch)
        launches.remove(launch)


class TestWanted:
    @pytest.mark.parametrize("phase", Phase)
    def test_a_job_should_live_until_its_launch_ends(self, phase):
        launch = Launch(record(phase=phase))
        launch.spawner = object()
        assert launch.wanted == (phase not in (Phase.ENDING, Phase.GONE))

    @pytest.mark.parametrize("phase", Phase)
    def test_a_launch_that_nobody_waits_for_after_a_restart_is_wanted_only_if_its_server_is_ready(
        self, phase
    ):
        assert Launch(record(phase=phase)).wanted == (phase is Phase.READY)


class TestWhatHappened:
    def test_an_event_proves_life(self, launch):
        launch.heard(Event("c" * 32, EventKind.ALIVE, 1))
        assert launch.last_event is not None
        assert launch.ended is None

    def test_a_node_that_stops_tells_why(self, launch):
        launch.heard(
            Event("c" * 32, EventKind.STOPPING, 1, reason="failed", message="Home is full.", exit_code=22)
        )
        assert (launch.ended, launch.exit_code) == ("Home is full.", 22)

    def test_a_node_that_says_no_sentence_said_at_least_a_word(self, launch):
        launch.heard(Event("c" * 32, EventKind.STOPPING, 1, reason="terminated"))
        assert launch.ended == "terminated"

    def test_the_scripts_last_words_come_after_the_servers_and_change_nothing(self, launch):
        launch.heard(
            Event("c" * 32, EventKind.STOPPING, 1, reason="failed", message="Home is full.", exit_code=22)
        )
        launch.script_ended(1)
        assert (launch.ended, launch.exit_code) == ("Home is full.", 22)

    def test_a_server_that_was_killed_leaves_the_last_words_to_the_script(self, launch):
        launch.script_ended(137)
        assert (launch.ended, launch.exit_code) == ("", 137)

    def test_the_first_reason_of_a_failure_counts(self, launch):
        first, second = Exception("no port"), Exception("cancelled")
        launch.fail(first)
        launch.fail(second)
        assert launch.failure is first


class TestProgress:
    async def collect(self, launch):
        return [message["message"] async for message in launch.progress()]

    async def test_everybody_who_looks_sees_all_from_the_first_message_on(self, launch):
        launch.say(5, "Submitting")
        early = asyncio.create_task(self.collect(launch))
        await asyncio.sleep(0)
        launch.say(10, "Submitted as job 42")
        late = asyncio.create_task(self.collect(launch))
        await asyncio.sleep(0)
        launch.record.phase = Phase.READY
        launch.touch()
        async with asyncio.timeout(10):
            assert await early == await late == ["Submitting", "Submitted as job 42"]

    async def test_the_same_is_not_said_twice_in_a_row(self, launch):
        for text in ("pending", "pending", "running", "pending"):
            launch.say(20, text)
        assert [each["message"] for each in launch.messages] == ["pending", "running", "pending"]

    @pytest.mark.parametrize("phase", [Phase.READY, Phase.ENDING, Phase.GONE])
    async def test_it_ends_when_the_launch_is_ready_or_over(self, phase):
        launch = Launch(record(phase=phase))
        launch.say(5, "Submitting")
        async with asyncio.timeout(10):
            assert await self.collect(launch) == ["Submitting"]

    async def test_it_ends_with_a_failure(self, launch):
        launch.say(5, "Submitting")
        launch.fail(Exception("refused"))
        async with asyncio.timeout(10):
            assert await self.collect(launch) == ["Submitting"]

    async def test_who_looks_can_not_change_what_others_see(self, launch):
        launch.say(5, "Submitting")
        launch.fail(Exception("refused"))
        async for message in launch.progress():
            message["message"] = "changed"
        assert launch.messages[0]["message"] == "Submitting"

    async def test_waiting_for_a_change_ends_with_it_or_with_the_time(self, launch):
        waiting = asyncio.create_task(launch.change(timeout=60))
        await asyncio.sleep(0)
        launch.touch()
        async with asyncio.timeout(10):
            await waiting
            await launch.change(timeout=0.01)
