"""The figures of what launches and servers cost: the peer, how counts become results, what is shown."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import product

import pytest

from benchmarks.cost import figures, page
from benchmarks.cost.figures import PEER, SIZES, Count, Spent, Who
from benchmarks.peers.loop import Calls, Job, Loop
from benchmarks.results import Result, by_name


class Counted(Calls):
    """A job that runs after so many seconds, and how often it was looked at."""

    def __init__(self, waits: float):
        self._begins = asyncio.get_running_loop().time() + waits
        self.looks = 0

    async def look(self, job_id):
        self.looks += 1
        return Job("RUNNING" if asyncio.get_running_loop().time() >= self._begins else "PENDING")


async def test_the_peer_looks_twice_a_second_and_its_page_once_until_the_job_runs(virtual_time):
    calls = Counted(waits=59.9)
    await Loop(calls).wait("1")
    # At once, at each half second and at each second; a last one of each sees it run.
    assert calls.looks == (1 + 120) + (1 + 60)


async def test_the_peer_looks_at_a_running_server_twelve_times_an_hour(virtual_time):
    calls = Counted(waits=0)
    looking = asyncio.create_task(Loop(calls).look_on("1"))
    await asyncio.sleep(3601)
    looking.cancel()
    assert calls.looks == 12


async def test_a_peers_job_that_ends_before_it_runs_is_a_failure(virtual_time):
    class Ended(Counted):
        async def look(self, job_id):
            return Job("FAILED")

    with pytest.raises(RuntimeError, match="Job 7 is FAILED"):
        await Ended(waits=0).until_running("7", 0.5)


def test_of_a_part_of_the_queue_only_what_jobs_cost_that_wait_becomes_more():
    begun, waiting, ended = Count(3, 3), Count(9, 9), Count(2, 2)
    assert figures.whole(begun, waiting, ended, 1 / 30) == pytest.approx((275, 275))
    assert figures.whole(begun, waiting, ended, 1) == (14, 14)


def spent(size, launch, *, hour=0, tokens=0):
    """What so many cost, where half of the tokens are the hour's."""
    return Spent(Count(size * launch, size * tokens / 2), Count(size * hour, size * tokens / 2))


def results(who=Who.SERVICE, *, most=2.0, theirs=270):
    ours = {1: spent(1, 7, tokens=1), 100: spent(100, 2.05), 1000: spent(1000, most)}
    peer = {size: spent(size, theirs, hour=12, tokens=theirs) for size in SIZES}
    return by_name(figures.compared(who, ours, peer))


def test_a_launch_is_shown_as_one_of_those_that_it_is_among_beside_the_peers():
    found = results()["A launch among 100, service account"]
    assert (found.value, found.peers, found.unit) == (2.05, {PEER: 270}, "FirecREST requests")


def test_token_requests_stand_apart():
    found = results()["Tokens for a launch and an hour among 1, service account"]
    assert (found.value, found.peers) == (1, {PEER: 270})


def test_a_running_server_must_cost_nothing():
    found = results()["An hour of a server among 100, service account"]
    assert (found.value, found.peers, found.holds) == (0, {PEER: 12}, True)
    (hour,) = [
        each
        for each in figures.compared(Who.SERVICE, {1: spent(1, 7, hour=1)}, {1: spent(1, 270, hour=12)})
        if each.name == "An hour of a server among 1, service account"
    ]
    assert not hour.holds


@pytest.mark.parametrize(("theirs", "holds"), [(90, False), (91, True)])
def test_a_hundred_launches_and_hours_must_take_fifty_times_fewer_requests(theirs, holds):
    found = results(theirs=theirs)[
        f"A launch and an hour among 100, service account: times fewer than {PEER}"
    ]
    assert found.value == pytest.approx((theirs + 12) / 2.05, rel=0.01)
    assert found.holds is holds


def test_other_numbers_have_no_such_target():
    assert results()[f"A launch and an hour among 1, service account: times fewer than {PEER}"].target is None


@pytest.mark.parametrize(("most", "holds"), [(8.7, True), (8.8, False)])
def test_a_launch_among_many_must_not_cost_more_than_one_alone(most, holds):
    assert results(most=most)["A launch among 1,000 against one alone, service account"].holds is holds


def test_names_of_results_are_unique():
    names = [name for size, who in product(SIZES, Who) for name in figures.names(size, who).values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("who", "minutes", "tokens", "holds"),
    [
        (Who.SERVICE, [2, 1, 2, 2], [0.5, 1.0], [True, True]),
        (Who.USERS, [2] * 99 + [3], [0.5], [False, True]),
        (Who.SERVICE, [2], [0.5, 1.5], [True, False]),
    ],
)
def test_the_worst_of_all_who_wait_must_keep_to_the_limit(who, minutes, tokens, holds):
    found = list(figures.bounded(who, minutes, tokens))
    assert [each.value for each in found] == [max(minutes), max(tokens)]
    assert [each.holds for each in found] == holds


@pytest.fixture
def kept():
    """All results, those of the most only with a service account."""
    found: dict[str, Result] = {}
    for who in Who:
        sizes = SIZES if who is Who.SERVICE else SIZES[:3]
        ours = {size: spent(size, 7, tokens=1) for size in sizes}
        found |= by_name(
            figures.compared(who, ours, {size: spent(size, 270, hour=12, tokens=280) for size in sizes})
        )
        found |= by_name(figures.bounded(who, [1, 2], [0.5]))
        for queue in figures.QUEUES:
            name = figures.alone(queue, who)
            found[name] = replace(Result.worst(name, [2], "FirecREST requests", 6), peers={PEER: 77})
    return found


def test_the_page_shows_what_each_number_costs_beside_the_peer(kept):
    shown = page.shown(kept)
    assert "| 10 | 7 + 0; 1 | 7 + 0; 1 | 270 + 12; 280 | 40.3 | 40.3 |" in shown
    assert "| 1,000 | 7 + 0; 1 |  | 270 + 12; 280 | 40.3 |  |" in shown
    assert "| a launch whose job waits 25 s | 2 | 2 | <= 6 | 77 |" in shown
    assert "| each further minute that launches wait, however many | 2 | 2 for each user | <= 2 |  |" in shown
    assert "images/performance/cost.svg" in shown


def test_the_plot_has_a_curve_for_each_way_to_ask(kept):
    (plot,) = page.plotted(kept).values()
    for name in ("launcher, service account", "launcher, users' tokens", PEER):
        assert name in plot
