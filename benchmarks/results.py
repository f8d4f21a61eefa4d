"""Figures, as `results.json` holds them for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Self

KEPT = Path(__file__).with_name("results.json")

_DIGITS = 3


class Bound(StrEnum):
    """On which side of a target a figure must be."""

    AT_MOST = "<="
    AT_LEAST = ">="


class Target(NamedTuple):
    """What a figure must not be beyond. Written as `<= 0.5` or `>= 0.8`."""

    bound: Bound
    value: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the target that is written so."""
        bound, value = text.split()
        return cls(Bound(bound), float(value))

    def holds(self, value: float) -> bool:
        """Tell whether a figure is on the right side, or exactly there."""
        return value <= self.value if self.bound is Bound.AT_MOST else value >= self.value

    def __str__(self) -> str:
        return f"{self.bound} {self.value:g}"


def at_most(value: float) -> Target:
    """Return the target of a figure that must not be larger."""
    return Target(Bound.AT_MOST, value)


def at_least(value: float) -> Target:
    """Return the target of a figure that must not be smaller."""
    return Target(Bound.AT_LEAST, value)


@dataclass(frozen=True)
class Result:
    """One figure.

    Attributes:
        name: What was measured.
        value: The figure: the median where there are several runs.
        unit: Of what.
        spread: The least and the most that were seen.
        target: What it must not be beyond, or None.
        holds: Whether it is not.
        peers: The same of other programs, measured in the same run, by their names.
        runs: How often it was measured.
    """

    name: str
    value: float
    unit: str
    spread: tuple[float, float]
    target: Target | None = None
    holds: bool = field(init=False)
    peers: Mapping[str, float] = field(default_factory=dict)
    runs: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "holds", self.target is None or self.target.holds(self.value))

    @classmethod
    def of(
        cls,
        name: str,
        seen: Sequence[float],
        unit: str,
        target: Target | None = None,
        *,
        peers: Mapping[str, Sequence[float]] | None = None,
    ) -> Self:
        """Return the median of some figures, beside those of others.

        Args:
            name: What was measured.
            seen: What came of each run.
            unit: Of what.
            target: What the median must not be beyond.
            peers: Name of another program → what came of each of its runs.
        """
        others = {peer: rounded(median(those)) for peer, those in (peers or {}).items()}
        spread = (rounded(min(seen)), rounded(max(seen)))
        return cls(name, rounded(median(seen)), unit, spread, target, others, len(seen))

    @classmethod
    def ratio(
        cls, name: str, ours: Sequence[float], theirs: Sequence[float], target: Target | None = None
    ) -> Self:
        """Return the median of ours over theirs, run by run, each pair of which was measured side by side."""
        pairs = zip(ours, theirs, strict=True)
        return cls.of(name, [own / other for own, other in pairs], "times", target)

    @classmethod
    def worst(cls, name: str, seen: Sequence[float], unit: str, target: float) -> Self:
        """Return the largest of some figures, which must not exceed the target."""
        spread = (min(seen), max(seen))
        return cls(name, max(seen), unit, spread, at_most(target), runs=len(seen))

    @classmethod
    def load(cls, told: Mapping[str, Any]) -> Self:
        """Return the figure that `results.json` holds so."""
        facts = {key: value for key, value in told.items() if key != "holds"}
        target = Target.parse(told["target"]) if told["target"] else None
        return cls(**{**facts, "spread": tuple(told["spread"]), "target": target})

    def dump(self) -> dict[str, Any]:
        """Return the figure as `results.json` holds it."""
        return {**asdict(self), "target": str(self.target) if self.target else None}


def rounded(value: float) -> float:
    """Return a figure with three digits, or all that it has before the point."""
    return float(f"{value:.{_DIGITS}g}") if abs(value) < 10**_DIGITS else float(round(value))


def by_name(results: Iterable[Result]) -> dict[str, Result]:
    """Return results by their names."""
    return {result.name: result for result in results}


def load(benchmark: str, path: Path = KEPT) -> dict[str, Result]:
    """Return what is kept of a benchmark, by the names that it gave."""
    begin = _begin(benchmark)
    return {
        name.removeprefix(begin): replace(result, name=name.removeprefix(begin))
        for name, result in load_all(path).items()
        if name.startswith(begin)
    }


def load_all(path: Path = KEPT) -> dict[str, Result]:
    """Return all that is kept; each name begins with the benchmark's."""
    return by_name(map(Result.load, json.loads(path.read_text()))) if path.exists() else {}


def keep(results: Iterable[Result], benchmark: str, path: Path = KEPT) -> None:
    """Write all results of a benchmark into a file, in the place of its earlier ones."""
    begin = _begin(benchmark)
    new = [replace(each, name=f"{begin}{each.name}") for each in results]
    old = [each for name, each in load_all(path).items() if not name.startswith(begin)]
    told = [each.dump() for each in sorted([*old, *new], key=lambda each: each.name.partition(":")[0])]
    aside = path.with_name(f".{path.name}")
    aside.write_text(json.dumps(told, indent=2) + "\n")
    aside.replace(path)


def _begin(benchmark: str) -> str:
    return f"{benchmark}: "
