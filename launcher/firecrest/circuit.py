"""Keeps calls away from a FirecREST that is down, so that it can come back, and nobody waits for nothing."""

from __future__ import annotations

import random
import time

OPENS_AFTER = 5
"""Calls in a row without an answer."""
_FIRST_PAUSE = 10.0
_LONGEST_PAUSE = 60.0
_DOWN = frozenset({502, 503, 504})


class Circuit:
    """Open while FirecREST is down; one call at a time then tries whether it still is."""

    def __init__(self) -> None:
        self._failures = 0
        self._next_try = 0.0

    @property
    def open(self) -> bool:
        """Whether FirecREST is taken for down."""
        return self._failures >= OPENS_AFTER

    def lets_through(self) -> bool:
        """Tell whether a call may be made now; the next one may only once a pause has passed."""
        if not self.open:
            return True
        if time.monotonic() < self._next_try:
            return False
        self._pause()
        return True

    def answered(self, status: int | None) -> None:
        """Note how a call went.

        Args:
            status: HTTP status, or None if there was no answer.
        """
        if status is not None and status not in _DOWN:
            self._failures = 0
            return
        self._failures += 1
        if self.open:
            self._pause()

    def _pause(self) -> None:
        doubled = _FIRST_PAUSE * 2.0 ** min(self._failures - OPENS_AFTER, 10)
        self._next_try = time.monotonic() + min(doubled, _LONGEST_PAUSE) * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load
