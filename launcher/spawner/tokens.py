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

from launcher.errors import FirecrestError

RENEW_BEFORE = 60.0
"""Seconds: FirecREST refuses a token in the last 30 s of its life."""

_LOGIN_AGAIN = "Log out of JupyterHub, log in again, and press Start once more."
_locks: WeakKeyDictionary[User, asyncio.Lock] = WeakKeyDictionary()


async def access_token(user: User) -> str:
    """Return an access token with at least `RENEW_BEFORE` seconds left.

    A renewed one, and the refresh token that came with it, are written back to `auth_state`: providers
    that rotate refresh tokens take the old one for stolen when it comes a second time.

    Raises:
        FirecrestError: With status 401 if the user must log in again, with none if the identity provider
            does not answer.
    """
    async with _locks.setdefault(user, asyncio.Lock()):
        state = await user.get_auth_state()
        if not state or not state.get("access_token"):
            raise FirecrestError(
                "Your log-in can't be used to start a server.", todo=_LOGIN_AGAIN, status=401
            )
        if _seconds_left(state["access_token"]) < RENEW_BEFORE:
            state = await _renew(user, state)
            await user.save_auth_state(state)
        return str(state["access_token"])


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
    try:
        answer = await authenticator.get_token_info(
            None, authenticator.build_refresh_token_request_params(refresh_token)
        )
    except HTTPClientError as error:
        # Only 400 speaks of the refresh token (RFC 6749, 5.2). The answer's text may hold secrets.
        if error.code == 400:
            raise FirecrestError("Your log-in has expired.", todo=_LOGIN_AGAIN, status=401) from None
        raise _no_answer(f"HTTP {error.code}") from None
    except (OSError, HTTPError, ValueError, TypeError) as error:
        # No connection, or an answer that holds no token: OAuthenticator's message would repeat it whole.
        raise _no_answer(type(error).__name__) from None
    answer.setdefault("refresh_token", refresh_token)
    renewed = authenticator.build_auth_state_dict(answer, state[authenticator.user_auth_state_key])
    return dict(await renewed if isawaitable(renewed) else renewed)


def _no_answer(why: str) -> FirecrestError:
    return FirecrestError(
        "The identity provider did not renew your log-in.",
        why=f"Its answer: {why}.",
        todo="Try again in some minutes; if it stays so, tell the site's support.",
    )


def _seconds_left(token: str) -> float:
    """Return how long a token is good for; one that does not say so is FirecREST's to judge."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
        return float(claims["exp"]) - time.time()
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
        return RENEW_BEFORE
