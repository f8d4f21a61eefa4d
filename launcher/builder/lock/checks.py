"""What must hold of locks, as far as no registry is needed to see it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

from packaging.version import Version

from launcher.builder.lock.floors import below_floors
from launcher.builder.lock.text import Lock, Pin, environment_of
from launcher.builder.lock.wanted import Wanted
from launcher.builder.target import ARCHITECTURES, Target
from launcher.errors import InvalidFile
from launcher.yaml_file import Problem

PYTHONS = ((3, 11), (3, 12), (3, 13))
"""The Pythons that each lock is for."""


def problems_of(lock: Lock, wanted: Iterable[Wanted]) -> list[str]:
    """Return what is wrong with a lock: what it does not hold, holds twice, or holds too old.

    Args:
        lock: The lock.
        wanted: What it must hold.
    """
    wanted = list(wanted)
    problems: dict[str, None] = {}
    for arch, python in product(ARCHITECTURES, PYTHONS):
        # Markers on a bugfix version are about early ones: look at both ends.
        for full in (f"{python[0]}.{python[1]}.{bugfix}" for bugfix in (0, 99)):
            try:
                pins = lock.for_target(Target(arch, (0, 0), python), full)
            except InvalidFile as error:
                problems.update(dict.fromkeys(error.problems))
                continue
            missing = _missing(wanted, pins, environment_of(arch, full), lock.path)
            problems.update(dict.fromkeys(missing))
    problems.update(dict.fromkeys(_old(lock)))
    return list(problems)


def drift(locks: Iterable[Lock]) -> list[str]:
    """Return where locks disagree on the versions of a package that several hold, or on its hashes."""
    first: dict[str, Lock] = {}
    problems: list[str] = []
    for lock in locks:
        for name, pins in _by_name(lock).items():
            other = first.setdefault(name, lock)
            there = _by_name(other)[name] if other is not lock else pins
            if {(pin.version, pin.hashes) for pin in pins} == {(pin.version, pin.hashes) for pin in there}:
                continue
            here, elsewhere = (sorted({pin.version for pin in each}) for each in (pins, there))
            text = (
                f"{name} has other hashes than in {other.path}"
                if here == elsewhere
                else f"{name} is {' and '.join(here)} here, {' and '.join(elsewhere)} in {other.path}"
            )
            problems.append(Problem(text, file=lock.path, line=pins[0].line))
    return problems


def npm_problems(path: Path) -> list[str]:
    """Return what is wrong with an npm lock: packages whose place it names, or that have no hash."""
    try:
        packages = json.loads(path.read_text(encoding="utf-8"))["packages"]
        entries = [(name, each.get("resolved"), each.get("integrity")) for name, each in packages.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return [Problem("is no lock that npm wrote", file=path)]
    problems: list[str] = []
    for name, resolved, integrity in entries:
        if resolved:
            problems.append(Problem(f"{name}: where to take it from has no place here", file=path))
        if name and not integrity:
            problems.append(Problem(f"{name} has no hash", file=path))
    return problems


def _by_name(lock: Lock) -> dict[str, list[Pin]]:
    names: dict[str, list[Pin]] = {}
    for pin in lock.pins:
        names.setdefault(pin.name, []).append(pin)
    return names


def _missing(
    wanted: list[Wanted], pins: dict[str, Pin], environment: dict[str, str], path: Path
) -> Iterator[str]:
    for each in wanted:
        requirement = each.requirement
        if requirement.marker and not requirement.marker.evaluate(environment):
            continue
        pin = pins.get(each.name)
        if pin is None:
            yield Problem(f"{each.name} is not in {path}", file=each.file, line=each.line)
        elif not requirement.specifier.contains(Version(pin.version), prereleases=True):
            text = f"{each.name}{requirement.specifier} is wanted, {path} holds {pin.version}"
            yield Problem(text, file=each.file, line=each.line)


def _old(lock: Lock) -> Iterator[str]:
    lines = {(pin.name, pin.version): pin.line for pin in lock.pins}
    for name, version, floor in below_floors(lines):
        text = f"{name} {version} is older than {floor.at_least}: {floor.because} ({floor.source})"
        yield Problem(text, file=lock.path, line=lines[name, version])
