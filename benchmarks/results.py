"""Figures, as a table for people and as `results.json` for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

KEPT = Path(__file__).with_name("results.json")


@dataclass(frozen=True)
class Result:
    """One figure.

    Attributes:
        name: What was measured.
        value: The figure.
        unit: Of what.
        spread: The least and the most that were seen.
        target: What it must not exceed, or None.
        holds: Whether it does not.
        peers: The same of other programs, measured in the same run, by their names.
    """

    name: str
    value: float
    unit: str
    spread: tuple[float, float]
    target: float | None = None
    holds: bool = field(init=False)
    peers: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "holds", self.target is None or self.value <= self.target)

    @classmethod
    def worst(cls, name: str, seen: Sequence[float], unit: str, target: float) -> Result:
        """Return the largest of some figures, which must not exceed the target."""
        return cls(name, max(seen), unit, (min(seen), max(seen)), target)


def table(results: Sequence[Result]) -> str:
    """Return results as lines of a table."""
    width = max(len(result.name) for result in results)
    lines = [f"{'':{width}}  {'value':>5}  {'target':>6}  {'spread':>7}"]
    for result in results:
        low, high = result.spread
        target = "" if result.target is None else f"{result.target:g}"
        shown = f"{result.name:{width}}  {result.value:5g}  {target:>6}  {f'{low:g}-{high:g}':>7}"
        lines.append(f"{shown}  {result.unit}{'' if result.holds else '  DOES NOT HOLD'}")
    return "\n".join(lines)


def keep(results: Iterable[Result], path: Path = KEPT) -> None:
    """Write results into a file, in the place of earlier ones of the same names."""
    new = {result.name: asdict(result) for result in results}
    old = json.loads(path.read_text()) if path.exists() else []
    kept = [each for each in old if each["name"] not in new]
    path.write_text(json.dumps([*kept, *new.values()], indent=2) + "\n")
