"""The API token of a server, in the place of the one that JupyterHub made for a start."""

from datetime import datetime
from types import SimpleNamespace

import pytest
from jupyterhub import orm
from jupyterhub.utils import compare_token
from stand_in import database, gone

from launcher.database.server_token import forget_token, forget_unused, use_token
from launcher.protocol import derive_api_token

MADE = "m" * 32
FIRST, SECOND = (derive_api_token(b"secret", each * 32) for each in "ab")


@pytest.fixture
def spawner():
    """A spawner whose server's token and OAuth client JupyterHub has just made."""
    session = database()
    user = orm.User(name="alice")
    client = orm.OAuthClient(identifier="jupyterhub-user-alice", secret="", redirect_uri="", description="")
    session.add_all([user, client, orm.OAuthClient(identifier="jupyterhub", secret="x")])
    session.commit()
    session.add(orm.APIToken(user=user, token=MADE, client_id="jupyterhub", note="Server at /user/alice/"))
    session.commit()
    yield SimpleNamespace(
        user=SimpleNamespace(db=session), api_token=MADE, orm_spawner=SimpleNamespace(oauth_client=client)
    )
    gone(session)


def good(spawner, token):
    return orm.APIToken.find(spawner.user.db, token) is not None


def test_a_launchs_token_is_the_only_one_and_the_clients_secret(spawner):
    use_token(spawner, FIRST)
    assert good(spawner, FIRST)
    assert not good(spawner, MADE)
    assert compare_token(spawner.orm_spawner.oauth_client.secret, FIRST)


def test_it_can_be_used_again_for_the_same_launch(spawner):
    use_token(spawner, FIRST)
    use_token(spawner, FIRST, FIRST)
    assert good(spawner, FIRST)


def test_a_launch_that_came_to_nothing_leaves_it_to_the_next_of_the_same_start(spawner):
    use_token(spawner, FIRST)
    use_token(spawner, SECOND, FIRST)
    assert good(spawner, SECOND)
    assert not good(spawner, FIRST)


def test_a_start_that_is_taken_up_replaces_what_an_earlier_hub_left(spawner):
    use_token(spawner, FIRST)
    row = orm.APIToken.find(spawner.user.db, FIRST)
    spawner.user.db.add(orm.APIToken(user=row.user, token=MADE, client_id="jupyterhub"))
    spawner.user.db.commit()
    use_token(spawner, FIRST)
    assert good(spawner, FIRST)
    assert not good(spawner, MADE)


def test_a_launch_that_is_over_has_none(spawner):
    use_token(spawner, FIRST)
    forget_token(spawner.user.db, FIRST)
    assert not good(spawner, FIRST)
    forget_token(spawner.user.db, FIRST)


def test_what_starts_leave_that_ended_with_their_hub_is_removed_and_nothing_else(spawner):
    session = spawner.user.db
    user = orm.User.find(session, "alice")

    def add(note, server, **more):
        scopes = ["users:activity!user", f"access:servers!server=alice/{server}"]
        session.add(orm.APIToken(user=user, client_id="jupyterhub", note=note, scopes=scopes, **more))

    add("Server at /user/alice/running/", "running")
    add("Server at /user/alice/stopped/", "stopped")
    add("Server at /user/alice/stopped/", "stopped")
    add("to stop it from a script", "stopped")
    add("Server at /user/alice/stopped/, until tonight", "stopped", expires_at=datetime.max)  # noqa: DTZ901 - as kept
    add("Server at /user/alice/of-another-spawner/", "of-another-spawner")
    session.add(orm.Spawner(user=user, name="of-another-spawner", server=orm.Server(base_url="/")))
    session.add(orm.Spawner(user=user, name="stopped"))
    session.commit()
    forget_unused(session, {"alice/", "alice/running"})
    assert [token.note for token in session.query(orm.APIToken)] == [
        "Server at /user/alice/",
        "Server at /user/alice/running/",
        "to stop it from a script",
        "Server at /user/alice/stopped/, until tonight",
        "Server at /user/alice/of-another-spawner/",
    ]
