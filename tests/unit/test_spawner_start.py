"""One start: a submit whose answer is lost is looked for, and a job that may live gets no second one."""

import asyncio

import pytest
from stand_in import LATE, LOG, REFUSED, Person, Slurm, jobs, launch, script

from launcher.database.launch_record import Phase
from launcher.errors import FirecrestError, JobRejected
from launcher.protocol import Event, EventKind, Pulling
from launcher.spawner.start import Start
from launcher.words.failure import LaunchFailed

pytestmark = pytest.mark.usefixtures("virtual_time")

STALLED = FirecrestError(
    "Refused.", why="('Channel not open for sending',)", status=500, may_have_happened=True
)
TIMED_OUT = FirecrestError("Refused.", why="Command timed out", status=408, may_have_happened=True)
BAD_GATEWAY = FirecrestError("Refused.", why="HTTP 502", status=502, may_have_happened=True)
UNHEALTHY = FirecrestError("Refused.", why="The scheduler service is unhealthy", status=503)
NOT_BEGUN = FirecrestError("FirecREST did not answer.", why="ConnectError")
UNSURE = [LATE, STALLED, TIMED_OUT, BAD_GATEWAY]


class Starting:
    """A start, with all that is around it.

    Attributes:
        committed: Whether the record is saved that a submit waits for.
        refused: Why the database does not take it, or None.
        saved: The phases and job ids that were saved, in order.
        suspected: How often there was reason to look for strays.
        ended: How often the launch was ended.
        answers: Whether the server answers the hub.
        probes: How often it was asked.
    """

    def __init__(self, slurm, *, seconds=4 * 3600, service=None, **record):
        self.slurm = slurm
        self.launch = launch(**record)
        self.saved = []
        self.suspected = self.ended = self.probes = 0
        self.answers = True
        self.committed = False
        self.refused = None
        self.start = Start(
            self.launch,
            jobs(slurm, Person(), service, suspect=self._suspect),
            seconds=seconds,
            save=lambda: self.saved.append((self.record.phase, self.record.job_id)),
            end=self._end,
            log=LOG,
        )

    @property
    def record(self):
        return self.launch.record

    async def _commit(self):
        await asyncio.sleep(0.05)
        if self.refused:
            raise self.refused
        self.committed = True

    def _suspect(self):
        self.suspected += 1

    def _end(self):
        self.ended += 1
        if not self.launch.gone:
            self.launch.enter(Phase.ENDING)

    async def _proves(self, of):
        assert of is self.launch
        self.probes += 1
        return self.answers

    def submit(self):
        self.start.submit(script(self.launch), self._commit())
        return self.launch.submission

    def begin(self):
        """Submit, and wait in the background until the server is ready."""
        self.submit()
        return asyncio.create_task(self.start.until_ready(self._proves))

    def claims(self, job_id="1"):
        self.record.job_id = self.record.job_id or job_id
        self.launch.enter(Phase.CLAIMED)

    def ready(self):
        self.record.url = "http://10.0.0.7:40000"
        self.launch.enter(Phase.READY)

    @property
    def said(self):
        return [message["message"] for message in self.launch.messages]


async def fails(waiting, within):
    with pytest.raises(LaunchFailed) as failure:
        async with asyncio.timeout(within):
            await waiting
    return failure.value


@pytest.fixture
def slurm():
    return Slurm()


@pytest.fixture
def starting(slurm):
    return Starting(slurm)


class TestSubmit:
    async def test_the_id_is_saved_as_soon_as_it_is_known(self, starting):
        await starting.submit()
        assert starting.record.job_id == "1"
        assert starting.saved == [(Phase.SUBMITTED, "1")]
        assert starting.said[-1] == "Submitted as job 1"

    async def test_nothing_is_submitted_before_the_record_is_saved(self, slurm, starting):
        async def submit(*_):
            seen.append(starting.committed)
            return "1"

        seen, slurm.submit = [], submit
        await starting.submit()
        assert seen == [True]

    async def test_a_record_that_can_not_be_saved_fails_the_start_without_a_job(self, slurm, starting):
        starting.refused = OSError("no space left on device")
        failure = await fails(starting.begin(), within=10)
        assert "The hub made a mistake" in failure.jupyterhub_message
        assert slurm.calls == {}
        assert starting.launch.gone

    async def test_neither_has_one_that_is_stopped_before_that(self, slurm, starting):
        waiting = starting.begin()
        starting.launch.enter(Phase.ENDING)
        failure = await fails(waiting, within=10)
        assert "stopped" in failure.jupyterhub_message
        assert slurm.calls == {}
        assert starting.launch.gone

    async def test_a_start_that_is_cancelled_leaves_the_submit_running(self, slurm, starting):
        """As JupyterHub does on Stop and at its own end: the id must not be lost."""
        slurm.seconds = 20
        start = starting.begin()
        await asyncio.sleep(1)
        start.cancel()
        await asyncio.wait({start})
        await starting.launch.submission
        assert starting.record.job_id == "1"
        assert starting.saved == [(Phase.SUBMITTED, "1")]

    async def test_what_the_scheduler_refuses_is_told_in_its_words_and_not_tried_again(self, slurm, starting):
        slurm.submits = [JobRejected("The scheduler refused the job.", why="invalid partition", status=500)]
        failure = await fails(starting.begin(), within=10)
        assert "invalid partition" in failure.jupyterhub_message
        assert slurm.calls["submit"] == 1
        assert starting.launch.gone

    @pytest.mark.parametrize("status", [400, 401, 404])
    async def test_neither_is_what_firecrest_refuses(self, slurm, starting, status):
        slurm.submits = [FirecrestError("Refused.", status=status)]
        await fails(starting.begin(), within=10)
        assert slurm.calls == {"submit": 1}
        assert starting.launch.gone

    async def test_a_mistake_of_ours_fails_the_launch_at_once(self, slurm, starting, caplog):
        slurm.submits = [ZeroDivisionError()]
        await fails(starting.begin(), within=10)
        assert "the submit failed" in caplog.text


class TestASubmitThatMayHaveHappened:
    @pytest.mark.parametrize("error", UNSURE, ids=lambda error: str(error.status))
    @pytest.mark.parametrize("later", [0, 4, 15])
    async def test_the_job_is_found(self, slurm, starting, error, later):
        slurm.submits = [(error, later)]
        await starting.submit()
        assert starting.record.job_id == "1"
        assert starting.record.phase is Phase.SUBMITTED
        assert slurm.calls["submit"] == 1
        assert len(slurm.jobs_by_id) == 1

    async def test_among_the_users_other_jobs(self, slurm, starting):
        other = launch("alice", "second")
        slurm.add(script(other))
        slurm.add("#!/bin/bash\n# launch \n")
        slurm.add("")
        slurm.add(script(starting.launch), user="bob")
        slurm.submits = [(STALLED, 1)]
        await starting.submit()
        assert starting.record.job_id == "5"

    async def test_found_nowhere_it_is_submitted_again(self, slurm, starting, virtual_time):
        slurm.submits = [STALLED]
        await starting.submit()
        assert virtual_time.elapsed > 15, "it had time to show"
        assert starting.record.job_id == "1"
        assert slurm.calls["submit"] == 2
        assert slurm.most_alive == 1
        assert starting.suspected

    async def test_not_for_ever(self, slurm, starting):
        slurm.submits = [STALLED] * 100
        failure = await fails(starting.begin(), within=300)
        assert "Channel not open" in failure.jupyterhub_message
        assert slurm.calls["submit"] == 4
        assert starting.launch.gone
        assert slurm.calls.total() < 40

    @pytest.mark.parametrize("error", [NOT_BEGUN, UNHEALTHY], ids=lambda error: str(error.status))
    async def test_one_that_was_surely_not_begun_is_made_again_without_a_look(self, slurm, starting, error):
        slurm.submits = [error, error]
        await starting.submit()
        assert starting.record.job_id == "1"
        assert slurm.calls == {"submit": 3}

    async def test_while_nobody_can_be_asked_it_is_neither_given_up_nor_made_again(self, slurm, starting):
        slurm.submits = [(STALLED, 1)]
        slurm.errors["all"] = LATE
        start = starting.begin()
        await asyncio.sleep(3600)
        assert not start.done()
        assert slurm.calls["submit"] == 1
        assert slurm.calls["jobs"] < 80
        assert "goes on asking" in starting.said[-1]
        slurm.errors.clear()
        await asyncio.sleep(120)
        assert starting.record.job_id == "1"
        assert slurm.calls["submit"] == 1
        start.cancel()

    async def test_an_error_among_the_looks_counts_as_none(self, slurm, starting):
        slurm.submits = [(STALLED, 15)]
        slurm.errors["mark"] = LATE
        starting.submit()
        await asyncio.sleep(1800)
        assert slurm.calls["submit"] == 1
        slurm.errors.clear()
        await starting.launch.submission
        assert starting.record.job_id == "1"

    async def test_a_claim_is_an_answer_too(self, slurm, starting):
        slurm.submits = [(LATE, 0)]
        slurm.errors["jobs"] = LATE
        starting.submit()
        await asyncio.sleep(30)
        starting.claims()
        await starting.launch.submission
        assert starting.record.job_id == "1"
        assert starting.record.phase is Phase.CLAIMED
        assert slurm.calls["submit"] == 1

    @pytest.mark.parametrize("error", [STALLED, NOT_BEGUN], ids=["found nowhere", "not begun"])
    async def test_a_claim_that_comes_just_before_the_next_submit_prevents_it(self, slurm, starting, error):
        slurm.submits = [error]
        starting.submit()
        while not any("the hub tries again" in text for text in starting.said):
            await asyncio.sleep(0.1)
        starting.claims("7")
        await starting.launch.submission
        assert starting.record.job_id == "7"
        assert slurm.calls["submit"] == 1

    async def test_of_two_jobs_the_one_that_claimed_first_is_kept(self, slurm, starting):
        """The first one, stalled long enough to be given up, claims while the second submit is answered."""
        slurm.submits = [STALLED]
        slurm.seconds = 2
        starting.submit()
        while slurm.calls["submit"] < 2:
            await asyncio.sleep(0.1)
        starting.claims(slurm.add(script(starting.launch)))
        await starting.launch.submission
        assert starting.record.job_id == "1"
        assert slurm.alive == ["1"]

    async def test_after_stop_nothing_more_is_submitted_and_the_job_is_not_forgotten(self, slurm, starting):
        slurm.submits = [STALLED]
        starting.submit()
        await asyncio.sleep(1)
        starting.launch.enter(Phase.ENDING)
        await starting.launch.submission
        assert slurm.calls["submit"] == 1
        assert not starting.launch.gone, "whoever ends it must still look for the job"

    async def test_stop_while_the_hub_pauses_before_the_next_submit(self, slurm, starting):
        slurm.submits = [NOT_BEGUN]
        starting.submit()
        await asyncio.sleep(1)
        starting.launch.enter(Phase.ENDING)
        await starting.launch.submission
        assert slurm.calls["submit"] == 1
        assert starting.launch.gone


class TestUntilReady:
    async def test_the_url_comes_with_ready(self, starting):
        start = starting.begin()
        await asyncio.sleep(5)
        starting.claims()
        await asyncio.sleep(5)
        starting.ready()
        assert await start == "http://10.0.0.7:40000"
        assert starting.said[-1] == "JupyterLab is ready"

    async def test_but_not_before_the_server_answers(self, starting):
        """JupyterHub's own first look at it comes later, and would fail the start without a word on why."""
        starting.answers = False
        start = starting.begin()
        await asyncio.sleep(5)
        starting.ready()
        await asyncio.sleep(10)
        assert not start.done()
        starting.answers = True
        async with asyncio.timeout(5):
            assert await start
        assert starting.probes <= 15

    async def test_the_first_answer_may_come_as_late_as_the_hub_is_busy(self, starting):
        """After a restart it asks all servers, so many at a time."""

        async def proves(_):
            await asyncio.sleep(60)
            return True

        starting.record.job_id = "1"
        starting.ready()
        async with asyncio.timeout(70):
            assert await starting.start.until_ready(proves)

    async def test_one_that_became_ready_before_it_was_waited_for_is_asked_all_the_same(self, starting):
        """A start that is taken up: its node may say so while the hub saves it."""
        starting.answers = False
        starting.record.job_id = "1"
        starting.ready()
        failure = await fails(starting.start.until_ready(starting._proves), within=30)
        assert "Job 1" in failure.jupyterhub_message

    async def test_one_that_was_ready_before_is_not(self, slurm):
        taken_up = Starting(slurm, phase=Phase.READY, url="http://10.0.0.7:40000")
        assert await taken_up.start.until_ready(taken_up._proves) == "http://10.0.0.7:40000"
        assert taken_up.probes == 0

    async def test_one_that_never_does_is_explained_and_ended(self, starting):
        starting.answers = False
        start = starting.begin()
        await asyncio.sleep(5)
        starting.ready()
        failure = await fails(start, within=30)
        assert "Job 1" in failure.jupyterhub_message
        assert starting.ended == 1

    async def test_one_that_ends_instead_is_told_as_it_says(self, starting):
        starting.answers = False
        start = starting.begin()
        await asyncio.sleep(5)
        starting.ready()
        starting.launch.heard(
            Event(starting.record.launch_id, EventKind.STOPPING, 1, reason="failed", message="Home is full.")
        )
        assert "Home is full." in (await fails(start, within=5)).jupyterhub_message

    async def test_a_launch_that_is_ready_within_30_seconds_costs_six_requests_at_most(self, slurm, starting):
        start = starting.begin()
        await asyncio.sleep(8)
        slurm.enters("1", "RUNNING", nodes="nid001")
        await asyncio.sleep(20)
        starting.claims()
        starting.ready()
        await start
        await asyncio.sleep(3600)
        assert slurm.calls.total() <= 6

    async def test_what_the_job_does_is_told_while_it_waits(self, slurm, starting):
        start = starting.begin()
        await asyncio.sleep(5)
        slurm.enters("1", "PENDING", reason="Priority")
        await asyncio.sleep(60)
        slurm.enters("1", "RUNNING", nodes="nid001")
        await asyncio.sleep(60)
        assert any("Priority" in text for text in starting.said)
        assert starting.said[-1] == "Job 1 is running on nid001"
        start.cancel()

    async def test_hours_in_the_queue_are_no_failure(self, slurm, starting):
        start = starting.begin()
        await asyncio.sleep(3.9 * 3600)
        assert not start.done()
        assert slurm.calls.total() <= 1 + 3 + 2 * 60 * 3.9
        start.cancel()

    @pytest.mark.parametrize("error", [LATE, TIMED_OUT, UNHEALTHY], ids=lambda error: str(error.status))
    async def test_neither_is_a_firecrest_that_is_down(self, slurm, starting, error):
        start = starting.begin()
        await asyncio.sleep(10)
        slurm.errors["all"] = error
        await asyncio.sleep(600)
        assert not start.done()
        assert "not given up" in starting.said[-1]
        slurm.errors.clear()
        starting.claims()
        starting.ready()
        assert await start
        assert starting.ended == 0

    async def test_a_job_that_ended_without_a_word_fails_within_a_minute_with_its_log(self, slurm, starting):
        start = starting.begin()
        await asyncio.sleep(300)
        slurm.enters("1", "FAILED", exit_code=3)
        failure = await fails(start, within=60)
        assert "FAILED" in failure.jupyterhub_message
        assert "the last line" in failure.jupyterhub_message
        assert starting.ended == 1

    async def test_one_that_vanished_fails_within_two(self, slurm, starting):
        start = starting.begin()
        await asyncio.sleep(60)
        slurm.jobs_by_id.clear()
        failure = await fails(start, within=120)
        assert "Job 1" in failure.jupyterhub_message

    async def test_a_script_that_died_fails_within_five_seconds(self, slurm, starting):
        start = starting.begin()
        await asyncio.sleep(300)
        slurm.enters("1", "FAILED", exit_code=127)
        starting.launch.heard_script(127)
        failure = await fails(start, within=5)
        assert "127" in failure.jupyterhub_message

    async def test_also_if_the_scheduler_says_nothing_of_it(self, slurm, starting):
        start = starting.begin()
        await asyncio.sleep(300)
        slurm.errors["all"] = LATE
        starting.launch.heard_script(127)
        failure = await fails(start, within=5)
        assert "127" in failure.jupyterhub_message

    async def test_what_the_node_said_is_told(self, starting):
        start = starting.begin()
        await asyncio.sleep(10)
        starting.claims()
        starting.launch.heard(
            Event(
                starting.record.launch_id,
                EventKind.STOPPING,
                1,
                reason="failed",
                message="Home is full.",
                exit_code=22,
            )
        )
        assert "Home is full." in (await fails(start, within=5)).jupyterhub_message

    async def test_a_job_that_runs_but_does_not_claim_is_explained(self, slurm, starting):
        start = starting.begin()
        await asyncio.sleep(10)
        slurm.enters("1", "RUNNING", nodes="nid001")
        await asyncio.sleep(80)
        assert not start.done()
        failure = await fails(start, within=60)
        assert "90 seconds" in failure.jupyterhub_message
        assert starting.ended == 1

    async def test_a_job_that_pulls_an_image_has_its_time_to_claim_afterwards(self, slurm, starting):
        start = starting.begin()
        await asyncio.sleep(10)
        slurm.enters("1", "RUNNING", nodes="nid001")
        for done in range(200):
            await asyncio.sleep(3)
            starting.launch.heard_pulling(Pulling("", "gnu/24.11:v1", done * 10**7, 4 * 10**9))
        await asyncio.sleep(60)
        assert not start.done()
        assert "90 seconds" in (await fails(start, within=60)).jupyterhub_message

    async def test_what_it_pulls_is_told_and_the_page_never_goes_back(self, slurm, starting):
        start = starting.begin()
        await asyncio.sleep(10)
        slurm.enters("1", "RUNNING", nodes="nid001")
        for image in ("jupyterlab/v4.6:v1", "gnu/24.11:v1"):
            for done in range(40):
                await asyncio.sleep(3)
                starting.launch.heard_pulling(Pulling("", image, done * 10**8, 4 * 10**9))
        last = "Pulling gnu/24.11:v1, 3.9 of 4.0 GB: the first use of this image on this cluster"
        assert starting.said[-1] == last
        percents = [message["progress"] for message in starting.launch.messages]
        assert percents == sorted(percents)
        assert percents[-1] < 40
        assert sum("is running" in text for text in starting.said) <= 1
        start.cancel()

    async def test_a_job_that_was_requeued_has_its_time_to_claim_anew(self, slurm, starting):
        start = starting.begin()
        for _ in range(5):
            await asyncio.sleep(70)
            slurm.enters("1", "RUNNING", nodes="nid001")
            await asyncio.sleep(70)
            slurm.enters("1", "PENDING", reason="BeginTime")
        assert not start.done()
        start.cancel()

    async def test_a_start_that_is_taken_up_gives_its_server_the_same_time_anew(self, slurm):
        """Its user came back late; all the while the hub could take no word of its node."""
        taken_up = Starting(slurm, phase=Phase.CLAIMED, job_id=slurm.add(state="RUNNING"))
        taken_up.launch._phase_since -= 3600
        start = asyncio.create_task(taken_up.start.until_ready(taken_up._proves))
        await asyncio.sleep(60)
        taken_up.ready()
        async with asyncio.timeout(5):
            assert await start

    async def test_one_whose_jupyterlab_hangs_after_the_claim_is_explained_too(self, slurm, starting):
        waiting = starting.begin()
        await asyncio.sleep(5)
        slurm.enters("1", "RUNNING")
        starting.claims()
        failed = await fails(waiting, 1000)
        assert "did not start within 15 minutes" in str(failed)
        assert starting.ended == 1

    async def test_one_that_can_never_start_fails(self, slurm, starting):
        start = starting.begin()
        await asyncio.sleep(5)
        slurm.enters("1", "PENDING", reason="PartitionTimeLimit")
        assert "PartitionTimeLimit" in (await fails(start, within=60)).jupyterhub_message

    async def test_a_queue_that_is_too_long_is_told_in_words_in_time(self, slurm, virtual_time):
        starting = Starting(slurm, seconds=600)
        slurm.seconds = 0.1
        failure = await fails(starting.begin(), within=601)
        assert "Job 1" in failure.jupyterhub_message
        assert virtual_time.elapsed == pytest.approx(600, abs=1)
        assert starting.ended == 1

    async def test_a_submit_that_is_never_answered_is_so_too(self, slurm, virtual_time):
        slurm.submits = [LATE]
        slurm.errors["all"] = LATE
        starting = Starting(slurm, seconds=600)
        await fails(starting.begin(), within=601)
        assert starting.ended == 1
        assert not starting.launch.gone

    async def test_a_cancelled_start_stops_looking(self, slurm, starting):
        start = starting.begin()
        await asyncio.sleep(60)
        start.cancel()
        await asyncio.wait({start})
        before = slurm.calls.total()
        await asyncio.sleep(3600)
        assert slurm.calls.total() <= before + 1

    async def test_no_error_shows_through_that_is_none_of_ours(self, slurm, starting):
        slurm.submits = [REFUSED] * 4
        failure = await fails(starting.begin(), within=60)
        assert failure.status_code < 500
