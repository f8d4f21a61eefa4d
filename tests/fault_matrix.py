"""The fault matrix: its rows, as the tests of `tests/faults` name them, and its page."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

PAGE = Path(__file__).parents[1] / "docs/reliability.md"
_TESTS = Path(__file__).with_name("faults")
COUNTS = ("live jobs forgotten", "orphans", "wrong-user access")

_HEAD = """\
# Reliability

<!-- Written by `make faults`. -->

What goes wrong at a site, and what its users see of it. Each row is a test that puts the fault into a site
on one machine: a real JupyterHub with its proxy, an identity provider, a gateway that answers as FirecREST
does, and jobs that are plain processes or, where the row says so, Slurm's. `make faults` runs them all and
writes this page. What takes hours is proved in virtual time, by `make unit`.

After each fault the same is counted:

- **Live jobs forgotten**: jobs that live although the hub knows no launch of theirs; servers that were ready
  before and are neither ready again nor known to be dead; and in each row the JupyterLab of somebody whom the
  fault does not concern, if its kernel does not hold any more what it held before.
- **Orphans**: users of whom a job or a launch is left when they have stopped their servers.
- **Wrong-user access**: what another user, logged in at the same hub, was let do: open somebody's server,
  start, stop or follow it, claim its launch, send events in its name, ask it to end.
"""


@dataclass(frozen=True)
class Row:
    """One fault.

    Attributes:
        group: The heading that it stands under.
        fault: What goes wrong.
        sees: What the user sees of it.
        parts: What is real.
    """

    group: str
    fault: str
    sees: str
    parts: str = "hub, gateway"


def row_of(group: str, parts: str, mark: Any) -> Row:
    """Return the row that a mark `fault(what, sees=…)` stands for."""
    return Row(group, mark.args[0], mark.kwargs["sees"], mark.kwargs.get("parts", parts))


def rows_of(module: ModuleType) -> Iterator[Row]:
    """Yield the rows that a module's tests are, in the order of their definition."""
    group, parts = group_of(module), parts_of(module)
    for test in vars(module).values():
        marks = getattr(test, "pytestmark", ()) if inspect.isfunction(test) else ()
        cases = [case for mark in marks if mark.name == "parametrize" for case in mark.args[1]]
        each = [*marks, *(mark for case in cases for mark in getattr(case, "marks", ()))]
        yield from (row_of(group, parts, mark) for mark in each if mark.name == "fault")


def all_rows() -> list[Row]:
    """Return the rows of all modules of `tests/faults`."""
    return [row for path in sorted(_TESTS.glob("test_*.py")) for row in rows_of(_module(path))]


def _module(path: Path) -> ModuleType:
    spec = spec_from_file_location(f"rows_of_{path.stem}", path)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def group_of(module: ModuleType) -> str:
    """Return the heading of a module's rows: the first line of its docstring."""
    return (module.__doc__ or "").splitlines()[0].rstrip(".")


def parts_of(module: ModuleType) -> str:
    """Return what is real in a module's tests."""
    return "hub, gateway, Slurm" if getattr(module, "SCHEDULER", "") == "slurm" else "hub, gateway"


def page(rows: Sequence[Row]) -> str:
    """Return the page of a matrix that is green."""
    parts = [_HEAD]
    for group in dict.fromkeys(row.group for row in rows):
        lines = [
            f"| {row.fault} | {row.sees} | {row.parts} | {' | '.join('0' for _ in COUNTS)} |"
            for row in rows
            if row.group == group
        ]
        titles = " | ".join(["fault", "what the user sees", "real parts", *COUNTS])
        rule = "|".join(["---"] * 3 + ["---:"] * len(COUNTS))
        parts.append("\n".join([f"## {group}\n", f"| {titles} |", f"|{rule}|", *lines, ""]))
    return "\n".join(parts)


def table(counts: Mapping[Row, Sequence[int] | None]) -> Iterator[str]:
    """Yield the lines of the matrix as a run has found it; None stands for a row that failed."""
    width = max(len(row.fault) for row in counts)
    yield f"{'':{width}}  {'  '.join(COUNTS)}"
    for group in dict.fromkeys(row.group for row in counts):
        yield f"{group}"
        for row, found in counts.items():
            if row.group == group:
                shown = [str(number) for number in found] if found else ["FAILED", "", ""]
                numbers = "  ".join(
                    f"{text:>{len(title)}}" for text, title in zip(shown, COUNTS, strict=True)
                )
                yield f"{row.fault:{width}}  {numbers}"
