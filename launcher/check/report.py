"""What a check saw, step by step, as a table for people and as JSON for scripts."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Step:
    """One step of a check.

    Args:
        name: What was tried, in a user's words.
        seconds: How long it took.
        ok: Whether it held.
        detail: What was seen, or why it did not hold; may have several lines.
    """

    name: str
    seconds: float
    ok: bool
    detail: str = ""


@dataclass(frozen=True)
class Report:
    """The outcome of a check.

    Args:
        ok: Whether every step was reached and held.
        steps: The steps that were tried, in order.
    """

    ok: bool
    steps: list[Step]

    def table(self) -> str:
        """The steps as lines of a table: name, seconds, verdict, and what was seen."""
        width = max((len(step.name) for step in self.steps), default=0)
        lines = [f"{'step':{width}}  {'seconds':>7}"]
        for step in self.steps:
            head = f"{step.name:{width}}  {step.seconds:7.2f}  {'ok' if step.ok else 'FAILED':6}"
            details = [_printable(line) for line in step.detail.splitlines()] or [""]
            margin = itertools.chain([head], itertools.repeat(" " * len(head)))
            lines += [f"{start}  {line}".rstrip() for start, line in zip(margin, details, strict=False)]
        return "\n".join(lines)

    def to_json(self) -> str:
        """An object with `ok` and `steps`, a list of `name`, `seconds`, `ok` and `detail`."""
        steps = [{**asdict(step), "seconds": round(step.seconds, 3)} for step in self.steps]
        return json.dumps({"ok": self.ok, "steps": steps}, indent=2)


def _printable(text: str) -> str:
    # A hub or a job can say anything; none of it may drive the reader's terminal.
    return "".join(char if char.isprintable() else " " for char in text)
