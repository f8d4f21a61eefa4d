"""Errors in JupyterHub's log, by their kinds."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

_BEGINS = "Traceback (most recent call last):"
_FRAME = re.compile(r'^(?P<indent>\s*)File "(?P<path>[^"]+)", line \d+, in (?P<where>.+)$')
_ERROR = re.compile(r"^(?P<indent>\s*)(?P<name>[A-Za-z_][\w.]*)(?::|$)")
_NO_ERRORS = (".LaunchFailed", ".CancelledError")
"""JupyterHub logs tracebacks of what tells a user why a start failed, and of starts that somebody stopped."""
_OURS = re.compile(r"/launcher/(?!sandbox/)")
_GOES_ON = ("another exception occurred:", "direct cause of the following exception:")
_NEXT_LINE = re.compile(r"^\[[A-Z] \d{4}-\d\d-\d\d ")


@dataclass(frozen=True)
class Traceback:
    """One traceback.

    Attributes:
        error: Name of the exception.
        where: File and function in which it was raised.
        ours: Whether it was raised in, or came through, the launcher, and is an error.
    """

    error: str
    where: str
    ours: bool

    @property
    def kind(self) -> str:
        """What those of a kind have in common."""
        return f"{self.error} in {self.where}"


def tracebacks(log: str) -> Counter[Traceback]:
    """Return the tracebacks of a log, each with how often it came; with its causes one counts once."""
    found: list[list[str]] = []
    before = ""
    within = False
    for line in log.splitlines():
        if line.strip() == _BEGINS:
            if not (within and before.endswith(_GOES_ON)):
                found.append([])
            within = True
        elif _NEXT_LINE.match(line):
            within = False
        elif within:
            found[-1].append(line)
        before = line.strip() or before
    return Counter(filter(None, map(_parsed, found)))


def _parsed(lines: list[str]) -> Traceback | None:
    frames = [(number, frame) for number, line in enumerate(lines) if (frame := _FRAME.match(line))]
    if not frames:
        return None
    last, frame = frames[-1]
    # Lines of the source stand further to the right.
    errors = (_ERROR.match(line) for line in lines[last + 1 :])
    named = (each["name"] for each in errors if each and len(each["indent"]) < len(frame["indent"]))
    error = next(named, "an exception")
    where = f"{'/'.join(frame['path'].rsplit('/', 2)[1:])}, {frame['where']}"
    ours = any(_OURS.search(each["path"]) for _, each in frames) and not error.endswith(_NO_ERRORS)
    return Traceback(error, where, ours)
