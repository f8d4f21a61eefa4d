"""The oldest versions that an image may hold; `floors.yaml` lists them with their reasons."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version


class Floor(NamedTuple):
    """The oldest good version of a package.

    Attributes:
        name: The package, in its normal form (PEP 503).
        at_least: That version.
        because: What is wrong with older ones.
        source: Who says so.
    """

    name: str
    at_least: str
    because: str
    source: str


@cache
def floors() -> dict[str, Floor]:
    """Return the floors by package."""
    text = Path(__file__).with_name("floors.yaml").read_text()
    return {name: Floor(name, **each) for name, each in yaml.safe_load(text).items()}


def below_floors(packages: Iterable[tuple[str, str]]) -> list[tuple[str, str, Floor]]:
    """Return the packages that are too old: name, version, and the floor each is under.

    Args:
        packages: Names and versions, of a lock or of what an image holds; what is no version counts as too
            old.
    """
    return [
        (name, version, floor)
        for name, version in packages
        if (floor := floors().get(canonicalize_name(name))) and not _reaches(version, floor.at_least)
    ]


def _reaches(version: str, at_least: str) -> bool:
    try:
        return Version(version) >= Version(at_least)
    except InvalidVersion:
        return False
