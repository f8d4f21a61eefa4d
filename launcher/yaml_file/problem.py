"""One mistake in a file that an admin wrote."""

from __future__ import annotations

from typing import Self


class Problem(str):
    """A mistake as text, `file:line:column: key: message`, with its parts as attributes.

    Attributes:
        file: The file, as it was named.
        line: Line, from 1.
        column: Column, from 1.
        key: The key that it is about, dotted from the outside in; empty for the file as a whole.
        message: What is wrong, and what is allowed.
    """

    __slots__ = ("column", "file", "key", "line", "message")

    file: str
    line: int
    column: int
    key: str
    message: str

    def __new__(cls, message: str, *, file: object, line: int = 1, column: int = 1, key: str = "") -> Self:
        """Put the parts together."""
        problem = super().__new__(cls, f"{file}:{line}:{column}: {key}{': ' if key else ''}{message}")
        problem.file = str(file)
        problem.line = line
        problem.column = column
        problem.key = key
        problem.message = message
        return problem


def shown(text: str, longest: int = 60) -> str:
    """Return a text from a file as it can stand in one line."""
    plain = text if text.isprintable() else ascii(text)[1:-1]
    return plain if len(plain) <= longest else f"{plain[: longest - 3]}..."
