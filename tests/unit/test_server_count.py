"""JupyterHub's count of servers: rare where it refuses nobody."""

import asyncio
from types import SimpleNamespace

import pytest
from jupyterhub.metrics import RUNNING_SERVERS
from jupyterhub.user import UserDict

from launcher.server_count import EVERY, count_seldom

pytestmark = pytest.mark.usefixtures("virtual_time")


class Users(UserDict):
    """Users of whom some have servers.

    Attributes:
        servers: How many.
        counts: How often they were counted.
    """

    def __init__(self):
        super().__init__(lambda: None, {})
        self.servers = self.counts = 0

    def count_active_users(self):
        self.counts += 1
        return {"active": self.servers}


def hub(**limits):
    users = Users()
    count_seldom(SimpleNamespace(users=users, tornado_settings={"users": users, **limits}))
    return users


@pytest.fixture(autouse=True)
def metric():
    RUNNING_SERVERS.set(0)
    yield RUNNING_SERVERS._value.get
    RUNNING_SERVERS.set(0)


async def test_many_starts_of_a_moment_need_one_count():
    users = hub(concurrent_spawn_limit=0, active_server_limit=0)
    users.servers = 7
    assert [users.count_active_users() for _ in range(50)] == [{"active": 7}] * 50
    assert users.counts == 1


async def test_it_is_made_anew_when_it_is_old():
    users = hub()
    users.count_active_users()
    users.servers = 7
    await asyncio.sleep(EVERY)
    assert users.count_active_users() == {"active": 7}


async def test_the_metric_hears_of_what_came_after_the_last_count(metric):
    users = hub()
    users.count_active_users()
    users.servers = 7
    users.count_active_users()
    await asyncio.sleep(EVERY + 0.1)
    assert metric() == 7
    await asyncio.sleep(10 * EVERY)
    assert users.counts == 2


async def test_those_who_come_all_the_time_need_one_now_and_then():
    users = hub()
    for _ in range(100):
        users.count_active_users()
        await asyncio.sleep(EVERY / 10)
    assert users.counts <= 11


@pytest.mark.parametrize("limit", ["concurrent_spawn_limit", "active_server_limit"])
async def test_a_hub_with_a_limit_counts_at_each_start(limit):
    users = hub(**{limit: 5})
    for _ in range(3):
        users.count_active_users()
    assert users.counts == 3
