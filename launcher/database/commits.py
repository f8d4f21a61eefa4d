"""Changes that are committed at once, or in a moment with others: everybody waits for each commit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

_SOON = 0.05
"""Seconds in which changes come together."""
_Thing = TypeVar("_Thing")
_log = logging.getLogger(__name__)


class Commits(Generic[_Thing]):
    """Commits what becomes of things. What can't be committed is tried again only when it is asked for.

    Args:
        session: The hub's.
        change: Puts what has become of a thing into the objects of the session. It is called right before a
            commit: JupyterHub gives up changes wherever it finds some that are not committed.
    """

    def __init__(self, session: Session, change: Callable[[_Thing], None]) -> None:
        self._session = session
        self._change = change
        self._waiting: dict[_Thing, asyncio.Future[None]] = {}

    def now(self, thing: _Thing) -> None:
        """Commit what has become of a thing, and what else the session holds.

        Raises:
            SQLAlchemyError: If it can't be; then nothing of it is.
        """
        self._commit([thing])

    def soon(self, thing: _Thing) -> asyncio.Future[None]:
        """Commit it in a moment, together with others; return what tells whether it was.

        A hub may die before: whoever must not hear of what would then be forgotten waits for that.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_later(_SOON, self._commit_all)
        if thing not in self._waiting:
            self._waiting[thing] = loop.create_future()
        return self._waiting[thing]

    def _commit_all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        error = self._problem(waiting)
        for thing, done in waiting.items():
            # One that can't be committed is no reason to forget the others; a database that is away is.
            alone = error if isinstance(error, OperationalError | None) else self._problem([thing])
            if alone is None:
                done.set_result(None)
            else:
                done.set_exception(alone)
                done.exception()  # nobody need wait for it

    def _problem(self, things: Iterable[_Thing]) -> Exception | None:
        try:
            self._commit(things)
        except Exception as error:  # noqa: BLE001 - whoever waits hears of it
            _log.exception("The database does not take what has become of launches")
            return error
        return None

    def _commit(self, things: Iterable[_Thing]) -> None:
        try:
            for thing in things:
                self._change(thing)
            self._session.commit()
        except Exception:
            self._session.rollback()  # else nobody could save anything any more
            raise
