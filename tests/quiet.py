"""Progress that nobody wants to see."""

from __future__ import annotations


class Silent:
    """Tells nothing."""

    def step(self, text: str) -> None:
        """Do nothing."""

    def advance(self, done: int, total: int) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""
