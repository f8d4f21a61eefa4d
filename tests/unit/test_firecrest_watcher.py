"""One watcher looks at all jobs of an identity: seldom, never wrong about a death, never silent for good."""

import asyncio
import logging
from contextlib import ExitStack
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import run

from launcher.errors import FirecrestError
from launcher.firecrest import JobStatus, Known, Verdict, Watcher
from launcher.firecrest.watcher import DOUBTFUL, ENDING, STARTING

LOG = logging.getLogger("test")
RUNNING, PENDING, COMPLETED = JobStatus("RUNNING"), JobStatus("PENDING"), JobStatus("COMPLETED")
LATE = FirecrestError("FirecREST did not answer.")
LIST_FAILS = FirecrestError("FirecREST refused the request.", why="bad row", status=500)
ERRORS = [
    LATE,
    *(FirecrestError("No.", status=status) for status in (200, 400, 401, 403, 404, 408, 429, 500, 503)),
]


class Identity:
    def __init__(self, name="alice", *, everybody=False):
        self.key = self.name = name
        self.everybody = everybody


ALICE = Identity()
SERVICE = Identity("service account", everybody=True)


class Firecrest:
    """Answers as it is told, and counts.

    Attributes:
        truth: What Slurm knows, by job id.
        list_error: Raised instead of a list.
        error: Raised instead of any answer, by the identity's name or for all.
        hidden: Identities that don't see the jobs.
        unlisted: Jobs that no list holds.
        lists, singles: Requests so far, with their times; singles by identity and job.
    """

    def __init__(self, **truth):
        self.truth = {job_id.removeprefix("job"): status for job_id, status in truth.items()}
        self.list_error = self.error = None
        self.errors = {}
        self.hidden = set()
        self.unlisted = set()
        self.lists = []
        self.singles = []
        self.delay = 0.1

    @property
    def requests(self):
        return len(self.lists) + len(self.singles)

    async def jobs(self, who):
        self.lists.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.delay)
        self._raise(self.list_error, who)
        if who.name in self.hidden:
            return {}
        return {job_id: status for job_id, status in self.truth.items() if job_id not in self.unlisted}

    async def status(self, who, job_id):
        self.singles.append((who.name, job_id))
        await asyncio.sleep(self.delay)
        self._raise(self.errors.get(job_id), who)
        return None if who.name in self.hidden else self.truth.get(job_id)

    def _raise(self, error, who):
        for each in (self.error, self.errors.get(who.name), error):
            if each:
                raise each


def watcher(firecrest, who=ALICE, **more):
    return Watcher(firecrest, who, LOG, **more)


async def watched(firecrest, seconds, *, who=ALICE, owner=None, pace=(1.0,), looks=None):
    """Follow job 1 for so long; return what is known, and put each look's verdict into a list."""
    looks = [] if looks is None else looks
    with watcher(firecrest, who).follow("1", pace, owner=owner) as follower:
        try:
            async with asyncio.timeout(seconds):
                while True:
                    known = await follower.next_look()
                    looks.append(known.verdict)
        except TimeoutError:
            return follower.known


@pytest.mark.usefixtures("virtual_time")
class TestOneListForAll:
    async def test_one_request_answers_all_who_ask_at_the_same_moment(self):
        firecrest = Firecrest(**{f"job{each}": RUNNING for each in range(200)})
        one = watcher(firecrest)
        known = await asyncio.gather(*(one.look(str(each)) for each in range(200)))
        assert {each.verdict for each in known} == {Verdict.ALIVE}
        assert firecrest.requests == 1

    async def test_two_who_ask_for_the_same_job_share_what_is_known(self):
        firecrest = Firecrest(job1=RUNNING)
        one = watcher(firecrest)
        with one.follow("1", STARTING) as first, one.follow("1", ENDING) as second:
            await second.next_look()
            assert first.known is second.known
            assert first.known.status == RUNNING

    async def test_who_comes_while_a_list_is_under_way_gets_one_that_was_asked_for_later(self):
        """What was sent off before somebody asked may be older than what they ask about."""
        firecrest = Firecrest(job1=RUNNING, job2=RUNNING)
        firecrest.delay = 5
        one = watcher(firecrest)
        first = asyncio.create_task(one.look("1"))
        await asyncio.sleep(1)
        second = asyncio.create_task(one.look("2"))
        await asyncio.gather(first, second)
        assert len(firecrest.lists) == 2

    async def test_what_a_list_holds_is_told_on(self):
        firecrest = Firecrest(job1=RUNNING, job7=PENDING)
        heard = []
        await watcher(firecrest, listed=heard.append).look("1")
        assert heard == [{"1": RUNNING, "7": PENDING}]

    async def test_a_listener_that_breaks_does_not_end_the_watch(self, caplog):
        def breaks(_):
            raise ZeroDivisionError

        firecrest = Firecrest(job1=RUNNING)
        one = watcher(firecrest, listed=breaks)
        assert (await one.look("1")).verdict is not Verdict.DEAD
        await asyncio.sleep(60)
        assert (await one.look("1")).verdict is not Verdict.DEAD
        assert len(firecrest.lists) == 2

    async def test_each_follower_is_told_of_each_look(self):
        told = []
        with watcher(Firecrest(job1=RUNNING)).follow("1", (1.0,), told=lambda: told.append(1)):
            await asyncio.sleep(11)
        assert 8 <= len(told) <= 11


@pytest.mark.usefixtures("virtual_time")
class TestPace:
    async def test_a_launch_that_starts_within_90_seconds_costs_two_looks(self):
        firecrest = Firecrest(job1=PENDING)
        with watcher(firecrest).follow("1", STARTING):
            await asyncio.sleep(90)
        assert firecrest.requests == 2

    @pytest.mark.parametrize("launches", [1, 10, 300])
    async def test_any_number_of_launches_that_wait_cost_one_list_a_minute_together(self, launches):
        firecrest = Firecrest(**{f"job{each}": PENDING for each in range(launches)})
        one = watcher(firecrest, SERVICE)
        with ExitStack() as following:
            for each in range(launches):
                following.enter_context(one.follow(str(each), STARTING, owner=ALICE))
                await asyncio.sleep(600 / launches)
            await asyncio.sleep(60)  # the last one has just begun
            before = firecrest.requests
            await asyncio.sleep(3600)
            assert 40 <= firecrest.requests - before <= 60
        assert firecrest.singles == []

    async def test_who_waits_in_the_queue_does_not_slow_down_who_is_about_to_start(self):
        firecrest = Firecrest(job1=PENDING, job2=PENDING)
        one = watcher(firecrest)
        with one.follow("1", STARTING):
            await asyncio.sleep(600)
            firecrest.lists.clear()
            with one.follow("2", STARTING) as follower:
                async with asyncio.timeout(4):
                    await follower.next_look()

    async def test_a_few_are_asked_for_one_by_one_where_a_list_is_long(self):
        """It keeps all others of the hub waiting, and takes FirecREST long."""
        firecrest = Firecrest(job1=PENDING, **{f"job{number}": RUNNING for number in range(2, 700)})
        watching = watcher(firecrest)
        with watching.follow("1", (0.0, 10.0)) as one:
            assert (await one.next_look()).status is PENDING
            assert (len(firecrest.lists), len(firecrest.singles)) == (1, 0)
            assert (await one.next_look()).status is PENDING
            assert (len(firecrest.lists), len(firecrest.singles)) == (1, 1)
            with ExitStack() as others:
                for number in range(2, 8):
                    others.enter_context(watching.follow(str(number), (0.0, 600.0)))
                await asyncio.sleep(1)
            assert (len(firecrest.lists), len(firecrest.singles)) == (2, 1)

    async def test_who_finds_something_odd_has_the_next_look_come_sooner_and_never_later(self):
        with watcher(Firecrest(job1=RUNNING)).follow("1", (1.0, 600.0, 10.0)) as follower:
            await follower.next_look()
            follower.look_within(5)
            async with asyncio.timeout(6):
                await follower.next_look()
            follower.look_within(1000)
            async with asyncio.timeout(13):
                await follower.next_look()

    async def test_without_a_follower_nothing_is_asked_and_no_task_is_left(self):
        firecrest = Firecrest(job1=PENDING)
        tasks = asyncio.all_tasks()
        with watcher(firecrest).follow("1", STARTING):
            await asyncio.sleep(60)
        before = firecrest.requests
        await asyncio.sleep(3600)
        assert firecrest.requests == before
        assert asyncio.all_tasks() == tasks

    async def test_who_goes_in_the_middle_of_a_look_leaves_nothing_behind(self):
        firecrest = Firecrest(job1=PENDING)
        firecrest.delay = 20
        tasks = asyncio.all_tasks()
        one = watcher(firecrest)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await one.look("1")
        await asyncio.sleep(60)
        assert asyncio.all_tasks() == tasks
        assert (await one.look("1")).verdict is Verdict.ALIVE

    async def test_a_job_that_lists_do_not_hold_is_asked_for_at_its_own_pace(self):
        """However often others are looked at."""
        firecrest = Firecrest(job1=RUNNING, job2=PENDING)
        firecrest.unlisted = {"1"}
        one = watcher(firecrest)
        with one.follow("1", (300.0,)) as doubtful, one.follow("2", (1.0,)):
            await asyncio.sleep(1000)
            assert doubtful.known.status == RUNNING
        assert 2 <= len(firecrest.singles) <= 1000 / 150 + 1


@pytest.mark.usefixtures("virtual_time")
class TestErrorsAreNotDeaths:
    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: str(error.status))
    async def test_an_error_keeps_the_last_state_and_is_never_dead(self, error):
        firecrest = Firecrest(job1=RUNNING)
        with watcher(firecrest).follow("1", (1.0,)) as follower:
            await follower.next_look()
            firecrest.error = error
            looks = {(await follower.next_look()).verdict for _ in range(20)}
            known = follower.known
        assert looks == {Verdict.UNKNOWN}
        assert known.status == RUNNING
        assert error.what in known.problem

    async def test_a_state_that_nobody_documents_is_an_error_too(self):
        firecrest = Firecrest(job1=RUNNING)
        with watcher(firecrest).follow("1", (10.0,)) as follower:
            await follower.next_look()
            firecrest.truth["1"] = JobStatus("DREAMING")
            await follower.next_look()
            await asyncio.sleep(600)
            known = follower.known
        assert known.verdict is Verdict.UNKNOWN
        assert known.status == RUNNING
        assert "DREAMING" in known.problem

    @pytest.mark.parametrize("error", [LATE, LIST_FAILS])
    async def test_afterwards_it_is_known_again(self, error):
        firecrest = Firecrest(job1=RUNNING)
        firecrest.error = error
        with watcher(firecrest).follow("1", (1.0,)) as follower:
            await asyncio.sleep(3600)
            firecrest.error = None
            async with asyncio.timeout(400):
                while follower.known.verdict is not Verdict.ALIVE:
                    await follower.next_look()
            assert follower.known.problem == ""

    async def test_an_empty_list_is_no_death(self):
        firecrest = Firecrest(job1=RUNNING)
        firecrest.unlisted = {"1"}
        looks = []
        known = await watched(firecrest, 3600, looks=looks)
        assert set(looks) == {Verdict.ALIVE}
        assert known.status == RUNNING

    async def test_states_that_go_backwards_are_alive(self):
        looks = []
        states = [RUNNING, JobStatus("PENDING", nodes="nid001"), RUNNING, PENDING, JobStatus("REQUEUED")]
        firecrest = Firecrest()
        with watcher(firecrest).follow("1", (1.0,)) as follower:
            for firecrest.truth["1"] in states:
                looks.append((await follower.next_look()).verdict)
        assert set(looks) == {Verdict.ALIVE}

    async def test_a_terminal_state_is_dead_and_stays_so_when_nothing_more_is_told(self):
        firecrest = Firecrest(job1=COMPLETED)
        with watcher(firecrest).follow("1", (1.0,)) as follower:
            assert (await follower.next_look()).verdict is Verdict.DEAD
            firecrest.error = LATE
            assert (await follower.next_look()).verdict is Verdict.DEAD

    async def test_a_mistake_of_ours_is_no_death_and_does_not_end_the_watch(self, caplog):
        firecrest = Firecrest(job1=RUNNING)
        firecrest.error = ZeroDivisionError()
        with watcher(firecrest).follow("1", (1.0,)) as follower:
            assert (await follower.next_look()).verdict is Verdict.UNKNOWN
            firecrest.error = None
            assert (await follower.next_look()).verdict is Verdict.ALIVE
        assert "a look at them failed" in caplog.text


@pytest.mark.usefixtures("virtual_time")
class TestBackOff:
    async def test_looks_become_seldom_with_a_ceiling(self):
        firecrest = Firecrest(job1=RUNNING)
        firecrest.error = LATE
        with watcher(firecrest).follow("1", (1.0,)):
            await asyncio.sleep(4 * 3600)
        pauses = [after - before for before, after in pairwise(firecrest.lists)]
        assert min(pauses) > 10
        assert 200 < max(pauses) < 400
        assert len({round(pause, 1) for pause in pauses}) > len(pauses) / 2, "they have jitter"

    async def test_any_number_of_followers_cost_no_more(self):
        firecrest = Firecrest(**{f"job{each}": RUNNING for each in range(20)})
        firecrest.error = LATE
        one = watcher(firecrest)
        with ExitStack() as following:
            for each in range(20):
                following.enter_context(one.follow(str(each), ENDING))
            await asyncio.sleep(600)
        assert firecrest.requests < 10

    async def test_who_has_just_submitted_waits_for_no_look_that_was_put_off(self):
        firecrest = Firecrest(job1=RUNNING)
        looks = watcher(firecrest)
        firecrest.error = LATE
        with looks.follow("1", STARTING):
            await asyncio.sleep(3600)
        firecrest.error = None
        looks.answered()
        with looks.follow("2", STARTING) as follower:
            firecrest.truth["2"] = JobStatus("FAILED")
            async with asyncio.timeout(STARTING[0] + 1):
                assert (await follower.next_look()).verdict is Verdict.DEAD

    async def test_a_look_while_looks_fail_is_told_so_at_once(self, virtual_time):
        """A page that somebody waits for does not wait for FirecREST to come back."""
        firecrest = Firecrest(job1=RUNNING)
        firecrest.error = LATE
        one = watcher(firecrest)
        with one.follow("1", DOUBTFUL) as follower:
            await asyncio.sleep(1800)
            await follower.next_look()  # back-off may just be over
            asked, before = firecrest.requests, virtual_time.elapsed
            known = await one.look("2")
            assert known.verdict is Verdict.UNKNOWN
            assert LATE.what in known.problem
            assert (firecrest.requests, virtual_time.elapsed) == (asked, before)

    async def test_somebody_new_is_looked_after_soon(self):
        """They may have brought a log-in that is good again."""
        firecrest = Firecrest(job1=RUNNING, job2=PENDING)
        firecrest.error = FirecrestError("Your log-in has expired.", status=401)
        one = watcher(firecrest)
        with one.follow("1", STARTING):
            await asyncio.sleep(3600)
            firecrest.error = None
            with one.follow("2", STARTING) as follower:
                async with asyncio.timeout(20):
                    assert (await follower.next_look()).status == PENDING


@pytest.mark.usefixtures("virtual_time")
class TestAListThatFailsAlone:
    """One oddly named job anywhere makes FirecREST's list fail; a single answer still comes."""

    async def test_jobs_are_asked_for_one_by_one(self):
        firecrest = Firecrest(job1=RUNNING, job2=PENDING)
        firecrest.list_error = LIST_FAILS
        one = watcher(firecrest)
        first, second = await asyncio.gather(one.look("1"), one.look("2"))
        assert (first.status, second.status) == (RUNNING, PENDING)
        assert first.verdict is second.verdict is Verdict.ALIVE

    async def test_many_of_them_take_turns(self):
        firecrest = Firecrest(**{f"job{each}": RUNNING for each in range(20)})
        firecrest.list_error = LIST_FAILS
        one = watcher(firecrest)
        with ExitStack() as following:
            followers = [following.enter_context(one.follow(str(each), STARTING)) for each in range(20)]
            await asyncio.sleep(300)
            assert {each.known.status for each in followers} == {RUNNING}
            before = firecrest.requests
            await asyncio.sleep(600)
            assert firecrest.requests - before <= 6 * 20

    @pytest.mark.parametrize("list_error", [None, LIST_FAILS])
    async def test_jobs_that_can_not_be_told_keep_nobody_else_waiting(self, list_error):
        firecrest = Firecrest(**{f"job{each}": RUNNING for each in range(20)})
        firecrest.list_error = list_error
        firecrest.unlisted = set(firecrest.truth)
        firecrest.errors = {str(each): LIST_FAILS for each in range(6)}
        one = watcher(firecrest)
        with ExitStack() as following:
            followers = [following.enter_context(one.follow(str(each), (10.0,))) for each in range(20)]
            await asyncio.sleep(4 * 3600)
            assert {each.known.status for each in followers[:6]} == {None}
            assert {each.known.status for each in followers[6:]} == {RUNNING}
            assert {each.known.verdict for each in followers} <= {Verdict.ALIVE, Verdict.UNKNOWN}

    async def test_a_job_whose_single_answer_came_is_known_though_the_next_one_failed(self):
        firecrest = Firecrest(job1=RUNNING, job2=RUNNING)
        firecrest.list_error = LIST_FAILS
        firecrest.errors = {"2": LATE}
        one = watcher(firecrest)
        with one.follow("1", (1.0,)) as first, one.follow("2", (1.0,)) as second:
            await asyncio.sleep(60)
            known = [first.known, second.known]
            assert [each.status for each in known] == [RUNNING, None]


@pytest.mark.usefixtures("virtual_time")
class TestAJobThatVanishes:
    async def test_it_is_lost_after_several_answers_spread_over_time(self, virtual_time):
        firecrest = Firecrest(job1=RUNNING)
        looks = []
        with watcher(firecrest).follow("1", (1.0,)) as follower:
            await follower.next_look()
            firecrest.truth.clear()
            began = virtual_time.elapsed
            while (await follower.next_look()).verdict is not Verdict.DEAD:
                looks.append(follower.known.verdict)
            assert virtual_time.elapsed - began > 40
            assert follower.known.lost
        assert set(looks) == {Verdict.UNKNOWN}
        assert len(looks) > 10

    async def test_a_slip_of_accounting_is_forgotten(self):
        firecrest = Firecrest(job1=RUNNING)
        looks = []
        with watcher(firecrest).follow("1", (5.0,)) as follower:
            for _ in range(50):
                firecrest.truth.clear()
                await asyncio.sleep(30)
                firecrest.truth["1"] = RUNNING
                await asyncio.sleep(12)
                looks.append(follower.known.verdict)
        assert set(looks) == {Verdict.ALIVE}

    async def test_answers_of_a_moment_count_as_one(self):
        firecrest = Firecrest()
        known = await watched(firecrest, 30, pace=(0.1,))
        assert known.verdict is Verdict.UNKNOWN

    async def test_a_service_account_that_may_not_see_a_job_asks_its_owner(self):
        firecrest = Firecrest(job1=RUNNING)
        firecrest.hidden = {SERVICE.name}
        looks = []
        known = await watched(firecrest, 600, who=SERVICE, owner=ALICE, looks=looks)
        assert known.status == RUNNING
        assert set(looks) == {Verdict.ALIVE}
        assert {who for who, _ in firecrest.singles} == {"alice"}

    async def test_the_owners_word_makes_it_lost(self):
        firecrest = Firecrest()
        firecrest.hidden = {SERVICE.name}
        known = await watched(firecrest, 600, who=SERVICE, owner=ALICE)
        assert known.lost

    @pytest.mark.parametrize("owner", [None, ALICE])
    async def test_without_the_owners_token_it_is_unknown_for_ever(self, owner):
        firecrest = Firecrest(job1=RUNNING)
        firecrest.hidden = {SERVICE.name}
        firecrest.errors = {"alice": FirecrestError("Your log-in has expired.", status=401)}
        looks = []
        known = await watched(firecrest, 24 * 3600, who=SERVICE, owner=owner, pace=(60.0,), looks=looks)
        assert set(looks) == {Verdict.UNKNOWN}
        assert not known.lost
        assert "may not see" in known.problem

    async def test_a_service_account_that_has_seen_the_job_is_believed(self):
        firecrest = Firecrest(job1=RUNNING)
        firecrest.errors = {"alice": FirecrestError("Your log-in has expired.", status=401)}
        with watcher(firecrest, SERVICE).follow("1", (5.0,), owner=ALICE) as follower:
            await follower.next_look()
            firecrest.truth.clear()
            await asyncio.sleep(120)
            assert follower.known.lost

    async def test_an_identity_provider_that_is_away_says_nothing_of_a_job(self):
        firecrest = Firecrest()
        firecrest.hidden = {SERVICE.name}
        firecrest.errors = {"alice": FirecrestError("The identity provider did not renew your log-in.")}
        known = await watched(firecrest, 3600, who=SERVICE, owner=ALICE)
        assert known.verdict is Verdict.UNKNOWN


ANSWERS = st.sampled_from(
    [
        *(JobStatus(word) for word in ("RUNNING", "PENDING", "COMPLETING", "REQUEUED", "SUSPENDED")),
        *(JobStatus(word) for word in ("", "DREAMING", "None", "UPDATE_DB")),
        *ERRORS,
        LIST_FAILS,
        "unlisted",
        "hidden",
    ]
)
TERMINAL = st.sampled_from([JobStatus(word) for word in ("COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL")])


class TestProperties:
    """Whatever comes, in whatever order."""

    @staticmethod
    async def play(answers, who, owner, *, every=7.0):
        firecrest = Firecrest(job1=RUNNING)
        verdicts = []
        with watcher(firecrest, who).follow("1", (every,), owner=owner) as follower:
            for answer in answers:
                firecrest.truth["1"] = answer if isinstance(answer, JobStatus) else RUNNING
                firecrest.error = answer if isinstance(answer, Exception) else None
                firecrest.unlisted = {"1"} if answer == "unlisted" else set()
                firecrest.hidden = {SERVICE.name} if answer == "hidden" else set()
                verdicts.append((await follower.next_look()).verdict)
            return follower.known, verdicts

    @given(st.lists(ANSWERS, max_size=40), st.booleans())
    def test_nothing_but_a_terminal_state_or_absence_again_and_again_is_dead(self, answers, everybody):
        who, owner = (SERVICE, ALICE) if everybody else (ALICE, None)
        _, verdicts = run(self.play(answers, who, owner))
        assert Verdict.DEAD not in verdicts

    @given(st.lists(ANSWERS, max_size=10), TERMINAL)
    def test_a_terminal_state_is_dead_whatever_came_before(self, answers, last):
        known, _ = run(self.play([*answers, last], ALICE, None))
        assert known.verdict is Verdict.DEAD
        assert known.status == last

    @given(st.lists(st.booleans(), max_size=60), st.floats(0.1, 40))
    def test_an_absence_is_believed_only_if_it_lasts(self, seen, every):
        """Played against a plain account of what was answered when."""

        async def play():
            firecrest = Firecrest()
            absent_since, absences = None, 0
            with watcher(firecrest).follow("1", (every,)) as follower:
                for there in seen:
                    firecrest.truth = {"1": RUNNING} if there else {}
                    known = await follower.next_look()
                    now = asyncio.get_running_loop().time()
                    absent_since = None if there else (now if absent_since is None else absent_since)
                    absences = 0 if there else absences + 1
                    if known.verdict is Verdict.DEAD:
                        assert absences >= 3
                        assert now - absent_since >= 44.9
                    elif not there:
                        assert absences < 3 or now - absent_since < 45.1 + 2 * 1.15 * every + 1

        run(play())

    @given(st.lists(st.sampled_from(["fail", "saw", "odd", "miss"]), max_size=30))
    def test_what_is_known_always_has_a_verdict(self, happenings):
        known = Known()
        for second, each in enumerate(happenings):
            if each == "fail":
                known.failed("late")
            elif each == "miss":
                known.missed(second)
            else:
                known.saw(RUNNING if each == "saw" else JobStatus("ODD"))
            assert known.looks == second + 1
            assert known.verdict is (Verdict.ALIVE if each == "saw" else Verdict.UNKNOWN)
            assert (known.problem == "") == (each == "saw")


class TestTheLastState:
    def test_is_that_of_a_job_that_is_over(self):
        known = Known()
        assert known.final is None
        known.saw(RUNNING)
        assert known.final is None
        known.saw(COMPLETED)
        assert known.final is COMPLETED

    def test_an_error_afterwards_does_not_change_it(self):
        known = Known()
        known.saw(COMPLETED)
        known.failed("FirecREST did not answer.")
        assert known.final is COMPLETED

    def test_of_one_that_the_scheduler_does_not_know_any_more_it_is_empty(self):
        known = Known()
        known.saw(RUNNING)
        for now in (0.0, 60.0, 120.0):
            known.missed(now)
        assert known.lost
        assert known.final == JobStatus("")
