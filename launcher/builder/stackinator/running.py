"""Running an installed Stackinator: `stack-config` writes a Makefile, `make` has Spack build the image."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from launcher.builder.progress import Progress
from launcher.builder.stackinator.files import read
from launcher.builder.stackinator.versions import FORMATS, REPOSITORY, Format
from launcher.errors import BuildFailed, InvalidFile, MissingPart, UsageError

PROGRAM = "stack-config"
"""The program that Stackinator installs."""

IMAGE = "store.squashfs"
"""How `make` calls the image."""

HIDDEN = ("/tmp", "~")  # noqa: S108 - as it names them
"""Directories that Stackinator's sandbox covers with others."""

_LAST_LINES = 20


def build(
    recipe: Path, directory: Path, system: Path, progress: Progress, *, build_cache: Path | None = None
) -> Path:
    """Build an image with the Stackinator that is installed.

    What was built in the directory before is used again; the image itself is always packed anew.

    Args:
        recipe: The whole Stackinator recipe.
        directory: Where Spack works, with its store in it: tens of thousands of files, some 10 GB.
        system: The cluster's configuration for Stackinator.
        progress: Told of the two steps.
        build_cache: Stackinator's file about a cache of binary packages, if there is one.

    Returns:
        The image, in `directory`.

    Raises:
        BuildFailed: If Stackinator or Spack failed; the end of their log says why.
        InvalidFile: If the recipe has mistakes.
        MissingPart: If Stackinator is not installed, or not the version that reads the recipe.
        UsageError: If the directories are not such as Stackinator can use.
    """
    files = read(recipe)
    if files.problems or not files.config:
        raise InvalidFile(list(files.problems))
    program = _program(FORMATS[files.config.version], files.config.version)
    _check_places(directory, system, Path(files.config.store))
    directory.mkdir(parents=True, exist_ok=True)
    image = directory / IMAGE
    image.unlink(missing_ok=True)  # what was interrupted while packing would pass for an image
    progress.step("Configuring Spack")
    places = {"build": directory, "recipe": recipe, "system": system, "cache": build_cache}
    given = [word for name, path in places.items() if path for word in (f"--{name}", str(path.absolute()))]
    _run([str(program), *given], directory, PROGRAM)
    progress.step("Building with Spack")
    progress.note(f"It takes an hour or more; {directory / 'make.log'} shows how far it is.")
    # As Stackinator says: nothing of the caller's environment reaches Spack.
    path = f"PATH=/usr/bin:/bin:{directory.resolve()}/spack/bin"
    jobs = len(os.sched_getaffinity(0))
    _run(["env", "--ignore-environment", path, "make", IMAGE, f"-j{jobs}"], directory, "make")
    if not image.is_file() or not image.stat().st_size:
        raise BuildFailed("Stackinator's build ended without an image.", why=f"There is no {image}.")
    return image


def _program(needed: Format, version: int) -> Path:
    """Return the path of `stack-config`, if it is one that reads the recipe."""
    todo = (
        f"Get it: git clone --branch {needed.branch} {REPOSITORY}, then install it, "
        f"so that {PROGRAM} is in PATH: pip install ./stackinator"
    )
    found = shutil.which(PROGRAM)
    if not found:
        raise MissingPart(
            f"Stackinator is not installed: there is no {PROGRAM} in PATH.",
            why=f"A recipe of version {version} needs Stackinator {needed.stackinator}.",
            todo=todo,
        )
    done = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    said = re.search(r"\b(\d+)\.\d+", done.stdout)
    if done.returncode or not said:
        raise MissingPart(f"{found} does not work.", why=done.stderr.strip()[-500:], todo=todo)
    if int(said[1]) != needed.stackinator:
        raise MissingPart(
            f"{found} is Stackinator {said[1]}, which does not read recipes of version {version}.",
            why=f"That takes Stackinator {needed.stackinator}.",
            todo=todo,
        )
    return Path(found)


def _check_places(directory: Path, system: Path, mount: Path) -> None:
    """Check what Stackinator asks of directories."""
    real = directory.resolve()
    for hidden in HIDDEN:
        if real.is_relative_to(Path(hidden).expanduser().resolve()):
            raise UsageError(
                f"Stackinator can't build in {directory}: its build does not see what is below {hidden}.",
                todo="Name a directory on a local disk or on scratch.",
            )
    if real == Path("/") or (directory.exists() and not directory.is_dir()):
        raise UsageError(f"Stackinator can't build in {directory}.", todo="Name a directory of its own.")
    if not system.is_dir():
        raise UsageError(
            f"There is no configuration of the cluster for Stackinator: {system} is no directory.",
            todo="Name the cluster's own, with its packages.yaml.",
        )
    if not mount.is_dir():
        raise UsageError(
            f"{mount} does not exist here, and Stackinator builds at the mount point of the image.",
            todo=f"Have it made: mkdir {mount}",
        )


def _run(command: Sequence[str], directory: Path, name: str) -> None:
    """Run a program that writes a log into the directory."""
    log = directory / f"{name}.log"
    with log.open("wb") as file:
        done = subprocess.run(
            command, cwd=directory, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False
        )
    if done.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        raise BuildFailed(
            f"{name} failed with exit code {done.returncode}.",
            why="\n".join(lines[-_LAST_LINES:]),
            todo=f"The whole of it: {log}",
        )
