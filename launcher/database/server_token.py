"""The API token of a server: derived from its launch, so that a hub which was restarted knows it again.

JupyterHub makes a token for each start and forgets it when it ends itself. A server that was let begin by one
hub, and is taken up by the next, would then hold a token that is good for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from jupyterhub import orm
from jupyterhub.spawner import Spawner
from jupyterhub.utils import hash_token
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

# Made once: what `APIToken.find` makes for each search takes four times as long as the search.
_ALIKE = select(orm.APIToken).where(orm.APIToken.prefix == bindparam("prefix"))


def use_token(spawner: Spawner, token: str, before: str = "", *, new: bool = False) -> None:
    """Put a launch's token in the place of the one that JupyterHub has just made for a start.

    It is good once the session is committed, which is left to whoever saves the launch.

    Args:
        spawner: Whose server it is.
        token: The token.
        before: What this start has put in its place already, for a launch that came to nothing.
        new: Whether no earlier start can have used it.
    """
    session = spawner.user.db
    found = (_found(session, each) for each in (spawner.api_token, before) if each)
    made = next((each for each in found if each is not None), None)
    if made is None or made.match(token):
        return
    earlier = None if new else _found(session, token)
    if earlier is not None:
        session.delete(earlier)
        session.flush()
    made.token = token
    client = spawner.orm_spawner.oauth_client
    if client is not None:
        # Rounds protect what people think up: this one has 256 bits.
        client.secret = hash_token(token, rounds=1)


def forget_token(session: Session, token: str) -> None:
    """Make an API token good for nothing.

    Args:
        session: Of the hub's database.
        token: The token.
    """
    found = _found(session, token)
    if found is not None:
        session.delete(found)
        session.commit()


def forget_unused(session: Session, wanted: Iterable[str]) -> None:
    """Remove the tokens of starts that ended with an earlier hub before they had a launch.

    JupyterHub makes a token as a start begins. If it ends just then, that is nobody's, and never expires. The
    next hub takes such a server for one that runs until it has looked: the one after that removes the token.

    Args:
        session: Of the hub's database.
        wanted: USER/SERVER of every launch that is wanted. Servers that run keep theirs in any case: they may
            be another spawner's.
    """
    running = session.query(orm.User.name, orm.Spawner.name).join(orm.Spawner.user)
    used = {*wanted, *map("/".join, running.filter(orm.Spawner.server_id.isnot(None)))}
    made = (orm.APIToken.note.startswith("Server at /"), orm.APIToken.expires_at.is_(None))
    for token, name in session.query(orm.APIToken, orm.User.name).join(orm.APIToken.user).filter(*made).all():
        # A user may have had another name when the token was made: which server's it is can't be told then.
        own = f"access:servers!server={name}/"
        servers = [f"{name}/{each.removeprefix(own)}" for each in token.scopes if each.startswith(own)]
        if servers and used.isdisjoint(servers):
            session.delete(token)
    session.commit()


def _found(session: Session, token: str) -> orm.APIToken | None:
    alike = session.scalars(_ALIKE, {"prefix": token[: orm.APIToken.prefix_length]})
    return next((each for each in alike if each.match(token)), None)
