"""What was seen of an image: checks that hold or don't, as each `verify` tells them."""

from __future__ import annotations

import json
import subprocess
from typing import Any, NamedTuple

from launcher.yaml_file import shown

VERIFY = "meta/recipe/verify"
"""Where the `verify` of an image's recipe lies in it."""
_LINES = 20
"""So many lines of a check's text are kept."""


class Check(NamedTuple):
    """One check.

    Attributes:
        name: What holds if it passed.
        ok: Whether it did.
        text: What was seen.
    """

    name: str
    ok: bool
    text: str

    def printable(self) -> Check:
        """Return it as a terminal may show it: names and texts may come from the image."""
        lines = self.text.splitlines()[:_LINES]
        return self._replace(name=shown(self.name, 200), text="\n".join(shown(each, 500) for each in lines))


class Report(NamedTuple):
    """What was seen of an image.

    Attributes:
        checks: All checks.
        ran: Whether programs of the image could be run here; otherwise they were only looked at.
        seconds: What it took.
        glibc: The version of the newest symbol of the C library that a program needs.
    """

    checks: tuple[Check, ...]
    ran: bool
    seconds: float
    glibc: tuple[int, int] | None = None

    @property
    def ok(self) -> bool:
        """Whether all checks passed."""
        return all(each.ok for each in self.checks)

    @property
    def objections(self) -> str:
        """What did not pass, for people."""
        return "\n".join(f"{each.name}: {each.text}" for each in self.checks if not each.ok)

    def plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"ok": self.ok, **self._asdict(), "checks": [each._asdict() for each in self.checks]}


def answers(done: subprocess.CompletedProcess[bytes], script: str) -> tuple[list[Check], tuple[str, ...]]:
    """Read what a `verify` has printed, which ended well only if it has told of all its checks.

    Args:
        done: How it ended.
        script: What it is called.

    Returns:
        Its checks, and the paths that it knows to hold no secrets.
    """
    known, count, lines = _known(done.stdout.decode(errors="replace").splitlines())
    checks = [check(line, script) for line in lines]
    if count not in (None, len(checks)):
        text = f"It ended after {len(checks)} of {count} checks.\n{last_lines(done.stderr)}"
        checks.append(Check(script, ok=False, text=text.strip()))
    elif done.returncode not in (0, 1) or (done.returncode and all(each.ok for each in checks)):
        text = f"It ended with {done.returncode}.\n{last_lines(done.stderr)}"
        checks.append(Check(script, ok=False, text=text.strip()))
    elif not done.stdout.strip():
        checks.append(Check(script, ok=False, text="It checked nothing."))
    return checks, known


def check(line: str, script: str) -> Check:
    """Read a line that a `verify` has printed."""
    try:
        told = json.loads(line)
        return Check(str(told["name"]), told["ok"] is True, str(told.get("text", "")))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return Check(script, ok=False, text=f"It printed what is no check: {line[:200]}")


def last_lines(text: bytes) -> str:
    """Return the end of what a program has said."""
    return "\n".join(text.decode(errors="replace").strip().splitlines()[-8:])


def _known(lines: list[str]) -> tuple[tuple[str, ...], int | None, list[str]]:
    """Take off the line that `checks.main` begins with: patterns of paths, and the number of checks."""
    try:
        told = json.loads(lines[0])
        known, count = told["known"], told["checks"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return (), None, lines
    patterns = [str(each) for each in known if str(each).isprintable()] if isinstance(known, list) else []
    return tuple(patterns), count if isinstance(count, int) else -1, lines[1:]
