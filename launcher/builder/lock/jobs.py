"""Which locks there are, and what each is made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import launcher
from launcher.builder.lock.wanted import Wanted, own_checkout, read_wanted, wanted_by_project
from launcher.builder.recipe import WORDS, ImageFile
from launcher.errors import UsageError
from launcher.yaml_file import Source, checked

NPM_PACKAGES = ("launcher/sandbox/proxy", "labextension")
"""The directories of a checkout that hold a `package.json` and its lock."""


class Job(NamedTuple):
    """One lock to make; its paths are relative to a directory that all jobs of a run share.

    Attributes:
        output: The lock.
        sources: The files that it is made from.
        constraints: Locks made before, whose versions count here, too.
        options: More options of uv.
        wanted: What the sources want.
        beside: Whether what this project needs is wanted besides the sources.
    """

    output: str
    sources: tuple[str, ...]
    constraints: tuple[str, ...]
    options: tuple[str, ...]
    wanted: tuple[Wanted, ...]
    beside: bool = False


def find_checkout() -> Path:
    """Return the checkout of this project that runs.

    Raises:
        UsageError: If it is an installed one.
    """
    directory = own_checkout()
    if not directory:
        raise UsageError(
            "This launcher does not run from a checkout, whose locks could be refreshed.",
            todo="Name the directory of your own recipe: launcher lock --recipe DIR",
        )
    return directory


def jobs_of_checkout(checkout: Path) -> list[Job]:
    """Return the locks of a checkout: the recipes', and from them that of its development.

    Raises:
        InvalidFile: If an `image.yaml` or a `requirements.in` has mistakes.
    """
    recipes = [path.parent for path in sorted(checkout.glob("uenv/*/image.yaml"))]
    # What holds this project comes first: the others follow its versions.
    images = {directory: _image(directory) for directory in recipes}
    recipes.sort(key=lambda directory: not images[directory].launcher)
    jobs: list[Job] = []
    for directory in recipes:
        source = directory / "requirements.in"
        wanted, sources = read_wanted(source), [source.relative_to(checkout).as_posix()]
        if images[directory].launcher:
            wanted += wanted_by_project(checkout)
            sources.append("pyproject.toml")
        output = (directory / "requirements.txt").relative_to(checkout).as_posix()
        constraints = tuple(job.output for job in jobs)
        jobs.append(Job(output, tuple(sources), constraints, (), tuple(wanted)))
    every = tuple(wanted_by_project(checkout, extras=True))
    constraints = tuple(job.output for job in jobs)
    return [*jobs, Job("requirements.txt", ("pyproject.toml",), constraints, ("--all-extras",), every)]


def job_of_recipe(directory: Path) -> Job:
    """Return the lock of a site's own recipe.

    Raises:
        InvalidFile: If its `image.yaml` or `requirements.in` has mistakes.
        UsageError: If it is one of the checkout's, which agree with each other.
    """
    if directory.resolve().parent == Path(launcher.__file__).resolve().parents[1] / "uenv":
        raise UsageError(
            f"{directory} is one of the launcher's own recipes, whose locks agree with each other.",
            todo="Refresh all of them: launcher lock",
        )
    image = _image(directory)
    wanted = read_wanted(directory / "requirements.in")
    if image.launcher:
        wanted += wanted_by_project(None)
    return Job("requirements.txt", ("requirements.in",), (), (), tuple(wanted), beside=image.launcher)


def names_of(jobs: Sequence[Job]) -> set[str]:
    """Return the packages that locks are made for."""
    return {each.name for job in jobs for each in job.wanted}


def _image(directory: Path) -> ImageFile:
    return checked(Source(directory / "image.yaml"), ImageFile, WORDS)
