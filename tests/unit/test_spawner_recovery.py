"""What a hub takes up from the one before it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from stand_in import LOG, database, launch

from launcher.spawner.record import Phase
from launcher.spawner.recovery import Recovery

pytestmark = pytest.mark.usefixtures("virtual_time")


class Taking(Recovery):
    """Takes one launch up; the hub answers that it starts the server, whoever has asked for that.

    Attributes:
        asked: How often it has asked the hub.
    """

    def __init__(self, launch, happens):
        settings = {"launcher_launches": [launch]}
        super().__init__(SimpleNamespace(tornado_settings=settings, users={}, db=database()), LOG)
        self.asked = 0
        self.happens = happens

    async def _ask(self, launch):
        self.asked += 1
        self.happens(launch)
        return "HTTP 202: "


async def asked(happens):
    taken_up = launch(taken=False, phase=Phase.SUBMITTED, job_id="7")
    taken_up.awaited = True
    taking = Taking(taken_up, happens)
    taking.begin()
    await asyncio.sleep(600)
    return taking.asked


async def test_a_start_is_asked_for_until_the_hub_is_at_it():
    assert await asked(lambda _: None) > 5
    assert await asked(lambda launch: setattr(launch, "awaited", False)) == 1


@pytest.mark.parametrize("phase", [Phase.ENDING, Phase.GONE])
async def test_one_that_its_user_has_stopped_or_replaced_meanwhile_is_not(phase):
    assert await asked(lambda launch: launch.enter(phase)) == 1
