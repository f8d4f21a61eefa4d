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
        ended: Whether it has ended the launch.
    """

    def __init__(self, launch, happens):
        settings = {"launcher_launches": [launch]}
        server = SimpleNamespace(
            orm_spawner=SimpleNamespace(user_options={"partition": "debug"}), see_off=self.see_off
        )
        users = {launch.user: SimpleNamespace(spawners={launch.server: server})}
        super().__init__(SimpleNamespace(tornado_settings=settings, users=users, db=database()), LOG)
        self.asked = []
        self.ended = False
        self.happens = happens

    async def see_off(self, launch):
        launch.enter(Phase.ENDING)
        self.ended = True

    async def _ask(self, launch, options, due):
        assert due()
        self.asked.append(options)
        self.happens(launch)
        return "HTTP 202: "


async def taken(launch, happens):
    taking = Taking(launch, happens)
    taking.begin()
    await asyncio.sleep(900)
    return taking


async def asked(happens):
    taken_up = launch(taken=False, phase=Phase.SUBMITTED, job_id="7")
    taken_up.awaited = True
    return len((await taken(taken_up, happens)).asked)


def with_successor(seconds):
    return launch(taken=False, phase=Phase.ENDING, job_id="7", successor_until=time.time() + seconds)


async def test_a_start_is_asked_for_until_the_hub_is_at_it():
    assert await asked(lambda _: None) > 5
    assert await asked(lambda launch: setattr(launch, "awaited", False)) == 1


@pytest.mark.parametrize("phase", [Phase.ENDING, Phase.GONE])
async def test_one_that_its_user_has_stopped_or_replaced_meanwhile_is_not(phase):
    assert await asked(lambda launch: launch.enter(phase)) == 1


async def test_a_start_that_waited_for_the_end_of_a_launch_is_asked_for_as_its_user_did_until_it_is_begun():
    taking = await taken(
        with_successor(300), lambda launch: setattr(launch.record, "successor_until", time.time() + 600)
    )
    assert taking.asked == [{"partition": "debug"}]
    assert taking.ended


@pytest.mark.parametrize(("seconds", "times"), [(300, 5), (0, 0)])
async def test_one_that_is_too_old_is_not_and_the_launch_ends_all_the_same(seconds, times):
    taking = await taken(with_successor(seconds), lambda _: None)
    assert times <= len(taking.asked) <= 3 * times
    assert taking.ended


async def test_one_that_its_user_has_stopped_is_not_asked_for_again():
    taking = await taken(with_successor(300), lambda launch: setattr(launch.record, "successor_until", 0.0))
    assert len(taking.asked) == 1
    assert taking.ended
