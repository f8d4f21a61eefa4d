"""A user's access token for FirecREST, from `auth_state`, renewed in time."""

from __future__ import annotations

import asyncio
import time
from inspect import isawaitable
from typing import Any
from weakref import WeakKeyDictionary

import jwt
from jupyterhub.user import User
from tornado.httpclient import HTTPClientError
from tornado.web import HTTPError

from launcher.detached import run_detached
from launcher.errors import FirecrestError
from launcher.metrics import TOKEN_REQUESTS

RENEW_BEFORE = 60.0
"""Seconds: FirecREST refuses a token in the last 30 s of its life."""

_LOGIN_AGAIN = "Log in again, then press Start once more."
REQUEST_EVERY = 10.0
"""Seconds without another request after one, whether it was answered or not, and whatever the clock says."""

_locks: WeakKeyDictionary[User, asyncio.Lock] = WeakKeyDictionary()
_asked: WeakKeyDictionary[User, tuple[float, FirecrestError | None]] = WeakKeyDictionary()
"""When a user's token was last asked for, by `time.monotonic()`, and why there was none."""


async def access_token(user: User, refused: str = "") -> str:
    """Return an access token with at least `RENEW_BEFORE` seconds left, and another one than was refused.

    A renewed one, and the refresh token that came with it, are written back to `auth_state`: providers
    that rotate refresh tokens take the old one for stolen when it comes a second time.

    Raises:
        FirecrestError: With status 401 if the user must log in again, with none if the identity provider
            does not answer.
    """
    # Detached: who is cancelled must not take along a refresh token that is spent, and the new one not saved.
    return await asyncio.shield(run_detached(_access_token(user, refused)))


async def _access_token(user: User, refused: str) -> str:
    async with _locks.setdefault(user, asyncio.Lock()):
        state = await user.get_auth_state()
        if not state or not state.get("access_token"):
            raise FirecrestError(
                "Your log-in can't be used to start a server.", todo=_LOGIN_AGAIN, status=401
            )
        token = str(state["access_token"])
        if token != refused and seconds_left(token) >= RENEW_BEFORE:
            return token
        asked, failed = _asked.get(user, (float("-inf"), None))
        if time.monotonic() - asked < REQUEST_EVERY:
            if failed:
                raise failed.with_traceback(None)
            return token
        try:
            state = await _renew(user, state)
        except FirecrestError as error:
            _asked[user] = time.monotonic(), error
            raise
        _asked[user] = time.monotonic(), None
        await user.save_auth_state(state)
        return str(state["access_token"])


async def has_fresh_token(user: User) -> bool:
    """Tell whether a user can act at FirecREST without another token."""
    state = await user.get_auth_state()
    token = (state or {}).get("access_token")
    return isinstance(token, str) and seconds_left(token) >= RENEW_BEFORE


async def refresh_user(_: object, user: User, auth_state: dict[str, Any] | None) -> bool:
    """Renew a user's tokens; a hook for `OAuthenticator.refresh_user_hook`.

    OAuthenticator's own way renews a token only once it is refused, which is too late for FirecREST, and
    lets parallel requests spend one refresh token twice.
    """
    if not auth_state:
        return False
    try:
        await access_token(user)
    except FirecrestError as error:
        return error.status != 401
    return True


async def _renew(user: User, state: dict[str, Any]) -> dict[str, Any]:
    refresh_token = state.get("refresh_token")
    authenticator = user.authenticator
    if not refresh_token or not hasattr(authenticator, "build_refresh_token_request_params"):
        raise FirecrestError("Your log-in has expired.", todo=_LOGIN_AGAIN, status=401)
    outcome = "no answer"
    try:
        answer = await authenticator.get_token_info(
            None, authenticator.build_refresh_token_request_params(refresh_token)
        )
        outcome = "200"
    except HTTPClientError as error:
        outcome = str(error.code)
        # Only 400 speaks of the refresh token (RFC 6749, 5.2). The answer's text may hold secrets.
        if error.code == 400:
            raise FirecrestError("Your log-in has expired.", todo=_LOGIN_AGAIN, status=401) from None
        raise no_answer(f"HTTP {error.code}") from None
    except (OSError, HTTPError, ValueError, TypeError) as error:
        # No connection, or an answer that holds no token: OAuthenticator's message would repeat it whole.
        raise no_answer(type(error).__name__) from None
    finally:
        TOKEN_REQUESTS.labels("refresh_token", outcome).inc()
    answer.setdefault("refresh_token", refresh_token)
    renewed = authenticator.build_auth_state_dict(answer, state[authenticator.user_auth_state_key])
    return dict(await renewed if isawaitable(renewed) else renewed)


def no_answer(why: str) -> FirecrestError:
    """Return the error of an identity provider that did not do what it should."""
    return FirecrestError(
        "The identity provider did not renew your log-in.",
        why=f"Its answer: {why}.",
        todo="Try again in some minutes; if it stays so, tell the site's support.",
    )


def seconds_left(token: str) -> float:
    """Return how long a token is good for; one that does not say so is FirecREST's to judge."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
        return float(claims["exp"]) - time.time()
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
        return RENEW_BEFORE
