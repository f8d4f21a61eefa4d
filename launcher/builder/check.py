"""Recipes looked at before anything is built, without network."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

from launcher.builder.container.recipe import HERE, ContainerRecipe
from launcher.builder.lock import Lock
from launcher.builder.lock.checks import problems_of
from launcher.builder.lock.wanted import read_wanted, wanted_by_project
from launcher.builder.recipe import Recipe
from launcher.builder.stackinator import check_recipe
from launcher.errors import InvalidFile
from launcher.yaml_file import Problem, Source


def check_container(directory: Path) -> None:
    """Check a recipe of a container: its own files, and those of the tools where they are its own.

    Raises:
        InvalidFile: With every mistake of all its files.
    """
    recipe = ContainerRecipe.load(directory)
    if recipe.container.tools == HERE:
        check(directory)
    else:
        _check_verify(directory)


def check(directory: Path) -> None:
    """Check a recipe: its own files, those for Stackinator, its lock, and its `verify`.

    Args:
        directory: The recipe.

    Raises:
        InvalidFile: With every mistake of all its files.
    """
    problems: list[str] = []
    for part in (check_recipe, _check_lock, _check_verify):
        try:
            part(directory)
        except InvalidFile as error:
            problems += [each for each in error.problems if each not in problems]
    if problems:
        raise InvalidFile(problems)


def _check_lock(directory: Path) -> None:
    recipe = Recipe.load(directory)
    wanted = read_wanted(recipe.requirements)
    if recipe.image.launcher:
        wanted += wanted_by_project(None, recipe.image.extras)
    lock = Lock.read(recipe.lock)
    problems = [*_names(recipe, {each.name for each in lock.pins}), *problems_of(lock, wanted)]
    if problems:
        raise InvalidFile(problems)


def _check_verify(directory: Path) -> None:
    path = directory / "verify"
    if not path.is_file():
        return
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(path.read_bytes(), path, "exec", dont_inherit=True)
    except SyntaxError as error:
        line, column = error.lineno or 1, error.offset or 1
        problem = Problem(f"is no Python: {error.msg}", file=path, line=line, column=column)
        raise InvalidFile([problem]) from None
    except ValueError as error:
        raise InvalidFile([Problem(f"is no Python: {error}", file=path)]) from None


def _names(recipe: Recipe, locked: set[str]) -> Iterator[Problem]:
    """Look whether the packages that `image.yaml` names are there."""
    source = Source(recipe.directory / "image.yaml")
    listed = {each.name for each in read_wanted(recipe.requirements)}
    if recipe.image.version not in locked:
        yield source.problem(("version",), "is no package of the lock")
    for key, known, where in (("gpu", listed, "requirements.in"), ("leave_out", locked, "the lock")):
        for position, name in enumerate(getattr(recipe.image, key)):
            if name not in known:
                yield source.problem((key, position), f"is not in {where}")
