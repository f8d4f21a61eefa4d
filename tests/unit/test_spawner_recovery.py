"""What a hub takes up from the one before it."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest
from stand_in import LOG, database, launch

from launcher.database.launch_record import Phase
from launcher.spawner.recovery import Recovery

pytestmark = pytest.mark.usefixtures("virtual_time")


class Taking(Recovery):
    """Takes one launch up; the hub answers that it starts the server, whoever has asked for that.

    Its user asked for the partition `debug` last.

    Attributes:
        asked: The options with which it has asked the hub each time.
        ended: When it has ended the launch, or None.
        server: The launch's server, as the hub has it.
        status: What the hub answers.
    """

    def __init__(self, launch, happens):
        settings = {"launcher_launches": [launch]}
        self.server = SimpleNamespace(
            orm_spawner=SimpleNamespace(user_options={"partition": "debug"}),
            see_off=self.see_off,
            pending=None,
        )
        users = {launch.user: SimpleNamespace(spawners={launch.server: self.server})}
        super().__init__(SimpleNamespace(tornado_settings=settings, users=users, db=database()), LOG)
        self.asked = []
        self.ended = None
        self.status = 202
        self.happens = happens

    async def see_off(self, launch):
        if not launch.gone:
            launch.enter(Phase.ENDING)
        self.ended = time.time()

    async def _ask(self, launch, options, due):
        if due():
            self.asked.append(options)
            self.happens(launch)
        return self.status, f"HTTP {self.status}: "


async def taken(launch, happens=lambda _: None, *, status=202, pending=None):
    taking = Taking(launch, happens)
    taking.status, taking.server.pending = status, pending
    taking.begin()
    await asyncio.sleep(900)
    return taking


async def asked(happens):
    taken_up = launch(taken=False, phase=Phase.SUBMITTED, job_id="7")
    taken_up.awaited = True
    return len((await taken(taken_up, happens)).asked)


def with_successor(seconds=300):
    return launch(taken=False, phase=Phase.ENDING, job_id="7", successor_until=time.time() + seconds)


async def test_a_start_is_asked_for_until_the_hub_is_at_it():
    assert await asked(lambda _: None) > 5
    assert await asked(lambda launch: setattr(launch, "awaited", False)) == 1


@pytest.mark.parametrize("phase", [Phase.ENDING, Phase.GONE])
async def test_one_that_its_user_has_stopped_or_replaced_meanwhile_is_not(phase):
    assert await asked(lambda launch: launch.enter(phase)) == 1


async def test_a_start_that_waited_for_the_end_of_a_launch_is_asked_for_as_its_user_did_until_it_is_begun():
    taking = await taken(
        with_successor(), lambda launch: setattr(launch.record, "successor_until", time.time() + 600)
    )
    assert taking.asked == [{"partition": "debug"}]
    assert taking.ended


@pytest.mark.parametrize(("status", "pending"), [(0, None), (429, None), (503, None), (400, "check")])
async def test_one_that_a_hub_which_just_comes_up_can_not_begin_is_asked_for_again(status, pending):
    ending, began = with_successor(), time.time()
    taking = await taken(ending, status=status, pending=pending)
    assert len(taking.asked) > 5
    assert not ending.has_successor
    assert 250 < taking.ended - began < 400


@pytest.mark.parametrize("status", [400, 403, 500])
async def test_one_that_the_hub_refuses_keeps_the_launch_from_its_end_no_longer(status):
    ending, began = with_successor(), time.time()
    taking = await taken(ending, status=status)
    assert len(taking.asked) == 1
    assert not ending.has_successor
    assert taking.ended - began < 5


@pytest.mark.parametrize("seconds", [-1, 0, 10**6, float("inf"), float("nan")])
async def test_one_that_is_too_old_or_never_was_is_not_asked_for_and_the_launch_ends(seconds):
    taking = await taken(with_successor(seconds))
    assert taking.asked == []
    assert taking.ended


@pytest.mark.parametrize(
    "happens",
    [lambda launch: setattr(launch.record, "successor_until", 0.0), lambda launch: launch.enter(Phase.GONE)],
    ids=["stopped", "its server was removed"],
)
async def test_one_that_its_user_wants_no_more_is_not_asked_for_again(happens):
    taking = await taken(with_successor(), happens, status=503)
    assert len(taking.asked) == 1
    assert taking.ended
