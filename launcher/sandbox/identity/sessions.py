"""Who is logged in to the provider itself, browser by browser."""

import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SESSION_LIFETIME = 12 * 3600.0
"""Seconds after which a browser is asked for the password again."""


@dataclass(frozen=True)
class Session:
    """A person who gave the right password.

    Attributes:
        user: The account's name.
        since: When the password was given, in seconds since the epoch.
    """

    user: str
    since: float


class Sessions:
    """The accounts, and the browsers logged in with them.

    Args:
        passwords: Account name → password.
        clock: Gives the time in seconds since the epoch.
    """

    def __init__(self, passwords: Mapping[str, str], clock: Callable[[], float]) -> None:
        self._passwords = dict(passwords)
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    def log_in(self, user: str, password: str) -> str | None:
        """Return a new session's id, a secret for the browser's cookie, or None if the password is wrong."""
        # An unknown name is compared too, so that the time taken does not tell which names exist.
        expected = self._passwords.get(user)
        right = hmac.compare_digest(password.encode(), (expected or "").encode())
        if expected is None or not right:
            return None
        now = self._clock()
        self._sessions = {k: s for k, s in self._sessions.items() if now < s.since + SESSION_LIFETIME}
        session_id = secrets.token_urlsafe(32)
        self._sessions[session_id] = Session(user, now)
        return session_id

    def find(self, session_id: str) -> Session | None:
        """Return the session with this id, unless it is over."""
        session = self._sessions.get(session_id)
        return session if session and self._clock() < session.since + SESSION_LIFETIME else None

    def log_out(self, session_id: str) -> None:
        """End the session with this id, if there is one."""
        self._sessions.pop(session_id, None)
