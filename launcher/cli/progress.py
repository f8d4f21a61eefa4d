"""Progress of long work, on standard error: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self

import click


class ShownProgress:
    """Shows each step of long work as it comes."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._text = ""
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def step(self, text: str) -> None:
        """A step begins."""
        self._close()
        self._text = text
        click.echo(text, err=True)

    def advance(self, done: int, total: int) -> None:
        """So much of the step is done."""
        if not self._terminal or total <= 0:
            return
        if self._bar is None:
            self._bar = click.progressbar(length=total, label=f"  {self._text}", file=sys.stderr, width=30)
            self._bar.__enter__()
        self._bar.update(done - self._bar.pos)
        if done >= total:
            self._close()

    def note(self, text: str) -> None:
        """Something that the reader should know."""
        self._close()
        click.echo(f"  {text}", err=True)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None
