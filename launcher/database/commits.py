"""Changes that are committed at once, or in a moment with others: everybody waits for each commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from sqlalchemy.orm import Session

_SOON = 0.05
"""Seconds in which changes come together."""
_Thing = TypeVar("_Thing")


class Commits(Generic[_Thing]):
    """Commits what becomes of things.

    Args:
        session: The hub's.
        change: Puts what has become of a thing into the objects of the session. It is called right before a
            commit: JupyterHub gives up changes wherever it finds some that are not committed.
    """

    def __init__(self, session: Session, change: Callable[[_Thing], None]) -> None:
        self._session = session
        self._change = change
        self._waiting: dict[_Thing, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._done = asyncio.Event()

    def now(self, thing: _Thing) -> None:
        """Commit what has become of a thing, with all that waits, and what else the session holds."""
        self._waiting[thing] = None
        self._commit()

    def soon(self, thing: _Thing) -> None:
        """Commit it in a moment, together with others.

        A hub may die before: whoever must not hear of what would then be forgotten waits for `done`.
        """
        self._waiting[thing] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SOON, self._commit)

    async def done(self, thing: _Thing) -> None:
        """Wait until what has become of a thing is committed."""
        while thing in self._waiting:
            if self._timer is None:  # it could not be: now it can, or whoever waits hears why not
                self._commit()
            else:
                await self._done.wait()

    def _commit(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._done.set()
        self._done = asyncio.Event()
        try:
            for thing in self._waiting:
                self._change(thing)
            self._session.commit()
        except Exception:
            self._session.rollback()  # else nobody could save anything any more
            raise
        self._waiting.clear()
