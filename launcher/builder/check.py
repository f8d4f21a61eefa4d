"""Recipes looked at before anything is built, without network."""

from __future__ import annotations

from pathlib import Path

from launcher.builder.lock import Lock
from launcher.builder.lock.checks import problems_of
from launcher.builder.lock.wanted import read_wanted, wanted_by_project
from launcher.builder.recipe import Recipe
from launcher.builder.stackinator import check_recipe
from launcher.errors import InvalidFile


def check(directory: Path) -> None:
    """Check a recipe: its own files, those for Stackinator, and its lock.

    Args:
        directory: The recipe.

    Raises:
        InvalidFile: With every mistake of all its files.
    """
    problems: list[str] = []
    for part in (check_recipe, _check_lock):
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
        wanted += wanted_by_project(None)
    problems = problems_of(Lock.read(recipe.lock), wanted)
    if problems:
        raise InvalidFile(problems)
