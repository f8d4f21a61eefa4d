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
            over=lambda: self.over.append(self.now),
            log=logging.getLogger("test"),
        )

    @property
    def now(self):
        return round((time.time() - self.began) / MINUTE, 2)

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
    assert it.asked == [it.over[0] - 30, it.over[0] - 10, it.over[0] - 2, it.over[0]]


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
    it.end = it.began + 20 * MINUTE
    await it.countdown.refresh()
    await it.run(2)
    assert it.warned == [1]
    await it.run(20)
    assert it.warned == [1, 9, 17]
    assert it.over == [19]


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


@pytest.mark.parametrize("known", [True, False])
async def test_a_job_without_an_end_goes_on(session, known):
    it = session(None, known=known)
    await it.run(100_000)
    assert (it.warned, it.over, it.countdown.ends) == ([], [], None)


async def test_a_job_that_is_shorter_than_what_it_ends_earlier_is_left_to_slurm(session):
    it = session(1, early=600)
    await it.run(0.5)
    assert it.over == []


async def test_slurms_signal_ends_a_session_whose_end_nobody_knows(session):
    it = session(None)
    it.problem = LookupError("no squeue")
    await it.countdown.signalled()
    assert it.over == [0]


async def test_slurms_signal_ends_a_session_that_was_thought_to_last(session):
    it = session(600)
    it.problem = LookupError("no answer")
    await it.countdown.signalled()
    assert it.over == [0]


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
