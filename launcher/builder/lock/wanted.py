"""What a lock must hold: the list beside it, and what this project needs itself."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

import launcher
from launcher.errors import InvalidFile
from launcher.yaml_file import Problem, shown

PROJECT = "firecrest-launcher"
"""This project's distribution."""

_OF_AN_EXTRA = re.compile(r"(?:(?P<other>.*) and )?extra == \"(?P<extra>[^\"]+)\"")
"""The marker that a distribution's metadata give to what an extra needs."""


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


def wanted_by_project(checkout: Path | None, extras: Iterable[str] = ()) -> list[Wanted]:
    """Return what this project needs.

    Args:
        checkout: Its checkout, or None for what the installed distribution says.
        extras: Its extras that are wanted, too.
    """
    file, needs = _installed() if checkout is None else _of_checkout(checkout)
    wanted: dict[str, Wanted] = {}
    waiting, seen = ["", *extras], set()
    while waiting:
        extra = waiting.pop(0)
        if extra in seen:
            continue
        seen.add(extra)
        for requirement in needs[extra]:
            if canonicalize_name(requirement.name) == PROJECT:
                waiting += sorted(requirement.extras)
            else:
                wanted.setdefault(str(requirement), Wanted(requirement, file))
    return list(wanted.values())


def extras_of(checkout: Path) -> list[str]:
    """Return the extras of this project, as its checkout has them."""
    return list(project_of(checkout / "pyproject.toml").get("optional-dependencies", {}))


def _installed() -> tuple[Path, dict[str, list[Requirement]]]:
    """Return what the installed distribution says that each extra needs, and the whole without one."""
    metadata = importlib.metadata.metadata(PROJECT)
    needs: dict[str, list[Requirement]] = {"": []}
    needs |= {extra: [] for extra in metadata.get_all("Provides-Extra", [])}
    for text in importlib.metadata.requires(PROJECT) or []:
        requirement = Requirement(text)
        extra = ""
        if found := _OF_AN_EXTRA.fullmatch(str(requirement.marker or "")):
            extra = found["extra"]
            requirement.marker = Marker(found["other"]) if found["other"] else None
        needs[extra].append(requirement)
    # A checkout's metadata may be older than its pyproject.toml.
    return Path(f"{PROJECT} {metadata['Version']}"), needs


def _of_checkout(checkout: Path) -> tuple[Path, dict[str, list[Requirement]]]:
    """Return the same as a checkout's `pyproject.toml` says it."""
    pyproject = checkout / "pyproject.toml"
    project = project_of(pyproject)
    texts = {"": project["dependencies"], **project["optional-dependencies"]}
    return pyproject, {extra: [Requirement(each) for each in given] for extra, given in texts.items()}


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
