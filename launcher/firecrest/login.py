"""The identities that a hub acts as at FirecREST: its users, and the service account of the site."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import httpx
from jupyterhub.user import User

from launcher.errors import FirecrestError, UsageError
from launcher.firecrest.identity import Identity
from launcher.firecrest.tokens import RENEW_BEFORE, REQUEST_EVERY, access_token, no_answer, seconds_left
from launcher.metrics import TOKEN_REQUESTS

_NEEDED = frozenset({"token_url", "client_id", "client_secret"})


class UserLogin(Identity):
    """A user, by the tokens of their log-in.

    Attributes:
        user: The user.
    """

    everybody = False

    def __init__(self, user: User) -> None:
        self.key = f"user {user.name}"
        self.name = str(user.name)
        self.user = user

    async def token(self, refused: str = "") -> str:
        """Return an access token from `auth_state`."""
        return await access_token(self.user, refused)


class ClientCredentials(Identity):
    """An account of its own, by OAuth's client credentials (RFC 6749, 4.4).

    Args:
        key: Tells identities apart.
        values: `token_url`, `client_id`, `client_secret` and, for one that users launch with, `username`: its
            name on the cluster.
        everybody: Whether it is asked about everybody's jobs.

    Raises:
        UsageError: If a value is missing, unknown or no text.
    """

    def __init__(self, key: str, values: Mapping[str, str], *, everybody: bool) -> None:
        wrong = (_NEEDED - set(values)) | (set(values) - _NEEDED - {"username"})
        wrong |= {name for name, value in values.items() if not isinstance(value, str) or not value}
        if wrong:
            raise UsageError(
                f"The configuration of the {key} can't be used: {', '.join(sorted(wrong))}.",
                todo="It takes token_url, client_id and client_secret; username only for users' accounts.",
            )
        self.key = key
        self.name = values.get("username", "")
        self.everybody = everybody
        self._values = values
        self._token, self._renew_at = "", 0.0
        self._failed: FirecrestError | None = None
        self._not_before = 0.0
        self._lock = asyncio.Lock()
        self._http = httpx.AsyncClient(timeout=20.0)

    async def token(self, refused: str = "") -> str:
        """Return an access token; one request gets it, however many wait."""
        async with self._lock:
            if self._token in ("", refused) or time.monotonic() >= self._renew_at:
                if time.monotonic() >= self._not_before:
                    await self._renew()
                elif self._failed:
                    raise self._failed.with_traceback(None)
            return self._token

    async def _renew(self) -> None:
        values, outcome = self._values, "no answer"
        self._failed = None
        try:
            answer = await self._http.post(
                values["token_url"],
                data={"grant_type": "client_credentials"},
                auth=(values["client_id"], values["client_secret"]),
            )
            outcome = str(answer.status_code)
            self._token = str(answer.raise_for_status().json()["access_token"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            # The answer's text may hold secrets.
            self._failed = no_answer(f"HTTP {outcome}" if outcome.isdigit() else type(error).__name__)
            self._not_before = time.monotonic() + REQUEST_EVERY
            raise self._failed from None
        finally:
            TOKEN_REQUESTS.labels("client_credentials", outcome).inc()
        now = time.monotonic()
        self._not_before, self._renew_at = now + REQUEST_EVERY, now + seconds_left(self._token) - RENEW_BEFORE
