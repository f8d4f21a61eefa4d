"""People whom a hub knows already: as many log-ins by a browser would take longer than what is measured."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.fernet import Fernet
from jupyterhub import orm

from launcher.sandbox.hub import CLIENT_ID
from launcher.sandbox.site import Site


async def settle(site: Site) -> dict[str, str]:
    """Have everybody of a site known to its hub, as after a log-in; return name → a token for the hub's API.

    The hub is stopped for that, and started again.
    """
    names = [account.name for account in site.accounts]
    logins = {name: site.identity.log_in(name, CLIENT_ID) for name in names}
    await site.hub.kill_hub()
    tokens = await asyncio.to_thread(_written, site, logins)
    await site.hub.start_hub()
    return tokens


def session(site: Site) -> Any:
    """Return a session of the database of a site's hub."""
    return orm.new_session_factory(f"sqlite:///{site.hub.database}")()


def _written(site: Site, logins: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    lock = Fernet(base64.urlsafe_b64encode(bytes.fromhex(site.hub.crypt_key)))
    with session(site) as database:
        return _added(database, {name: lock.encrypt(_state(login)) for name, login in logins.items()})


def _state(login: Mapping[str, Any]) -> bytes:
    """Return what OAuthenticator keeps of a log-in."""
    return json.dumps(
        {
            **{name: login.get(name) for name in ("access_token", "refresh_token", "id_token")},
            "scope": login["scope"].split(),
            "token_response": login,
            "oauth_user": {},
        }
    ).encode()


def _added(database: Any, states: Mapping[str, bytes]) -> dict[str, str]:
    role = orm.Role.find(database, "user")
    users = [orm.User(name=name, roles=[role], encrypted_auth_state=state) for name, state in states.items()]
    database.add_all(users)
    database.flush()
    tokens = dict(zip(states, _api_tokens(database, users), strict=True))
    database.commit()
    return tokens


def _api_tokens(database: Any, users: Iterable[Any]) -> Iterable[str]:
    for user in users:
        token = secrets.token_hex(32)
        row = orm.APIToken(client_id="jupyterhub", scopes=["inherit"], user_id=user.id)
        row.token = token
        database.add(row)
        yield token
