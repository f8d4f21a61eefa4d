"""How the steps of long work are told."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of each step of a build; the command line draws bars of it."""

    def step(self, text: str) -> None:
        """A step begins: `Fetching wheels`; it ends the one before."""

    def advance(self, done: int, total: int) -> None:
        """So much of the step is done; a total of 0 stands for an unknown one."""

    def note(self, text: str) -> None:
        """Something that the reader should know, in one line."""


class Silent:
    """Tells nothing."""

    def step(self, text: str) -> None:
        """Do nothing."""

    def advance(self, done: int, total: int) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""
