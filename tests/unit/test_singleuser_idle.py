"""Giving back a node that nobody uses: warned first, kept when used, ended at the limit."""

import asyncio
import contextlib
import logging
import time

import pytest

from launcher.singleuser.idle import Idle

MINUTES = 60.0
MESSAGE = (
    "Nobody used this server for 30 minutes: no kernel at work, no program in a terminal, no open VS Code, "
    "nobody at the page."
)
ENDED = ("idle", MESSAGE)


class Used:
    """What was used when, as a test says."""

    def __init__(self):
        self.used = asyncio.Event()
        self.at_work = False
        self.broken = False
        self.looks = 0
        self._last = time.monotonic()

    def touch(self):
        self._last = time.monotonic()
        self.used.set()

    def last(self):
        self.looks += 1
        if self.broken:
            raise RuntimeError("an extension's fault")
        if self.at_work:
            self._last = time.monotonic()
        return self._last


class Session:
    """A session of which the minutes are noted at which something was said, or it ended."""

    def __init__(self, clock, limit):
        self.clock = clock
        self.activity = Used()
        self.heard, self.ended, self.faults = [], [], 0
        self.idle = Idle(
            limit * MINUTES,
            self.activity,
            tell=self.tell,
            end=lambda *why: self.ended.append((self.minute, *why)),
            log=logging.getLogger("test"),
        )
        self.running = asyncio.create_task(self.idle.run())

    @property
    def minute(self):
        return round(self.clock.elapsed / MINUTES, 1)

    def tell(self, message):
        if self.faults:
            self.faults -= 1
            raise RuntimeError("no page hears this")
        left = f" {(message['ends'] - message['now']) / MINUTES:.1f}" if "ends" in message else ""
        self.heard.append((self.minute, message["kind"] + left))

    async def at(self, minute, do=lambda: None):
        await asyncio.sleep(minute * MINUTES - self.clock.elapsed)
        do()
        # Those whom it wakes have their turn.
        await asyncio.sleep(0.001)

    async def over(self):
        await self.running
        return self.ended


@pytest.fixture
async def session(virtual_time):
    """Return a function that begins a session with a limit in minutes."""
    begun = []

    def begin(limit=30):
        begun.append(Session(virtual_time, limit))
        return begun[-1]

    yield begin
    for each in begun:
        each.running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await each.running


class TestUnused:
    async def test_it_ends_at_the_limit_five_minutes_after_a_warning(self, session):
        one = session()
        assert await one.over() == [(30, *ENDED)]
        assert one.heard == [(25, "warning 5.0")]

    async def test_where_the_limit_is_short_the_warning_comes_at_half_of_it(self, session):
        one = session(1)
        assert (await one.over())[0][:2] == (1, "idle")
        assert one.heard == [(0.5, "warning 0.5")]
        assert "for 1 minute:" in one.idle.message

    async def test_the_time_runs_from_the_last_use(self, session):
        one = session()
        for minute in (3, 20):
            await one.at(minute, one.activity.touch)
        assert (await one.over())[0][0] == 50
        assert one.heard == [(45, "warning 5.0")]

    async def test_a_warning_names_the_time_by_the_servers_clock(self, session):
        one = session()
        messages = []
        one.idle._tell = messages.append
        await one.at(26)
        (warning,) = messages
        assert (warning["kind"], warning["reason"]) == ("warning", "idle")
        assert time.time() - warning["now"] == pytest.approx(60, abs=1)

    async def test_a_node_stays_quiet_until_it_matters(self, session):
        one = session(600)
        await one.at(594)
        assert one.activity.looks <= 2


class TestUsedAgain:
    async def test_somebody_at_a_page_voids_the_warning_at_once(self, session):
        one = session()
        await one.at(27, one.activity.touch)
        assert one.heard == [(25, "warning 5.0"), (27, "kept")]
        assert (await one.over())[0][0] == 57

    async def test_so_does_work_that_nobody_tells_of(self, session):
        one = session()
        await one.at(27.01, lambda: setattr(one.activity, "at_work", True))
        await one.at(27.1)
        assert one.heard == [(25, "warning 5.0"), (27.1, "kept")]
        await one.at(300)
        one.activity.at_work = False
        one.activity.touch()
        assert (await one.over())[0][0] == 330

    async def test_use_in_the_last_moment_counts(self, session):
        one = session()
        await one.at(29.999, one.activity.touch)
        await one.at(31)
        assert not one.ended
        assert one.heard[-1] == (30, "kept")


class TestAPageThatConnects:
    async def test_hears_the_warning_that_is_up_and_what_is_left(self, session):
        one = session()
        await one.at(28)
        (warning,) = one.idle.greeting()
        assert warning["now"] == time.time()
        assert warning["ends"] - warning["now"] == pytest.approx(2 * MINUTES, abs=1)

    async def test_else_hears_nothing(self, session):
        one = session()
        await one.at(10)
        assert one.idle.greeting() == []
        await one.at(26, one.activity.touch)
        assert one.idle.greeting() == []
        await one.over()
        assert one.idle.greeting() == []


class TestTimeThatNobodySaw:
    """A process that was suspended, or that a loaded node did not let run."""

    def suspend(self, one, minutes):
        one.clock._now += minutes * MINUTES

    async def test_before_the_warning_the_warning_still_comes_with_its_whole_time(self, session):
        one = session()
        await one.at(10, lambda: self.suspend(one, 180))
        assert await one.over() == [(195, *ENDED)]
        assert one.heard == [(190, "warning 5.0")]

    async def test_in_the_warning_the_end_comes_so_much_later_and_pages_hear_that(self, session):
        one = session()
        await one.at(27, lambda: self.suspend(one, 180))
        assert one.heard[1][0] == 207
        ended = (await one.over())[0][0]
        assert 209.9 <= ended <= 210.1
        assert len(one.heard) == 2

    async def test_a_clock_that_is_set_changes_nothing(self, session, virtual_time):
        one = session()
        virtual_time._epoch += 1e6
        await one.at(26)
        virtual_time._epoch -= 2e6
        assert await one.over() == [(30, *ENDED)]


class TestAFault:
    async def test_of_what_knows_about_use_ends_nothing_and_is_told(self, session, caplog):
        one = session()
        await one.at(1, lambda: setattr(one.activity, "broken", True))
        await one.at(600)
        assert not one.ended
        assert not one.running.done()
        assert "an extension's fault" in caplog.text

    async def test_that_passes_leaves_time_for_a_warning(self, session):
        one = session()
        one.activity.broken = True
        await one.at(100, lambda: setattr(one.activity, "broken", False))
        ended = (await one.over())[0][0]
        assert [kind for _, kind in one.heard] == ["warning 5.0"]
        assert ended == pytest.approx(one.heard[0][0] + 5, abs=0.1)

    async def test_in_the_warning_is_no_warning(self, session):
        one = session()
        one.faults = 1
        await one.at(25.5)
        assert one.idle.greeting() == []
        assert (await one.over())[0][0] == 31
        assert one.heard == [(26, "warning 5.0")]

    async def test_of_the_end_is_tried_again_after_another_warning(self, session):
        one = session()
        end = one.idle._end
        one.idle._end = lambda *_: [setattr(one.idle, "_end", end), 1 / 0]
        assert (await one.over())[0][0] == 36
        assert [minute for minute, _ in one.heard] == [25, 31]
