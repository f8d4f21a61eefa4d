"""What a lock must hold: the list beside it, and what this project needs itself."""

from __future__ import annotations

import importlib.metadata
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

import launcher
from launcher.errors import InvalidFile
from launcher.yaml_file import Problem, shown

PROJECT = "firecrest-launcher"
"""This project's distribution."""


class Wanted(NamedTuple):
    """A package that is wanted.

    Attributes:
        requirement: Its name, and the versions that do (PEP 508).
        file: Where that is said.
        line: The line, from 1.
    """

    requirement: Requirement
    file: Path
    line: int = 1

    @property
    def name(self) -> str:
        """The package, in its normal form (PEP 503)."""
        return canonicalize_name(self.requirement.name)


def read_wanted(path: Path) -> list[Wanted]:
    """Read a `requirements.in`: a package a line, with comments.

    Raises:
        InvalidFile: With each line that is none, or says where to take one from.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFile([Problem(f"can't be read: {error}", file=path)]) from None
    wanted, problems = [], []
    for number, line in enumerate(lines, 1):
        text = line.partition(" #")[0].strip()
        if not text or text.startswith("#"):
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            problems.append(Problem(f"is no package: {shown(text)}", file=path, line=number))
            continue
        if requirement.url:
            message = f"{requirement.name}: where to take it from has no place here"
            problems.append(Problem(message, file=path, line=number))
        wanted.append(Wanted(requirement, path, number))
    if problems:
        raise InvalidFile(list(problems))
    return wanted


def wanted_by_project(checkout: Path | None, *, extras: bool = False) -> list[Wanted]:
    """Return what this project needs.

    Args:
        checkout: Its checkout, or None for what the installed distribution says.
        extras: Whether with all its extras; only in a checkout.
    """
    if checkout is None:
        # A checkout's metadata may be older than its pyproject.toml.
        file = Path(f"{PROJECT} {importlib.metadata.version(PROJECT)}")
        every = [Requirement(each) for each in importlib.metadata.requires(PROJECT) or []]
        return [Wanted(each, file) for each in every if "extra ==" not in str(each.marker or "")]
    pyproject = checkout / "pyproject.toml"
    project = project_of(pyproject)
    texts = list(project["dependencies"])
    if extras:
        texts += [each for extra in project["optional-dependencies"].values() for each in extra]
    requirements: Iterable[Requirement] = map(Requirement, texts)
    return [
        Wanted(each, pyproject) for each in requirements if canonicalize_name(each.name) != project["name"]
    ]


def own_checkout() -> Path | None:
    """Return the checkout that this project runs from, or None if it is installed."""
    directory = Path(launcher.__file__).parents[1]
    return directory if project_of(directory / "pyproject.toml").get("name") == PROJECT else None


def project_of(pyproject: Path) -> dict[str, Any]:
    """Return the table `project` of a `pyproject.toml`; empty if there is none."""
    try:
        table = tomllib.loads(pyproject.read_text(encoding="utf-8")).get("project")
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}
