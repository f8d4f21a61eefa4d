"""The figures of storms: arithmetic, what is measured in a hub, results, what is shown."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.results import by_name
from benchmarks.storm import page, scaling, steady, told
from benchmarks.storm.cores import Look
from benchmarks.storm.figures import Seen, Start, Storm, percentile
from benchmarks.watch import meter as metering
from benchmarks.watch.meter import Meter


def start(seconds=1.0, *, pressed=0.0, ready=True, proven=True):
    return Start(pressed, pressed + seconds if ready else None, proven)


def seen(**changes):
    facts = {"late": [0.0, 0.1], "own": {}, "cpu": 1.0, "memory": 3_000_000, "grown": 1_000_000}
    return Seen(**{**facts, **changes})


def storm(*starts, **changes):
    named = {f"user{number}": each for number, each in enumerate(starts)}
    return Storm(named, seen(**changes), hub_busy=0.9, others_busy=0.3)


class TestPercentile:
    @pytest.mark.parametrize(("percent", "value"), [(1, 1), (50, 5), (51, 6), (95, 10), (100, 10)])
    def test_it_is_a_value_that_was_seen(self, percent, value):
        assert percentile(range(10, 0, -1), percent) == value

    def test_of_one_value_it_is_that(self):
        assert percentile([7.0], 99) == 7

    def test_of_none_it_is_nothing(self):
        assert percentile([], 50) == 0


class TestStorm:
    def test_its_rate_counts_from_the_first_start_to_the_last_server(self):
        assert storm(start(2), start(3, pressed=1), start(1, pressed=1)).rate == 3 / 4

    @pytest.mark.parametrize(
        "lost", [start(ready=False), start(ready=False, proven=False), start(proven=False)]
    )
    def test_a_start_without_a_server_that_proves_itself_is_lost(self, lost):
        assert storm(start(), lost).lost == 1

    def test_what_came_instead_of_servers_is_counted(self):
        refused = Start(0.0, None, why="HTTP 429")
        assert storm(start(), refused, refused, start(proven=False)).why_lost == {
            "HTTP 429": 2,
            "no proof": 1,
        }

    def test_a_start_without_a_server_is_not_waited_for(self):
        it = storm(start(2), start(ready=False))
        assert (it.seconds, it.rate) == ([2], 0.5)

    def test_without_any_server_nothing_was_launched(self):
        it = storm(start(ready=False))
        assert (it.rate, it.lost, percentile(it.seconds, 99)) == (0, 1, 0)

    def test_what_is_done_for_nobody_or_for_others_is_divided_among_all(self):
        own = {"user0": 0.010, "user1": 0.020, "": 0.004, "somebody else": 0.002}
        assert storm(start(), start(), own=own).own == pytest.approx([0.013, 0.023])

    def test_how_late_the_loop_is_most_of_the_time_and_at_most(self):
        late = [0.01] * 99 + [0.5]
        assert (storm(start(), late=late).late, storm(start(), late=late).latest) == (0.01, 0.5)


def test_a_hub_tells_of_what_was_between_two_looks():
    before = {"late": [9.0], "own": {"x": 1.0}, "cpu": 2.0, "memory": 100}
    after = {"late": [0.1], "own": {"x": 0.5}, "cpu": 5.0, "memory": 250}
    between = Seen.between(before, after)
    assert (between.late, between.own, between.cpu) == ([0.1], {"x": 0.5}, 3.0)
    assert (between.memory, between.grown) == (250, 150)


class TestCores:
    def test_each_is_busy_for_its_part_of_the_time(self):
        assert Look((90, 100), (25, 100)).busy_since(Look((40, 50), (20, 50))) == (1.0, 0.1)

    def test_in_no_time_none_is(self):
        assert Look((1, 2), (1, 2)).busy_since(Look((1, 2), (1, 2))) == (0, 0)


class Processor:
    """A thread's time that goes on only where it works."""

    def __init__(self):
        self.time = 0.0

    def work(self):
        self.time += 1


@pytest.fixture
def processor(monkeypatch):
    found = Processor()
    monkeypatch.setattr(metering, "thread_time", lambda: found.time)
    return found


class TestMeter:
    async def test_it_counts_the_work_of_a_coroutine_and_not_what_others_do_while_it_waits(self, processor):
        meter, others = Meter(), asyncio.Event()

        async def task():
            processor.work()
            await others.wait()
            processor.work()
            return "done"

        running = asyncio.create_task(meter.driven(task(), lambda: "alice"))
        await asyncio.sleep(0)
        for _ in range(100):
            processor.work()
        others.set()
        assert await running == "done"
        assert meter.take() == {"alice": 2}
        assert meter.take() == {}

    async def test_work_within_other_work_is_counted_once(self, processor):
        meter = Meter()

        async def inner():
            processor.work()

        await meter.driven(meter.driven(inner(), lambda: "bob"), lambda: "alice")
        assert meter.take() == {"alice": 1}

    async def test_what_a_coroutine_raises_and_is_thrown_at_goes_through(self):
        meter, heard = Meter(), []

        async def task():
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                heard.append("cancelled")
                raise ValueError("its own") from None

        running = asyncio.create_task(meter.driven(task(), lambda: ""))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(ValueError, match="its own"):
            await running
        assert heard == ["cancelled"]

    def test_whose_work_it_is_may_show_only_as_it_is_done(self):
        meter, known = Meter(), []
        meter.counted(lambda: known[0] if known else "", lambda: known.append("alice"))
        assert set(meter.own) == {"alice"}


SAVED = [storm(start(2), start(2)), storm(start(1), start(1)), storm(start(4), start(4))]


class TestResults:
    def test_ours_are_compared_with_the_ceiling_of_the_same_turn(self):
        theirs = [storm(start(1), start(1)), storm(start(1), start(1)), storm(start(2), start(2))]
        results = by_name(told.of_storms("2 at once", SAVED, theirs))
        ratio = results[f"{told.RATE}, 2 at once"]
        assert (ratio.value, ratio.spread, ratio.holds) == (0.5, (0.5, 1.0), False)
        assert results[f"{told.LATE}, 2 at once"].value == 1
        rate = results["Launches a second, 2 at once"]
        assert (rate.value, rate.peers) == (1.0, {told.EMPTY: 2.0})
        assert results["Hub's memory a server, 2 at once"].value == 500

    def test_where_fewer_come_than_the_hub_can_take_their_rate_has_no_target(self):
        results = by_name(told.of_storms("2 over 10 minutes", SAVED, SAVED, ceiling=False))
        assert f"{told.RATE}, 2 over 10 minutes" not in results
        assert f"{told.LATE}, 2 over 10 minutes" in results

    def test_the_worst_run_says_how_many_are_lost(self):
        ours = [storm(start(), start()), storm(start(proven=False), start(proven=False))]
        (lost,) = (each for each in told.of_storms("x", ours, ours) if each.name.startswith(told.LOST))
        assert (lost.value, lost.holds) == (2, False)

    def test_our_own_part_of_a_launch_is_in_milliseconds(self):
        ours = [storm(start(), start(), own={"user0": 0.008, "user1": 0.012})]
        results = by_name(told.of_storms("x", ours, ours))
        p50, p95 = (results[f"{name}, x"] for name in told.OWN)
        assert (p50.value, p50.target) == (8, None)
        assert (p95.value, p95.holds) == (12, False)

    def test_of_a_steady_state_reports_of_activity_are_named_apart(self):
        plain = steady.While(seen(cpu=10.0, own={"": 3.0}), 100.0)
        reporting = steady.While(seen(cpu=35.0), 100.0)
        back = steady.Return(answers=12.0, servers=30.0, cpu=20.0)
        results = by_name(told.of_steady_state(1000, back, plain, reporting, memory=5e7, lost=0))
        values = {name.removesuffix(", 1,000 servers"): each.value for name, each in results.items()}
        assert values[told.SHARE] == 10
        assert values[told.OWN_SHARE] == 3
        assert values[told.REPORTS] == 25
        assert (values[told.KEPT], values[told.EACH]) == (50, 20)
        assert all(each.holds for each in results.values())


class TestPage:
    def test_a_storm_is_a_table_beside_its_peer(self):
        shown = page.shown(by_name(told.of_storms("2 at once", SAVED, SAVED)))
        assert "| 2 at once, 3 runs | launcher | empty spawner | ratio (target) |" in shown
        assert "| Launches a second, launches/s | 1 (0.5-2) | 1 | 1 (>= 0.8) |" in shown
        assert "(images/performance/burst.svg)" in shown

    def test_the_plot_tells_the_launchers_part_of_the_processors_time(self):
        ours = [storm(start(), start(), cpu=0.08, own={"user0": 0.01, "user1": 0.01})]
        plots = page.plotted(by_name(told.of_storms("2 at once", ours, ours)))
        assert list(plots) == ["burst.svg"]
        assert "30" in plots["burst.svg"]

    def test_several_storms_and_a_steady_state_stand_on_one_page(self):
        results = by_name(
            [
                *told.of_storms("2 at once", SAVED, SAVED),
                *told.of_storms("2 over 10 minutes", SAVED, SAVED, ceiling=False),
                *told.of_steady_state(
                    10_000,
                    steady.Return(1, 2, 3),
                    steady.While(seen(), 9.0),
                    steady.While(seen(), 9.0),
                    memory=1.0,
                    lost=0,
                ),
            ]
        )
        shown = page.shown_with_steady(results)
        for head in (
            "| 2 at once, 3 runs |",
            "| 2 over 10 minutes, 3 runs |",
            "| 10,000 servers | measured |",
        ):
            assert head in shown
        assert list(page.plotted(results)) == ["storm.svg"]

    def test_what_follows_for_one_hub_is_said_with_the_figures_that_it_follows_from(self):
        ours = [storm(start(), start(), cpu=0.08, own={"user0": 0.01, "user1": 0.01})]
        plain, reporting = (steady.While(seen(cpu=cpu), 10.0) for cpu in (1.0, 3.0))
        results = [
            *told.of_storms("2 at once", ours, ours),
            *told.of_steady_state(
                10_000, steady.Return(answers=12.0, servers=30.0, cpu=1), plain, reporting, memory=5e8, lost=0
            ),
        ]
        rows = scaling.shown(by_name(results)).splitlines()[2:]
        said = [row.split(" | ")[-1].removesuffix(" |") for row in rows]
        assert said == ["120", "750", "25 %", "16,667", "0.5 GB", "12, 30"]

    def test_without_figures_nothing_is_shown(self):
        assert page.shown({}) == ""
        assert page.plotted({}) == {}
