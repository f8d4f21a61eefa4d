"""Changes that are committed at once, or in a moment with others: everybody waits for each commit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

_SOON = 0.05
"""Seconds in which changes come together that somebody waits for."""
_LATER = 1.0
"""The same, for which nobody waits."""
_Thing = TypeVar("_Thing")
_Change = Callable[[], None]
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
        self._waiting: dict[_Thing, tuple[asyncio.Future[None], list[_Change]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def now(self, thing: _Thing) -> None:
        """Commit what has become of a thing, and what else the session holds.

        Raises:
            SQLAlchemyError: If it can't be; then nothing of it is.
        """
        self._commit({thing: ()})

    def later(self, thing: _Thing) -> None:
        """Commit it within a second, with what comes first: a hub that dies before must find it out again."""
        self._within(_LATER, thing)

    def soon(self, thing: _Thing, also: _Change | None = None) -> asyncio.Future[None]:
        """Commit it in a moment, together with others; return what tells whether it was.

        Args:
            thing: The thing.
            also: What changes more objects of the session; it may be called again, and must then do the same.
        """
        done, changes = self._within(_SOON, thing)
        if also:
            changes.append(also)
        return done

    def _within(self, seconds: float, thing: _Thing) -> tuple[asyncio.Future[None], list[_Change]]:
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        if self._timer is None or due < self._timer.when():
            if self._timer:
                self._timer.cancel()
            self._timer = loop.call_at(due, self._commit_all)
        if thing not in self._waiting:
            self._waiting[thing] = loop.create_future(), []
        return self._waiting[thing]

    def _commit_all(self) -> None:
        waiting, self._waiting, self._timer = self._waiting, {}, None
        things = {thing: also for thing, (_, also) in waiting.items()}
        error = self._problem(things)
        for thing, (done, also) in waiting.items():
            # One that can't be committed is no reason to forget the others; a database that is away is.
            alone = error if isinstance(error, OperationalError | None) else self._problem({thing: also})
            if alone is None:
                done.set_result(None)
            else:
                done.set_exception(alone)
                done.exception()  # nobody need wait for it

    def _problem(self, things: Mapping[_Thing, Iterable[_Change]]) -> Exception | None:
        try:
            self._commit(things)
        except Exception as error:  # noqa: BLE001 - whoever waits hears of it
            _log.exception("The database does not take what has become of launches")
            return error
        return None

    def _commit(self, things: Mapping[_Thing, Iterable[_Change]]) -> None:
        try:
            with self._session.no_autoflush:  # else what is read for one has the others' changes written
                for thing, also in things.items():
                    self._change(thing)
                    for change in also:
                        change()
            self._session.commit()
        except Exception:
            self._session.rollback()  # else nobody could save anything any more
            raise
