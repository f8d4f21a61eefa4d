"""All launches of a hub: found by id and by ticket, and what happened to each in order."""

import asyncio
import time
from types import SimpleNamespace

import pytest
from jupyterhub import orm
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from stand_in import CLUSTER, database, gone

from launcher.database.launch_record import STATE_KEY, LaunchRecord, Phase
from launcher.firecrest import Known
from launcher.protocol import Event, EventKind, Pulling, ticket_hash
from launcher.spawner.launches import READY_AT, Launch, Launches
from launcher.spawner.spawner import LauncherSpawner

pytestmark = pytest.mark.usefixtures("virtual_time")

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
    return Launch(record(), "alice")


@pytest.fixture
def session():
    """A hub's database with three servers: one launched by us, one of another spawner, one never started."""
    session = database()
    for name, server, state in (
        ("alice", "", {STATE_KEY: record(phase=Phase.READY, job_id="42").to_state(), "of_another": 1}),
        ("alice", "second", None),
        ("bob", "", {"pid": 7}),
        ("carol", "", None),
    ):
        user = orm.User.find(session, name) or orm.User(name=name)
        session.add(user)
        session.add(orm.Spawner(user=user, name=server, state=state))
    session.commit()
    yield session
    gone(session)


def refuse_node_666(session):
    session.connection().exec_driver_sql(
        "create trigger refuse before update on spawners when new.state like '%nid666%' "
        "begin select raise(abort, 'refused'); end"
    )
    session.commit()


def saved(session, user="alice", server=""):
    """Return the state that a hub which starts now would find."""
    with Session(session.get_bind()) as other:
        query = other.query(orm.Spawner).join(orm.User)
        return query.filter(orm.User.name == user, orm.Spawner.name == server).one().state


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
        late = launches.add(Launch(record(**facts, ticket_expires=time.time() - 1), "bob"))
        assert launches.by_ticket("late") is late
        assert late.ticket_expired
        assert not launches.get("c" * 32).ticket_expired

    def test_a_launch_that_is_known_is_not_made_twice(self, session):
        launches = Launches(session)
        known = launches.get("c" * 32)
        assert launches.add(Launch(record(), "alice")) is known
        assert list(launches) == [known]

    @pytest.mark.parametrize(("server", "name"), [("", "alice"), ("second", "alice:second")])
    def test_people_know_it_by_user_and_server(self, server, name):
        assert Launch(record(), "alice", server).name == name

    def test_it_knows_what_the_cluster_file_said_when_it_began(self):
        file = CLUSTER.model_dump(mode="json", exclude_defaults=True)
        assert Launch(record(cluster_file=file), "alice").cluster == CLUSTER

    def test_launches_that_began_with_the_same_file_share_what_it_said(self):
        files = [CLUSTER.model_dump(mode="json", exclude_defaults=True) for _ in range(2)]
        first, second = (Launch(record(cluster_file=file), "alice") for file in files)
        assert first.cluster is second.cluster

    @pytest.mark.parametrize("file", [{}, {"name": "tiny"}, {"colour": "blue"}])
    def test_unless_that_is_nothing_that_this_release_reads(self, file):
        assert Launch(record(cluster_file=file), "alice").cluster is None


class TestSaved:
    def test_a_record_is_in_the_database_at_once_beside_what_else_is_there(self, session):
        launches = Launches(session)
        launch = launches.get("c" * 32)
        launch.record.node = "nid007"
        launches.save(launch)
        assert LaunchRecord.from_state(saved(session)).node == "nid007"
        assert saved(session)["of_another"] == 1

    def test_that_of_a_named_server_is_saved_as_its_own(self, session):
        launches = Launches(session)
        second = launches.add(Launch(record(launch_id="d" * 32), "alice", "second"))
        launches.save(second)
        assert LaunchRecord.from_state(saved(session, server="second")).launch_id == "d" * 32
        assert LaunchRecord.from_state(saved(session)).launch_id == "c" * 32

    def test_a_launch_whose_job_is_gone_is_forgotten_everywhere(self, session):
        launches = Launches(session)
        launch = launches.get("c" * 32)
        launch.enter(Phase.GONE)
        launches.save(launch)
        assert saved(session) == {"of_another": 1}
        assert launches.get("c" * 32) is None
        assert launches.by_ticket(TICKET) is None
        assert list(launches) == []
        launches.save(launch)

    def test_one_that_another_has_replaced_saves_nothing_any_more(self, session):
        """Its end goes on while the next launch of the same server has begun."""
        launches = Launches(session)
        old = launches.get("c" * 32)
        new = launches.add(Launch(record(launch_id="d" * 32, ticket_hash="0" * 64), "alice"))
        old.enter(Phase.GONE)
        launches.save(old)
        launches.save(new)
        for phase in (Phase.ENDING, Phase.GONE):
            old.record.phase = phase
            launches.save(old)
            assert LaunchRecord.from_state(saved(session)).launch_id == "d" * 32

    def test_one_for_whose_end_a_start_waits_stays_until_the_next_takes_its_place(self, session):
        launches = Launches(session)
        old = launches.get("c" * 32)
        old.record.successor_until = time.time() + 100
        for phase in (Phase.ENDING, Phase.GONE):
            old.enter(phase)
            launches.save(old)
            left = Launches(session).get("c" * 32)
            assert left.record.phase is Phase.ENDING
            assert left.has_successor
        assert launches.get("c" * 32) is None
        new = launches.add(Launch(record(launch_id="d" * 32, ticket_hash="0" * 64), "alice"))
        launches.save(new)
        assert LaunchRecord.from_state(saved(session)).launch_id == "d" * 32

    def test_but_not_for_longer_than_that_start_is_good(self, session):
        launches = Launches(session)
        launch = launches.get("c" * 32)
        launch.record.successor_until = time.time() - 1
        launch.enter(Phase.GONE)
        launches.save(launch)
        assert saved(session) == {"of_another": 1}

    def test_one_whose_server_was_deleted_is_forgotten_without_a_place_to_save_it(self, session):
        launches = Launches(session)
        launch = launches.add(Launch(record(launch_id="d" * 32, phase=Phase.ENDING), "alice", "deleted"))
        launches.save(launch)
        assert launches.get("d" * 32) is launch
        launch.enter(Phase.GONE)
        launches.save(launch)
        assert launches.get("d" * 32) is None


class TestSpawnerSaves:
    """What `LauncherSpawner` saves of a launch."""

    @pytest.fixture
    def spawner(self, session):
        """A spawner, as far as saving goes."""
        launches = Launches(session)
        user = SimpleNamespace(db=session)
        return SimpleNamespace(user=user, _launches=launches, _api_token=lambda _: "f" * 64)

    def test_one_that_is_gone_leaves_memory_though_the_database_is_away(self, session, spawner):
        def away(*_):
            raise OperationalError("select", {}, Exception("the server closed the connection"))

        launch = spawner._launches.get("c" * 32)
        launch.enter(Phase.GONE)
        event.listen(session.get_bind(), "before_cursor_execute", away)
        with pytest.raises(OperationalError):
            LauncherSpawner._save(spawner, launch)
        event.remove(session.get_bind(), "before_cursor_execute", away)
        assert spawner._launches.get("c" * 32) is None
        again = Launch(record(launch_id="d" * 32), "alice")
        spawner._launches.save(spawner._launches.add(again))
        assert LaunchRecord.from_state(saved(session)).launch_id == "d" * 32

    async def test_a_launch_that_is_wanted_is_saved_with_others(self, session, spawner):
        commits = []
        event.listen(session, "after_commit", commits.append)
        launch = spawner._launches.get("c" * 32)
        launch.record.job_id = "42"
        LauncherSpawner._save(spawner, launch)
        assert commits == []
        await spawner._launches.saved(launch)
        assert LaunchRecord.from_state(saved(session)).job_id == "42"
        assert len(commits) == 1


class TestSavedSoon:
    """Where a hub that dies a moment before loses nothing that cannot be found out again."""

    async def test_records_of_one_moment_are_committed_together(self, session, virtual_time):
        commits = []
        event.listen(session, "after_commit", commits.append)
        launches = Launches(session)
        first = launches.get("c" * 32)
        second = launches.add(Launch(record(launch_id="d" * 32), "alice", "second"))
        for launch, node in ((first, "nid001"), (second, "nid002"), (first, "nid003")):
            launch.record.node = node
            launches.save_later(launch)
        assert LaunchRecord.from_state(saved(session)).node == ""
        await asyncio.gather(launches.saved(first), launches.saved(second))
        assert LaunchRecord.from_state(saved(session)).node == "nid003"
        assert LaunchRecord.from_state(saved(session, server="second")).node == "nid002"
        assert len(commits) == 1
        assert virtual_time.elapsed < 1

    async def test_one_that_nobody_waits_for_is_committed_with_the_next_or_within_a_second(self, session):
        commits = []
        event.listen(session, "after_commit", commits.append)
        launches = Launches(session)
        first = launches.get("c" * 32)
        second = launches.add(Launch(record(launch_id="d" * 32), "alice", "second"))
        for node in ("nid001", "nid002"):
            first.record.node = node
            launches.save_later(first)
            await asyncio.sleep(0.4)
        assert LaunchRecord.from_state(saved(session)).node == ""
        await launches.saved(second)
        assert LaunchRecord.from_state(saved(session)).node == "nid002"
        first.record.node = "nid003"
        launches.save_later(first)
        await asyncio.sleep(1.1)
        assert LaunchRecord.from_state(saved(session)).node == "nid003"
        assert len(commits) == 2

    async def test_what_else_changes_is_committed_with_the_records_and_written_with_them(self, session):
        told = []
        launches = Launches(session)
        first = launches.get("c" * 32)
        second = launches.add(Launch(record(launch_id="d" * 32), "alice", "second"))
        people = {user.name: user for user in session.query(orm.User)}
        event.listen(session, "after_flush", lambda *_: told.append("flush"))
        event.listen(session, "after_commit", lambda _: told.append("commit"))

        def renamed(name):
            user = session.query(orm.User).filter(orm.User.name == name).one()
            user.name = f"{name}-2"

        waiting = (
            launches.saved(first, lambda: renamed("alice")),
            launches.saved(second, lambda: renamed("bob")),
        )
        await asyncio.gather(*waiting)
        assert [people[name].name for name in ("alice", "bob")] == ["alice-2", "bob-2"]
        assert told == ["flush", "commit"]

    async def test_what_else_changes_is_so_too_where_another_record_is_refused(self, session):
        refuse_node_666(session)
        launches = Launches(session)
        first = launches.get("c" * 32)
        second = launches.add(Launch(record(launch_id="d" * 32), "alice", "second"))
        first.record.node = "nid666"
        alice = session.query(orm.User).filter(orm.User.name == "alice").one()

        def admin():
            alice.admin = True

        told = await asyncio.gather(
            launches.saved(first), launches.saved(second, admin), return_exceptions=True
        )
        assert "refused" in str(told[0])
        session.expire(alice)
        assert alice.admin

    async def test_what_jupyterhub_has_saved_meanwhile_is_not_saved_again(self, session):
        launches = Launches(session)
        launch = launches.get("c" * 32)
        launch.record.node = "nid007"
        launches.save_later(launch)
        row = (
            session.query(orm.Spawner)
            .join(orm.User)
            .filter(orm.Spawner.name == "", orm.User.name == "alice")
            .one()
        )
        launch.row = row
        row.state = {**row.state, STATE_KEY: launch.record.to_state()}
        session.commit()
        commits = []
        event.listen(session.get_bind(), "commit", commits.append)
        await launches.saved(launch)
        assert commits == []

    async def test_whoever_waits_hears_that_a_record_could_not_be_saved_and_may_try_again(self, session):
        def fail(_):
            raise OSError("no space left on device")

        launches = Launches(session)
        launch = launches.get("c" * 32)
        launch.record.node = "nid007"
        event.listen(session, "before_commit", fail)
        with pytest.raises(OSError, match="no space left"):
            launches.save(launch)
        with pytest.raises(OSError, match="no space left"):
            await launches.saved(launch)
        event.remove(session, "before_commit", fail)
        assert LaunchRecord.from_state(saved(session)).node == ""
        await launches.saved(launch)
        assert LaunchRecord.from_state(saved(session)).node == "nid007"

    async def test_a_record_that_the_database_refuses_keeps_no_other_from_being_saved(self, session):
        refuse_node_666(session)
        launches = Launches(session)
        first = launches.get("c" * 32)
        second = launches.add(Launch(record(launch_id="d" * 32), "alice", "second"))
        first.record.node, second.record.node = "nid666", "nid002"
        told = await asyncio.gather(launches.saved(first), launches.saved(second), return_exceptions=True)
        assert "refused" in str(told[0])
        assert told[1] is None
        assert LaunchRecord.from_state(saved(session, server="second")).node == "nid002"
        first.record.node = "nid001"
        await launches.saved(first)
        assert LaunchRecord.from_state(saved(session)).node == "nid001"

    async def test_a_database_that_is_away_is_asked_once_for_all(self, session):
        tries = []

        def fail(session):
            tries.append(session)
            raise OperationalError("commit", {}, OSError("database is locked"))

        launches = Launches(session)
        first = launches.get("c" * 32)
        second = launches.add(Launch(record(launch_id="d" * 32), "alice", "second"))
        event.listen(session, "before_commit", fail)
        told = await asyncio.gather(launches.saved(first), launches.saved(second), return_exceptions=True)
        assert [type(each) for each in told] == [OperationalError] * 2
        assert len(tries) == 1

    async def test_one_whose_row_somebody_else_has_removed_harms_nobody(self, session):
        launches = Launches(session)
        first = launches.get("c" * 32)
        second = launches.add(Launch(record(launch_id="d" * 32), "alice", "second"))
        await asyncio.gather(launches.saved(first), launches.saved(second))
        with session.get_bind().connect() as another:
            another.exec_driver_sql("delete from spawners where name = ''")
            another.commit()
        first.record.node = second.record.node = "nid002"
        await asyncio.gather(launches.saved(first), launches.saved(second), return_exceptions=True)
        assert LaunchRecord.from_state(saved(session, server="second")).node == "nid002"
        await launches.saved(first)  # there is no place for it any more

    async def test_whoever_goes_away_while_a_record_is_saved_takes_it_from_nobody(self, session):
        launches = Launches(session)
        launch = launches.get("c" * 32)
        launch.record.node = "nid007"
        going, staying = (asyncio.create_task(launches.saved(launch)) for _ in range(2))
        await asyncio.sleep(0)
        going.cancel()
        await staying
        assert LaunchRecord.from_state(saved(session)).node == "nid007"


class TestAfterARestart:
    """What an earlier hub has left in its database."""

    @pytest.mark.parametrize("phase", Phase)
    @pytest.mark.parametrize("expires", [-1, 100])
    def test_a_start_under_way_is_awaited_while_its_ticket_is_good(self, session, phase, expires):
        state = record(phase=phase, ticket_expires=time.time() + expires).to_state()
        session.query(orm.Spawner).filter(orm.Spawner.name == "second").one().state = {STATE_KEY: state}
        session.query(orm.Spawner).filter(orm.Spawner.name == "").delete()
        session.commit()
        (launch,) = Launches(session)
        started = phase in (Phase.SUBMITTING, Phase.SUBMITTED, Phase.CLAIMED)
        # A ready one whose server JupyterHub has dropped is taken up, too.
        assert launch.awaited == ((started and expires > 0) or phase is Phase.READY)
        assert launch.wanted == (launch.awaited or phase is Phase.READY)
        assert (launch.user, launch.server) == ("alice", "second")


class TestWanted:
    @pytest.mark.parametrize("phase", Phase)
    def test_a_job_should_live_until_its_launch_ends(self, phase):
        launch = Launch(record(phase=phase), "alice")
        launch.spawner = object()
        assert launch.wanted == (phase not in (Phase.ENDING, Phase.GONE))
        assert launch.gone == (phase is Phase.GONE)

    @pytest.mark.parametrize("phase", Phase)
    def test_a_launch_that_nobody_waits_for_is_wanted_only_if_its_server_is_ready(self, phase):
        assert Launch(record(phase=phase), "alice").wanted == (phase is Phase.READY)

    @pytest.mark.parametrize("phase", Phase)
    def test_one_that_the_hub_is_about_to_take_up_is_wanted_until_it_ends(self, phase):
        launch = Launch(record(phase=phase), "alice")
        launch.awaited = True
        assert launch.wanted == (phase not in (Phase.ENDING, Phase.GONE))

    @pytest.mark.parametrize("phase", [each for each in Phase if each is not Phase.SUBMITTING])
    def test_once_it_ends_the_hub_takes_it_up_no_more(self, launch, phase):
        launch.awaited = True
        launch.enter(phase)
        assert launch.awaited == (phase not in (Phase.ENDING, Phase.GONE))


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
        assert (launch.reason, launch.message) == ("failed", "Home is full.")

    def test_a_node_that_says_no_sentence_said_at_least_a_word(self, launch):
        launch.heard(Event("c" * 32, EventKind.STOPPING, 1, reason="terminated"))
        assert launch.ended == "terminated"
        assert (launch.reason, launch.message) == ("terminated", "")

    def test_the_scripts_last_words_come_after_the_servers_and_change_nothing(self, launch):
        launch.heard(
            Event("c" * 32, EventKind.STOPPING, 1, reason="failed", message="Home is full.", exit_code=22)
        )
        launch.heard_script(1)
        assert (launch.ended, launch.exit_code) == ("Home is full.", 22)

    def test_a_server_that_was_killed_leaves_the_last_words_to_the_script(self, launch):
        launch.heard_script(137)
        assert (launch.ended, launch.exit_code) == ("", 137)
        assert launch.script_ended

    @pytest.mark.parametrize("phase", Phase)
    def test_of_a_pull_is_told_until_the_launch_is_claimed(self, phase):
        launch = Launch(record(phase=phase), "alice")
        launch.heard_pulling(Pulling("", "gnu/24.11:v1"))
        assert bool(launch.messages) == (phase in (Phase.SUBMITTING, Phase.SUBMITTED))

    def test_of_words_on_a_pull_that_come_at_once_the_first_is_told(self):
        launch = Launch(record(phase=Phase.SUBMITTED), "alice")
        for done in range(1000):
            launch.heard_pulling(Pulling("", "gnu/24.11:v1", done * 10**9))
        assert len(launch.messages) < 5

    def test_a_sign_of_life_ends_a_doubt(self, launch):
        launch.doubt = Known()
        launch.heard(Event("c" * 32, EventKind.ALIVE, 1))
        assert launch.doubt is None

    def test_the_first_reason_of_a_failure_counts(self, launch):
        first, second = Exception("no port"), Exception("cancelled")
        launch.fail(first)
        launch.fail(second)
        assert launch.failure is first


class TestProgress:
    async def collect(self, launch):
        return [message["message"] async for message in launch.progress()]

    @pytest.fixture
    def launch(self, launch):
        launch.spawner = object()
        return launch

    async def test_everybody_who_looks_sees_all_from_the_first_message_to_the_last(self, launch):
        launch.say(5, "Submitting")
        early = asyncio.create_task(self.collect(launch))
        await asyncio.sleep(0)
        launch.say(10, "Submitted as job 42")
        late = asyncio.create_task(self.collect(launch))
        await asyncio.sleep(0)
        launch.enter(Phase.READY)
        await asyncio.sleep(0)
        launch.say(READY_AT, "Ready")
        async with asyncio.timeout(10):
            assert await early == await late == ["Submitting", "Submitted as job 42", "Ready"]

    async def test_the_same_is_not_said_twice_in_a_row(self, launch):
        for text in ("pending", "pending", "running", "pending"):
            launch.say(20, text)
        assert [each["message"] for each in launch.messages] == ["pending", "running", "pending"]

    @pytest.mark.parametrize("phase", [Phase.ENDING, Phase.GONE])
    async def test_it_ends_when_the_launch_is_over(self, launch, phase):
        launch.enter(phase)
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
