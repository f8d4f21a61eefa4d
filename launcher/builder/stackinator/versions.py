"""Which Stackinator reads which recipes: https://eth-cscs.github.io/stackinator/porting/."""

from __future__ import annotations

import re
from typing import NamedTuple

REPOSITORY = "https://github.com/eth-cscs/stackinator"
"""Where Stackinator comes from."""


class Format(NamedTuple):
    """What one version of the recipes' format needs.

    Attributes:
        stackinator: The major version of the Stackinator that reads it, and no other one does.
        branch: Where that is developed, in its repository.
        spack: The oldest Spack that it works with.
    """

    stackinator: int
    branch: str
    spack: tuple[int, int]


FORMATS = {2: Format(6, "releases/v6", (1, 0)), 3: Format(7, "main", (1, 2))}
"""Version of a recipe → what it needs."""

GATE = "; ".join(
    f"version {version} is for Stackinator {each.stackinator} ({each.branch}) "
    f"and Spack {'.'.join(map(str, each.spack))} or newer"
    for version, each in FORMATS.items()
)
"""The formats, in words."""


def spack_version(commit: str | None) -> tuple[int, int] | None:
    """Return the version of Spack that a branch or tag names, such as `releases/v1.1`, if it names one."""
    found = re.fullmatch(r"(?:releases/)?v(\d+)\.(\d+)(?:\.\d+)?", commit or "")
    return (int(found[1]), int(found[2])) if found else None
