"""What a build begins with: Python, the recipe's files, this project, and what takes part."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import launcher
import launcher.builder
from launcher.builder import provenance, stackinator
from launcher.builder.code_server import CodeServerPin
from launcher.builder.digest import sha256_of
from launcher.builder.interpreter import pinned_python
from launcher.builder.lock.wanted import PROJECT
from launcher.builder.order import Order
from launcher.builder.program import found
from launcher.builder.project import project_wheel
from launcher.builder.recipe import Recipe, recipes_directory
from launcher.builder.sbom import CodeServer, DebianPackage, Python
from launcher.builder.target import OTHER_NAMES
from launcher.builder.tree_hash import tree_hash
from launcher.builder.wheels import Wheel
from launcher.errors import UsageError

CHECKS = "checks.py"
"""The checks that the `verify` of all recipes share, beside the recipes."""


def usual_python(order: Order) -> Python:
    """Return the Python that the recipe pins.

    Raises:
        InvalidFile: If `interpreters.yaml` has mistakes.
        UsageError: If it pins none that fits.
    """
    pin = pinned_python(order.recipe.directory, order.arch, order.python)
    packages = pin.debian.packages if pin.debian else {}
    origin = tuple(DebianPackage(name, each, OTHER_NAMES[order.arch]) for name, each in packages.items())
    return Python(pin.name, pin.python, pin.tree, origin)


def spack_python(order: Order) -> Python:
    """Return the Python that Spack makes; its bugfix version only Spack knows.

    Raises:
        InvalidFile: If the Stackinator recipe has mistakes.
        UsageError: If there is none.
    """
    assert order.spack
    version = order.spack.version
    major, minor = stackinator.python_of(order.recipe, version)
    own = order.recipe.directory / stackinator.DIRECTORY
    return Python(f"Spack, by recipe v{version}", f"{major}.{minor}.0", tree_hash(own))


def recipe_files(recipe: Recipe) -> dict[str, Path]:
    """Return the files of a recipe as its image holds them: path → file."""
    directory = recipe.directory
    paths = sorted(path for path in (directory / stackinator.DIRECTORY).rglob("*") if path.is_file())
    files = {path.relative_to(directory).as_posix(): path for path in (*recipe.files(), *paths)}
    return {**files, CHECKS: recipes_directory() / CHECKS}


def code_server(order: Order) -> CodeServer | None:
    """Return the release of code-server that is to be in the image.

    Raises:
        InvalidFile: If `code-server.yaml` has mistakes.
        UsageError: If the recipe wants none, or pins none for these processors.
    """
    if not order.code_server:
        return None
    image = order.recipe.image
    if not image.code_server:
        raise UsageError(
            f"Images of {image.name} hold no VS Code: image.yaml does not say `code_server: true`."
        )
    pin = CodeServerPin.load(order.recipe.directory / "code-server.yaml")
    if order.arch not in pin.sha256:
        raise UsageError(f"code-server.yaml pins none for {order.arch}.")
    return CodeServer(pin.version, pin.sha256[order.arch])


def project(cache: Path) -> Wheel:
    """Make a wheel of this project.

    Raises:
        BuildFailed: If it can't be built.
        MissingPart: If what builds it is not installed.
    """
    directory = cache / "project"
    directory.mkdir(exist_ok=True)
    path = project_wheel(directory)
    return Wheel(path, PROJECT, launcher.__version__, sha256_of(path))


def build_key(definition: Mapping[str, Any]) -> str:
    """Return the key of a build, 64 hexadecimal digits: equal for equal inputs and the same builder."""
    return hashlib.sha256(f"{provenance.key(definition)} {_sources()}".encode()).hexdigest()


def _sources() -> str:
    """Return a hash of what makes images: another builder may make another image of the same."""
    whole = hashlib.sha256()
    for path in sorted(Path(launcher.builder.__file__).parent.rglob("*.*")):
        if path.suffix in (".py", ".sh", ".yaml"):
            whole.update(path.read_bytes())
    return whole.hexdigest()


def tools() -> dict[str, str]:
    """Return program → version of what takes part in a build."""
    program = found("mksquashfs") or "mksquashfs"
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stdout
    squashfs = re.search(r"version (\S+)", said)
    versions = {"mksquashfs": squashfs[1] if squashfs else "unknown"}
    for name in ("cyclonedx-python-lib", "installer", "pip"):
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions
