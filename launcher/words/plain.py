"""Text from elsewhere, made fit to be shown."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Terminal sequences (ECMA-48): those with parameters, those with a text of their own, such as a window's
# title, and the short ones. Then what is left of control characters (but tab and line feed), what changes
# the direction of the text around it, and lone surrogates, which no page can be encoded with.
_HIDDEN = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b\n]{0,2000}(?:\x07|\x1b\\)"
    r"|\x1b[ -/]*[0-Z\\-~]"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def plain(text: str) -> str:
    """Return text without what a terminal or a browser would not show as text; line ends stay."""
    return _HIDDEN.sub("", text.replace("\r\n", "\n"))


def one_line(text: str, limit: int) -> str:
    """Return plain text on one line, cut to so many characters."""
    words = " ".join(plain(text[: 4 * limit]).split())
    return words if len(words) <= limit else words[: limit - 1] + "…"


def tail(lines: Sequence[str], count: int, width: int) -> list[str]:
    """Return the last lines of a log, plain and cut to a width, and none if there is no text in it.

    What a carriage return goes over, as progress bars do, is left out as a terminal would.
    """
    last = "\n".join(lines[-count:]).replace("\r\n", "\n").rstrip().split("\n")[-count:]
    shown = [plain(line.rstrip("\r").rpartition("\r")[2][: 4 * width])[:width] for line in last]
    return shown if any(shown) else []
