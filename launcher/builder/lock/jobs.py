"""Which locks there are, and what each is made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import launcher
from launcher.builder.lock.wanted import Wanted, extras_of, own_checkout, read_wanted, wanted_by_project
from launcher.builder.recipe import WORDS, ImageFile
from launcher.errors import UsageError
from launcher.yaml_file import Source, checked

NPM_PACKAGES = ("launcher/sandbox/proxy", "labextension")
"""The directories of a checkout that hold a `package.json` and its lock."""
_PLACES = ("uenv", "containers")
"""The directories of a checkout that hold recipes; the locks of the latter follow those of the former."""


class Job(NamedTuple):
    """One lock to make; its paths are relative to a directory that all jobs of a run share.

    Attributes:
        output: The lock.
        sources: The files that it is made from.
        constraints: Locks made before, whose versions count here, too.
        options: More options of uv.
        wanted: What the sources want.
        beside: What is wanted besides the sources, a requirement a line.
    """

    output: str
    sources: tuple[str, ...]
    constraints: tuple[str, ...]
    options: tuple[str, ...]
    wanted: tuple[Wanted, ...]
    beside: str = ""


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


def recipe_directories(checkout: Path) -> list[Path]:
    """Return the directories of a checkout that may be recipes: those of uenv images, then of containers."""
    return [path for place in _PLACES for path in sorted(checkout.glob(f"{place}/*"))]


def jobs_of_checkout(checkout: Path) -> list[Job]:
    """Return the locks of a checkout: the recipes', and from them that of its development.

    Raises:
        InvalidFile: If an `image.yaml` or a `requirements.in` has mistakes.
    """
    recipes = [each for each in recipe_directories(checkout) if (each / "image.yaml").is_file()]
    # What holds this project comes first: the others follow its versions.
    images = {directory: _image(directory) for directory in recipes}
    recipes.sort(key=lambda each: (_PLACES.index(each.parent.name), not images[each].launcher))
    jobs: list[Job] = []
    for directory in recipes:
        source, image = directory / "requirements.in", images[directory]
        wanted, sources = read_wanted(source), [source.relative_to(checkout).as_posix()]
        if image.launcher:
            wanted += wanted_by_project(checkout, image.extras)
            sources.append("pyproject.toml")
        output = (directory / "requirements.txt").relative_to(checkout).as_posix()
        constraints = tuple(job.output for job in jobs)
        options = tuple(f"--extra={extra}" for extra in image.extras)
        jobs.append(Job(output, tuple(sources), constraints, options, tuple(wanted)))
    every = tuple(wanted_by_project(checkout, extras_of(checkout)))
    constraints = tuple(job.output for job in jobs)
    return [*jobs, Job("requirements.txt", ("pyproject.toml",), constraints, ("--all-extras",), every)]


def job_of_recipe(directory: Path) -> Job:
    """Return the lock of a site's own recipe.

    Raises:
        InvalidFile: If its `image.yaml` or `requirements.in` has mistakes.
        UsageError: If it is one of the checkout's, which agree with each other.
    """
    own = Path(launcher.__file__).resolve().parents[1]
    if directory.resolve().parent in [own / place for place in _PLACES]:
        raise UsageError(
            f"{directory} is one of the launcher's own recipes, whose locks agree with each other.",
            todo="Refresh all of them: launcher lock",
        )
    image = _image(directory)
    listed = read_wanted(directory / "requirements.in")
    needed = wanted_by_project(None, image.extras) if image.launcher else []
    beside = "\n".join(str(each.requirement) for each in needed)
    return Job("requirements.txt", ("requirements.in",), (), (), (*listed, *needed), beside)


def names_of(jobs: Sequence[Job]) -> set[str]:
    """Return the packages that locks are made for."""
    return {each.name for job in jobs for each in job.wanted}


def _image(directory: Path) -> ImageFile:
    return checked(Source(directory / "image.yaml"), ImageFile, WORDS)
