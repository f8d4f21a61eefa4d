"""The end of a session's time: when its user is warned, and when it ends."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from launcher.singleuser.countdown import Countdown

MINUTE = 60
EARLY = 60


class Session:
    """A session whose job ends in so many minutes; it notes what happens, and after how many."""

    def __init__(self, minutes=120, *, warnings=(30, 10, 2), known=True, pages=1, early=EARLY):
        self.began = time.time()
        self.end = None if minutes is None else self.began + minutes * MINUTE
        self.problem = None
        self.pages = pages
        self.asked, self.warned, self.moved, self.over = [], [], [], []
        self.countdown = Countdown(
            end=self.end if known else None,
            early=early,
            warnings=warnings,
            ask=self.ask,
            moved=lambda: self.moved.append(self.now),
            warn=self.warn,
            over=self.end_it,
            log=logging.getLogger("test"),
        )

    @property
    def now(self):
        return round((time.time() - self.began) / MINUTE, 2)

    def end_it(self, reason):
        self.over.append(self.now)
        self.reason = reason

    async def ask(self):
        self.asked.append(self.now)
        if self.problem:
            raise self.problem
        return self.end

    def warn(self, warning):
        assert warning == {
            "kind": "warning",
            "reason": "walltime",
            "now": time.time(),
            "ends": self.countdown.ends,
        }
        self.warned.append(self.now)
        return bool(self.pages)

    async def run(self, minutes):
        """Let the countdown go on for so long, from the beginning."""
        self.task = getattr(self, "task", None) or asyncio.create_task(self.countdown.run())
        await asyncio.sleep(minutes * MINUTE - (time.time() - self.began))
        assert not self.task.done() or self.task.exception() is None


@pytest.fixture
def session(virtual_time):
    return Session


async def test_it_warns_so_many_minutes_before_the_session_ends_and_ends_it_before_its_job(session):
    it = session(120)
    await it.run(118.5)
    assert it.warned == [89, 109, 117]
    assert it.over == []
    await it.run(119.5)
    assert it.over == [119]


async def test_slurm_is_asked_only_where_something_hangs_on_it(session):
    it = session(24 * 60)
    await it.run(24 * 60)
    over = it.over[0]
    every = [each for each in it.asked if each < over - 30]
    assert it.asked == [*every, over - 30, over - 10, over - 2, over]
    assert every == [30 * number for number in range(1, 47)]


async def test_a_warning_whose_time_was_over_before_the_session_began_is_not_given(session):
    it = session(11, warnings=(30, 10, 2))
    await it.run(11)
    assert it.warned == [8]


async def test_without_warnings_it_just_ends(session):
    it = session(11, warnings=())
    await it.run(11)
    assert (it.warned, it.over) == ([], [10])


async def test_an_end_that_was_put_off_is_warned_of_again(session):
    it = session(60)
    await it.run(50)
    assert it.warned == [29, 49]
    it.end += 60 * MINUTE
    await it.run(58)
    assert it.moved == [57]
    assert it.warned == [29, 49]
    await it.run(120)
    assert it.warned == [29, 49, 89, 109, 117]
    assert it.over == [119]


async def test_an_end_that_was_put_off_at_the_last_moment_is_kept_to(session):
    it = session(60)
    await it.run(58.5)
    it.end += 30 * MINUTE
    await it.run(60)
    assert it.over == []
    await it.run(90)
    assert it.over == [89]


async def test_an_end_that_came_nearer_is_warned_of_at_once(session):
    it = session(600)
    await it.run(1)
    it.end = it.began + 50 * MINUTE
    await it.run(31)
    assert it.warned == [30]
    await it.run(50)
    assert it.warned == [30, 39, 47]
    assert it.over == [49]


async def test_where_slurm_does_not_answer_what_it_said_first_counts(session):
    it = session(60)
    it.problem = LookupError("no answer")
    await it.run(60)
    assert (it.warned, it.over) == ([29, 49, 57], [59])


async def test_an_error_in_asking_changes_nothing(session, caplog):
    it = session(60)
    it.problem = RuntimeError("can't start new thread")
    await it.run(60)
    assert (it.warned, it.over) == ([29, 49, 57], [59])
    assert "Slurm could not be asked" in caplog.text


async def test_where_slurm_does_not_tell_its_jobs_it_is_asked_at_the_beginning(session):
    it = session(60, known=False)
    await it.run(60)
    assert it.asked[0] == 0
    assert it.moved == [0]
    assert (it.warned, it.over) == ([29, 49, 57], [59])


async def test_what_was_due_as_the_session_began_is_not_warned_of_when_its_end_becomes_known(session):
    it = session(15, known=False)
    await it.run(14)
    assert it.warned == [4, 12]


async def test_slurm_is_asked_ever_more_seldom_until_it_says_when_a_job_ends(session):
    it = session(600, known=False)
    it.problem = LookupError("no answer")
    await it.run(20)
    assert it.asked == [0, 1, 3, 7, 15]
    it.problem = None
    await it.run(40)
    assert it.moved == [31]


async def test_a_question_that_hangs_holds_up_no_end(session):
    it = session(60)

    async def ask():
        await asyncio.sleep(10_000)

    it.countdown._ask = ask
    await it.run(60)
    assert (it.warned, it.over) == ([29.08, 49.08, 57.08], [59.08])


@pytest.mark.parametrize("known", [True, False])
async def test_a_job_without_an_end_goes_on(session, known):
    it = session(None, known=known)
    await it.run(100_000)
    assert (it.warned, it.over, it.countdown.ends) == ([], [], None)


@pytest.mark.parametrize("known", [True, False])
async def test_a_job_with_less_time_than_it_ends_earlier_ends_after_half_of_it(session, known):
    it = session(8, early=600, known=known)
    await it.countdown.signalled()
    await it.run(8)
    assert it.over == [4]


async def test_a_short_job_that_is_extended_ends_as_early_as_any(session):
    it = session(8, early=600)
    it.end += 120 * MINUTE
    await it.run(128)
    assert it.over == [118]


async def test_slurms_signal_ends_a_session_whose_end_nobody_knows(session):
    it = session(None)
    it.problem = LookupError("no squeue")
    await it.countdown.signalled()
    assert it.over == [0]


async def test_slurms_signal_ends_a_session_that_was_thought_to_last(session):
    it = session(600)
    it.problem = LookupError("no answer")
    await it.countdown.signalled()
    assert (it.over, it.reason) == ([0], "walltime")


@pytest.mark.parametrize("minutes", [600, None])
async def test_a_signal_long_before_the_end_is_not_for_the_time(session, minutes):
    """A job of higher priority may want the node, or somebody has sent it."""
    it = session(minutes)
    await it.countdown.signalled()
    assert (it.over, it.reason) == ([0], "terminated")


async def test_slurms_signal_may_come_a_minute_early_and_what_the_user_was_told_is_kept(session):
    it = session(60)
    await it.run(58.2)
    await it.countdown.signalled()
    assert it.over == []
    await it.run(60)
    assert it.over == [59]


async def test_a_page_that_comes_after_a_warning_that_nobody_heard_hears_it_once(session):
    it = session(60, pages=0)
    await it.run(30)
    assert it.warned == [29]
    (warning,) = it.countdown.greeting()
    assert warning["ends"] == it.countdown.ends
    assert it.countdown.greeting() == []


async def test_a_warning_that_nobody_heard_is_void_once_the_end_is_put_off(session):
    it = session(60, pages=0)
    await it.run(30)
    it.end += 600 * MINUTE
    await it.run(61)
    assert it.moved
    assert it.countdown.greeting() == []


async def test_a_page_that_comes_after_a_warning_that_somebody_heard_does_not_hear_it(session):
    it = session(60)
    await it.run(30)
    assert it.countdown.greeting() == []


async def test_pages_that_are_opened_have_slurm_asked_at_most_every_ten_minutes(session):
    it = session(600)
    for minute in (1, 5, 11, 12, 13, 30):
        await it.run(minute)
        it.countdown.greeting()
    await it.run(31)
    assert it.asked == [11, 30]
