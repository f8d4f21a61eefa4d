"""What a spawner forgets, and when."""

import time
from types import SimpleNamespace

import pytest
from jupyterhub import orm
from stand_in import database, gone, launch

from launcher.database.launch_record import STATE_KEY, Phase
from launcher.errors import LauncherError
from launcher.spawner.spawner import LauncherSpawner

TOKEN = "f" * 64


@pytest.fixture
def session():
    session = database()
    user = orm.User(name="alice")
    session.add_all([user, orm.OAuthClient(identifier="jupyterhub", secret="x")])
    session.commit()
    session.add(orm.APIToken(user=user, token=TOKEN, client_id="jupyterhub"))
    session.commit()
    yield session
    gone(session)


@pytest.fixture
def spawner(session):
    """A spawner whose start has put `TOKEN` in the place of JupyterHub's."""
    made = LauncherSpawner.__new__(LauncherSpawner)
    made.user = SimpleNamespace(db=session)
    made._used_token = TOKEN
    return made


def good(session):
    return orm.APIToken.find(session, TOKEN) is not None


@pytest.mark.parametrize("phase", Phase)
def test_the_token_of_a_start_stays_only_with_a_launch_that_is_wanted(session, spawner, phase):
    spawner._launch = launch(phase=phase)
    spawner.clear_state()
    assert good(session) == (phase not in (Phase.ENDING, Phase.GONE))


def test_a_start_that_came_to_no_launch_leaves_no_token(session, spawner):
    spawner.clear_state()
    assert not good(session)


def test_a_start_that_is_over_waits_for_nobodys_end(spawner):
    ending = launch(phase=Phase.ENDING, successor_until=time.time() + 100)
    spawner._launch = spawner._last = ending
    spawner.clear_state()
    assert not ending.has_successor
    assert spawner.get_state()[STATE_KEY]["successor_until"] == 0.0


def test_what_waited_for_an_end_with_an_earlier_hub_still_does(spawner):
    """JupyterHub, when it starts, clears up what it takes for a server that has stopped."""
    spawner._launch = ending = launch(taken=False, phase=Phase.ENDING, successor_until=time.time() + 100)
    spawner.clear_state()
    assert ending.has_successor


@pytest.mark.parametrize("jupyterhub", ["has ended it", "is just ending it"])
def test_a_start_that_jupyterhub_ended_while_it_waited_submits_nothing(spawner, jupyterhub):
    spawner.api_token = "t0ken"
    if jupyterhub == "has ended it":
        spawner.clear_state()
    else:
        spawner._stop_pending = True
    with pytest.raises(LauncherError, match="stopped"):
        spawner._submitted()


async def test_a_start_that_was_cancelled_waits_for_nobodys_end_though_jupyterhub_could_not_end_it(
    spawner, virtual_time
):
    """JupyterHub can't while its proxy is down."""
    ending, kept = launch(phase=Phase.ENDING, successor_until=time.time() + 100), []
    spawner.user.settings = {"launcher_launches": SimpleNamespace(save_later=kept.append)}
    spawner._launch = spawner._last = ending
    await spawner._unless_abandoned(ending)
    assert not ending.has_successor
    assert kept == [ending]
