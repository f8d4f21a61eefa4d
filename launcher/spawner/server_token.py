"""The API token of a server: derived from its launch, so that a hub which was restarted knows it again.

JupyterHub makes a token for each start and forgets it when it ends itself. A server that was let begin by one
hub, and is taken up by the next, would then hold a token that is good for nothing.
"""

from __future__ import annotations

from jupyterhub import orm
from jupyterhub.spawner import Spawner
from jupyterhub.utils import hash_token
from sqlalchemy.orm import Session


def use_token(spawner: Spawner, token: str, before: str = "") -> None:
    """Put a launch's token in the place of the one that JupyterHub has just made for a start.

    Args:
        spawner: Whose server it is.
        token: The token.
        before: What this start has put in its place already, for a launch that came to nothing.
    """
    session = spawner.user.db
    found = (orm.APIToken.find(session, each) for each in (spawner.api_token, before) if each)
    made = next((each for each in found if each is not None), None)
    if made is None or made.match(token):
        return
    forget_token(session, token)
    made.token = token
    client = spawner.orm_spawner.oauth_client
    if client is not None:
        client.secret = hash_token(token)
    session.commit()


def forget_token(session: Session, token: str) -> None:
    """Make an API token good for nothing.

    Args:
        session: Of the hub's database.
        token: The token.
    """
    found = orm.APIToken.find(session, token)
    if found is not None:
        session.delete(found)
        session.commit()
