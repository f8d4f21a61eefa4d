"""The hub's own credentials for FirecREST: a service account's, and those of users who have no log-in."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from launcher.sandbox.accounts import Account
from launcher.sandbox.identity import Client

SERVICE = "launcher"
"""The client whose tokens watch and cancel everybody's jobs."""

_GRANTS = frozenset({"client_credentials"})


class Credentials:
    """Clients of the identity provider whose secrets the hub has.

    Args:
        service_account: Whether there is a service account.
        user_accounts: Name of a user of the hub → whose account is theirs.
        accounts: The accounts, by the names that were wished for.
        token_lifetime: Seconds that a service account's token is good for; None for as long as others'.
    """

    def __init__(
        self,
        *,
        service_account: bool,
        user_accounts: Mapping[str, str],
        accounts: Mapping[str, Account],
        token_lifetime: float | None,
    ) -> None:
        self._service = (
            Client(SERVICE, secrets.token_urlsafe(32), grants=_GRANTS, token_lifetime=token_lifetime)
            if service_account
            else None
        )
        self._users = {
            user: Client(
                f"account-of-{user}", secrets.token_urlsafe(32), grants=_GRANTS, account=accounts[name].name
            )
            for user, name in user_accounts.items()
        }

    @property
    def clients(self) -> list[Client]:
        """What the identity provider must know."""
        return [*([self._service] if self._service else []), *self._users.values()]

    @property
    def operators(self) -> list[str]:
        """Whose tokens may cancel everybody's jobs."""
        return [self._service.name] if self._service else []

    def spawner(self, token_url: str) -> dict[str, object]:
        """Return the spawner's traits; they hold secrets.

        Args:
            token_url: The identity provider's token endpoint.
        """

        def shown(client: Client) -> dict[str, str]:
            return {"token_url": token_url, "client_id": client.id, "client_secret": client.secret}

        traits: dict[str, object] = {}
        if self._service:
            traits["service_account"] = shown(self._service)
        if self._users:
            traits["user_accounts"] = {
                user: {**shown(client), "username": client.name} for user, client in self._users.items()
            }
        return traits
