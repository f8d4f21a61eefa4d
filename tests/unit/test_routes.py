"""A proxy that was restarted gets its routes back."""

import asyncio
import contextlib
import logging
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError

from launcher import routes

pytestmark = pytest.mark.usefixtures("virtual_time")


class Hub:
    """A hub, as far as routes go.

    Attributes:
        looks: What it was told to look at, each time.
        rollbacks: How often what is not committed was given up.
        problem: Why its proxy does not answer, or None.
    """

    def __init__(self):
        self.http_server = object()
        self.users = {"alice": object()}
        self.tornado_settings = {"services": {"idle": object()}}
        self.proxy = SimpleNamespace(check_routes=self._check_routes)
        self.db = SimpleNamespace(rollback=self._rollback)
        self.looks = []
        self.rollbacks = 0
        self.problem = None

    def _rollback(self):
        self.rollbacks += 1

    async def _check_routes(self, *of):
        self.looks.append(of)
        if self.problem:
            raise self.problem


@pytest.fixture
async def hub():
    hub = Hub()
    keeping = asyncio.create_task(routes.keep(hub, logging.getLogger("hub")))
    yield hub
    keeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeping


async def test_it_is_looked_at_four_times_a_minute(hub):
    await asyncio.sleep(61)
    assert hub.looks == [(hub.users, hub.tornado_settings["services"])] * 4


async def test_not_before_the_hub_knows_all_of_its_servers(hub):
    """One that it does not know yet would lose its route."""
    hub.http_server = None
    await asyncio.sleep(61)
    assert hub.looks == []
    hub.http_server = object()
    await asyncio.sleep(16)
    assert len(hub.looks) == 1


async def test_a_database_that_is_away_leaves_nothing_undone_behind(hub):
    hub.problem = OperationalError("select", {}, Exception("the server closed the connection"))
    await asyncio.sleep(16)
    assert hub.rollbacks == 1
    hub.problem = OSError("connection refused")
    await asyncio.sleep(16)
    assert hub.rollbacks == 1


async def test_one_that_does_not_answer_is_looked_at_again(hub, caplog):
    hub.problem = OSError("connection refused")
    await asyncio.sleep(31)
    assert len(hub.looks) == 2
    assert "Can't look at the routes of the proxy: connection refused" in caplog.text
