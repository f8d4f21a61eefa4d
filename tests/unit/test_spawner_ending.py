"""The end of a launch: seen through however long it takes, and never taken for done before it is."""

import asyncio

import pytest
from stand_in import LATE, LOG, Person, Slurm, jobs, launch, script

from launcher.database.launch_record import Phase
from launcher.detached import run_detached
from launcher.errors import FirecrestError
from launcher.protocol import Event, EventKind
from launcher.spawner import ending
from launcher.words.ended import Ended

pytestmark = pytest.mark.usefixtures("virtual_time")

DENIED = FirecrestError("Refused.", why="Access/permission denied", status=500)
LOG_IN_AGAIN = FirecrestError("Your log-in has expired.", status=401)
ERRORS = [
    LATE,
    DENIED,
    LOG_IN_AGAIN,
    FirecrestError("Refused.", status=408),
    FirecrestError("Refused.", status=503),
]


class Ending:
    """An end, with all that is around it.

    Attributes:
        asked: How often the server was asked to end.
        answers: What it answers.
    """

    def __init__(self, slurm, *, service=None, answers=False, **record):
        self.slurm = slurm
        self.launch = launch(**record)
        self.jobs = jobs(slurm, Person(), service)
        self.saved = []
        self.asked = 0
        self.answers = answers
        self.after_asked = lambda: None

    @classmethod
    def of_a_running_server(cls, slurm, **more):
        job_id = slurm.add(state="RUNNING")
        return cls(slurm, job_id=job_id, phase=Phase.READY, url="http://10.0.0.7:40000", **more)

    @property
    def record(self):
        return self.launch.record

    async def _ask(self):
        self.asked += 1
        await asyncio.sleep(0.1)
        if self.answers:
            self.after_asked()
        return self.answers

    def begin(self):
        return run_detached(
            ending.see_off(
                self.launch,
                self.jobs,
                ask=self._ask,
                save=lambda: self.saved.append(self.record.phase),
                log=LOG,
            )
        )


async def over(task, within):
    async with asyncio.timeout(within):
        await asyncio.shield(task)


async def not_over(task, seconds):
    await asyncio.wait({task}, timeout=seconds)
    assert not task.done()


@pytest.fixture
def slurm():
    return Slurm()


class TestInOrder:
    async def test_the_launch_is_not_wanted_from_the_first_moment_and_saved_so(self, slurm):
        end = Ending.of_a_running_server(slurm)
        task = end.begin()
        await asyncio.sleep(0)
        assert end.saved == [Phase.ENDING]
        assert not end.launch.wanted
        await over(task, 30)
        assert end.saved == [Phase.ENDING, Phase.GONE]

    async def test_the_server_is_asked_first_and_what_ends_by_itself_is_not_cancelled(self, slurm):
        end = Ending.of_a_running_server(slurm, answers=True)

        def script_ends():
            slurm.enters("1", "COMPLETED")
            end.launch.heard_script(0)

        end.after_asked = lambda: asyncio.get_running_loop().call_later(4, script_ends)
        await over(end.begin(), 10)
        assert end.asked == 1
        assert slurm.calls["cancel"] == 0
        assert end.launch.gone

    async def test_one_that_says_that_it_ends_and_does_not_is_cancelled_after_some_grace(
        self, slurm, virtual_time
    ):
        end = Ending.of_a_running_server(slurm, answers=True)
        await over(end.begin(), 30)
        assert slurm.cancelled == [("alice", "1")]
        assert virtual_time.elapsed > ending.GRACE

    async def test_one_that_does_not_answer_is_cancelled_at_once(self, slurm, virtual_time):
        end = Ending.of_a_running_server(slurm)
        await over(end.begin(), 5)
        assert slurm.cancelled == [("alice", "1")]
        assert virtual_time.elapsed < 3

    async def test_one_that_has_said_itself_that_it_ends_is_not_asked(self, slurm):
        end = Ending.of_a_running_server(slurm)
        end.launch.heard(Event(end.record.launch_id, EventKind.STOPPING, 1, reason="idle"))
        task = end.begin()
        await not_over(task, 5)
        slurm.enters("1", "COMPLETED")
        end.launch.heard_script(0)
        await over(task, 5)
        assert end.asked == 0
        assert slurm.calls["cancel"] == 0

    async def test_a_launch_that_never_had_a_server_has_nobody_to_ask(self, slurm):
        end = Ending(slurm, job_id=slurm.add(), phase=Phase.SUBMITTED)
        await over(end.begin(), 5)
        assert end.asked == 0
        assert slurm.cancelled == [("alice", "1")]

    async def test_the_epilogue_of_a_script_is_not_cut_off(self, slurm):
        """Its last words come before the site's own epilogue has run."""
        end = Ending.of_a_running_server(slurm)
        end.launch.heard_script(0)
        task = end.begin()
        await not_over(task, 20)
        assert slurm.calls["cancel"] == 0
        slurm.enters("1", "COMPLETED")
        await over(task, 10)
        assert slurm.calls["cancel"] == 0
        assert end.launch.gone

    async def test_an_epilogue_that_does_not_come_to_an_end_is(self, slurm):
        end = Ending.of_a_running_server(slurm)
        end.launch.heard_script(0)
        await over(end.begin(), 60)
        assert slurm.cancelled == [("alice", "1")]


class TestHowASessionEndedByItself:
    """What its user is told of later is found out on the way, and costs FirecREST next to nothing."""

    def ends(self, slurm, state, *, exit_code, reason="", **more):
        end = Ending.of_a_running_server(slurm)
        end.launch.how_ended = Ended("1", "nid001", at=0.0, reason=reason, exit_code=exit_code)
        end.launch.heard_script(exit_code)
        slurm.enters("1", state, **more)
        return end

    async def test_slurms_last_state_is_what_the_hub_has_seen_in_any_case(self, slurm):
        end = self.ends(slurm, "OUT_OF_MEMORY", exit_code=137, signal=125)
        await over(end.begin(), 10)
        assert end.launch.how_ended.status.state == "OUT_OF_MEMORY"
        assert slurm.calls == {"jobs": 1}

    async def test_the_log_is_read_where_nothing_else_explains_it(self, slurm):
        slurm.log = ["slurmstepd: error: Detected 1 oom-kill event(s) in StepId=1.batch."]
        end = self.ends(slurm, "FAILED", exit_code=137)
        await over(end.begin(), 10)
        assert "it used more memory than it had" in end.launch.how_ended.words(0.0)
        assert slurm.calls == {"jobs": 1, "log_tail": 1}

    @pytest.mark.parametrize("reason", ["walltime", "idle", "stopped"])
    async def test_one_that_has_said_why_costs_no_more(self, slurm, reason):
        end = self.ends(slurm, "COMPLETED", exit_code=0, reason=reason)
        await over(end.begin(), 10)
        assert slurm.calls == {"jobs": 1}

    async def test_that_the_hub_itself_cancels_what_is_left_of_it_is_no_reason(self, slurm):
        end = Ending.of_a_running_server(slurm)
        end.launch.heard(Event(end.record.launch_id, EventKind.STOPPING, 1, reason="terminated"))
        end.launch.how_ended = Ended("1", "nid001", at=0.0, reason="terminated")
        await over(end.begin(), 30)
        assert slurm.cancelled == [("alice", "1")]
        assert "it was told to end" in end.launch.how_ended.words(0.0)

    async def test_a_log_that_can_not_be_read_keeps_nobody_waiting(self, slurm):
        end = self.ends(slurm, "FAILED", exit_code=1)
        slurm.errors["log_tail"] = DENIED
        await over(end.begin(), 10)
        assert end.saved == [Phase.ENDING, Phase.GONE]
        assert "JupyterLab broke down (exit code 1)" in end.launch.how_ended.words(0.0)

    async def test_after_a_stop_nothing_is_found_out(self, slurm):
        end = Ending.of_a_running_server(slurm)
        await over(end.begin(), 10)
        assert slurm.calls["log_tail"] == 0


class TestSeenThrough:
    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: str(error.status))
    async def test_what_can_not_be_cancelled_is_tried_again_ever_less_often(self, slurm, error):
        end = Ending.of_a_running_server(slurm)
        slurm.errors["all"] = error
        task = end.begin()
        await not_over(task, 600)
        early = slurm.calls["cancel"]
        await not_over(task, 7 * 3600)
        late = slurm.calls["cancel"] - early
        assert 5 <= early <= 12
        assert 60 <= late <= 120
        assert not end.launch.gone
        slurm.errors.clear()
        await over(task, 400)
        assert slurm.cancelled == [("alice", "1")]
        assert end.saved == [Phase.ENDING, Phase.GONE]

    async def test_who_waits_for_it_may_give_up_and_it_goes_on(self, slurm):
        end = Ending.of_a_running_server(slurm)
        slurm.errors["all"] = LATE
        task = end.begin()
        with pytest.raises(TimeoutError):
            await over(task, 30)
        slurm.errors.clear()
        await over(task, 400)
        assert slurm.alive == []

    async def test_the_service_account_cancels_what_the_user_can_not(self, slurm):
        end = Ending.of_a_running_server(slurm, service=Person("service account", everybody=True))
        cancel = slurm.cancel

        async def needs_a_log_in(who, job_id, **_):
            if who.name == "alice":
                raise LOG_IN_AGAIN
            return await cancel(who, job_id)

        slurm.cancel = needs_a_log_in
        await over(end.begin(), 10)
        assert slurm.cancelled == [("service account", "1")]

    async def test_the_service_account_never_cancels_somebody_elses_job(self, slurm):
        """A job's id may come from its node, which its user can make say anything."""
        end = Ending.of_a_running_server(slurm, service=Person("service account", everybody=True))
        end.launch.record.job_id = slurm.add(state="RUNNING", user="bob")
        await not_over(end.begin(), 3600)
        assert slurm.cancelled == []

    async def test_once_the_time_of_every_job_is_over_it_counts_as_gone(self, slurm):
        end = Ending.of_a_running_server(slurm)
        slurm.errors["all"] = LATE
        await over(end.begin(), 14 * 3600)
        assert end.launch.gone

    async def test_the_scripts_own_last_word_counts_when_nobody_else_can_be_asked(self, slurm):
        end = Ending.of_a_running_server(slurm)
        slurm.errors["all"] = LATE
        end.launch.heard_script(0)
        await over(end.begin(), 60)
        assert end.launch.gone

    async def test_also_if_it_comes_late(self, slurm):
        end = Ending.of_a_running_server(slurm)
        slurm.errors["all"] = LATE
        task = end.begin()
        await not_over(task, 3600)
        end.launch.heard_script(0)
        await over(task, 60)

    async def test_a_job_that_is_slow_to_end_is_waited_for(self, slurm):
        end = Ending.of_a_running_server(slurm)
        slurm.ends_on_cancel = False
        task = end.begin()
        await not_over(task, 60)
        slurm.enters("1", "CANCELLED")
        await over(task, 200)
        assert end.launch.gone

    async def test_one_whose_end_accounting_never_tells_is_gone_once_there_is_nothing_to_cancel(self, slurm):
        """As of a job that was put back into the queue and cancelled there."""
        end = Ending.of_a_running_server(slurm)
        answers = iter([True, False])

        async def cancel(*_, **__):
            return next(answers)

        slurm.cancel = cancel
        end.launch.heard_script(143)
        await over(end.begin(), 50)
        assert end.launch.gone

    async def test_one_that_the_scheduler_has_nothing_to_cancel_of_is_gone(self, slurm):
        end = Ending.of_a_running_server(slurm)
        slurm.enters("1", "COMPLETED")
        await over(end.begin(), 5)
        assert end.launch.gone

    async def test_accounting_that_is_down_does_not_keep_it_from_an_end(self, slurm):
        """The scheduler itself says when there is nothing left to cancel."""
        end = Ending.of_a_running_server(slurm)
        slurm.errors["jobs"] = slurm.errors["status"] = FirecrestError("Refused.", status=500)
        await over(end.begin(), 60)
        assert slurm.cancelled == [("alice", "1")]


class TestASubmitUnderWay:
    """Stop while the job's id is not known yet."""

    def submits(self, end, work):
        end.launch.submission = run_detached(work)

    async def test_its_answer_is_waited_for_and_the_job_cancelled(self, slurm):
        end = Ending(slurm)

        async def answered_late():
            await asyncio.sleep(25)
            end.record.job_id = slurm.add(script(end.launch))

        self.submits(end, answered_late())
        await over(end.begin(), 40)
        assert slurm.cancelled == [("alice", "1")]

    async def test_one_that_was_refused_leaves_nothing_to_end(self, slurm):
        end = Ending(slurm)

        async def refused():
            await asyncio.sleep(1)
            end.launch.enter(Phase.GONE)

        self.submits(end, refused())
        await over(end.begin(), 2)
        assert slurm.calls.total() == 0

    async def test_a_job_that_shows_late_is_found_and_cancelled(self, slurm):
        """The controller was stalled: the submit was answered by an error, and the job is there 8 s later."""
        end = Ending(slurm)
        asyncio.get_running_loop().call_later(8, slurm.add, script(end.launch))
        await over(end.begin(), 60)
        assert slurm.cancelled == [("alice", "1")]

    async def test_one_that_was_never_there_is_looked_for_some_times(self, slurm, virtual_time):
        end = Ending(slurm)
        slurm.add(script(launch()))
        await over(end.begin(), 60)
        assert end.launch.gone
        assert slurm.cancelled == []
        assert virtual_time.elapsed > 10
        assert slurm.calls["jobs"] <= 5

    async def test_after_an_outage_it_is_looked_for_no_longer_than_else(self, slurm, virtual_time):
        end = Ending(slurm)
        slurm.errors["jobs"] = LATE
        task = end.begin()
        while slurm.calls["jobs"] < 6:
            await asyncio.sleep(1)
        await asyncio.sleep(slurm.seconds)  # the sixth is not answered either
        slurm.errors.clear()
        while slurm.calls["jobs"] < 7:
            await asyncio.sleep(1)
        answered = virtual_time.elapsed
        await over(task, 600)
        assert slurm.calls["jobs"] == 10
        assert virtual_time.elapsed - answered < 20

    async def test_an_error_is_not_taken_for_not_found(self, slurm):
        end = Ending(slurm)
        slurm.add(script(end.launch))
        slurm.errors["jobs"] = LATE
        task = end.begin()
        await not_over(task, 7 * 3600)
        slurm.errors.clear()
        await over(task, 400)
        assert slurm.cancelled == [("alice", "1")]


async def test_twenty_ends_while_firecrest_is_down_leave_no_orphan(slurm):
    slurm.errors["all"] = LATE
    ends = [Ending.of_a_running_server(slurm) for _ in range(20)]
    tasks = [end.begin() for end in ends]
    await asyncio.sleep(600)
    assert not any(task.done() for task in tasks)
    assert slurm.calls["cancel"] <= 20 * 12
    slurm.errors.clear()
    await over(asyncio.gather(*tasks), 400)
    assert slurm.alive == []
