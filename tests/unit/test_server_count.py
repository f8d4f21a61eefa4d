"""JupyterHub's count of servers: rare where it refuses nobody, and its metric right."""

import asyncio
import contextlib
import logging
from types import SimpleNamespace

import pytest
from jupyterhub.metrics import RUNNING_SERVERS
from jupyterhub.user import UserDict
from sqlalchemy.exc import OperationalError

from launcher.server_count import EVERY, keep

pytestmark = pytest.mark.usefixtures("virtual_time")


class Server:
    """A server as JupyterHub counts it."""

    def __init__(self, pending=None):
        self.pending = pending
        self.broken = False

    @property
    def active(self):
        return True

    @property
    def ready(self):
        if self.broken:
            raise OperationalError("SELECT", {}, Exception("server closed the connection"))
        return not self.pending


class Hub:
    """A hub with users of whom each has servers.

    Attributes:
        rollbacks: How often its session was rolled back.
    """

    def __init__(self, **limits):
        self.users = UserDict(lambda: None, {})
        self.tornado_settings = {"users": self.users, **limits}
        self.rollbacks = 0
        self.db = SimpleNamespace(rollback=self._rollback)

    def _rollback(self):
        self.rollbacks += 1

    def begin(self, number, pending=None):
        server = Server(pending)
        self.users[number] = SimpleNamespace(spawners={"": server})
        return server

    def counted(self):
        """Return what a start is told of those that are active."""
        return self.users.count_active_users()["active"]


@contextlib.asynccontextmanager
async def kept(hub):
    task = asyncio.create_task(keep(hub, logging.getLogger("test")))
    await asyncio.sleep(0)
    yield
    task.cancel()


@pytest.fixture(autouse=True)
def metric():
    RUNNING_SERVERS.set(0)
    yield RUNNING_SERVERS._value.get
    RUNNING_SERVERS.set(0)


async def test_starts_share_a_count_for_some_seconds():
    hub = Hub(concurrent_spawn_limit=0, active_server_limit=0)
    hub.begin(1)
    async with kept(hub):
        hub.begin(2)
        assert hub.counted() == 1
        await asyncio.sleep(EVERY + 1)
        assert hub.counted() == 2


async def test_a_start_finds_all_that_jupyterhub_looks_for():
    hub = Hub()
    async with kept(hub):
        counts = hub.users.count_active_users()
        assert counts["spawn_pending"] + counts["proxy_pending"] + counts["active"] == 0


async def test_what_one_does_with_its_counts_another_does_not_see():
    hub = Hub()
    async with kept(hub):
        hub.users.count_active_users()["active"] = 99
        assert hub.counted() == 0


async def test_the_metric_counts_a_start_that_waited_once(metric):
    hub = Hub()
    async with kept(hub):
        server = hub.begin(1, "spawn")
        await asyncio.sleep(EVERY + 1)
        server.pending = None
        RUNNING_SERVERS.inc()  # as JupyterHub does when a server is ready
        assert metric() == 2
        await asyncio.sleep(EVERY)
        assert metric() == 1


async def test_a_database_that_is_away_is_asked_again(metric):
    hub = Hub()
    server = hub.begin(1)
    server.broken = True
    async with kept(hub):
        assert hub.rollbacks == 1
        server.broken = False
        await asyncio.sleep(EVERY + 1)
        assert metric() == 1


@pytest.mark.parametrize("limit", ["concurrent_spawn_limit", "active_server_limit"])
async def test_a_hub_with_a_limit_counts_at_each_start(limit):
    hub = Hub(**{limit: 5})
    async with kept(hub):
        for number in range(3):
            hub.begin(number)
            assert hub.counted() == number + 1
