"""A whole recipe for Stackinator, with all that `post-install` brings into the image."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.builder.cache import made, remove
from launcher.builder.code_server import CodeServerPin
from launcher.builder.digest import sha256_of
from launcher.builder.lock import Lock
from launcher.builder.recipe import Recipe, recipes_directory
from launcher.builder.stackinator.files import Files, hook_problems, read
from launcher.builder.stackinator.uarchs import DIRECTORY, Uarch
from launcher.builder.stackinator.versions import FORMATS
from launcher.errors import BuildFailed, InvalidFile, UsageError
from launcher.yaml_file import Problem

if TYPE_CHECKING:
    from launcher.builder.wheels import Wheel

CODE_SERVER = "code-server.tar.gz"
"""How the release of code-server is called among the inputs."""


def prepare(
    recipe: Recipe,
    uarch: Uarch,
    version: int,
    directory: Path,
    *,
    wheels: Sequence[Wheel],
    code_server: Path | None = None,
    meta: Mapping[str, bytes] | None = None,
) -> None:
    """Put a whole Stackinator recipe together.

    The recipe's own files lie beside Stackinator's: it copies them all to `meta/recipe` of the image. What
    `post-install` takes lies in `extra`, which it copies to `meta/extra`; so no network is needed there.

    Args:
        recipe: What the image consists of.
        uarch: What it is for.
        version: The version of the recipe's format: a key of `FORMATS`.
        directory: Where the recipe goes; what is there is replaced.
        wheels: All that is installed: what the lock pins with a digest from it, and this project.
        code_server: The release of code-server, or None for an image without.
        meta: More files for `meta` of the image: name → contents. `env.json` is there anyway.

    Raises:
        BuildFailed: If a wheel or code-server is not the one that is pinned.
        InvalidFile: If the Stackinator recipe has mistakes.
        UsageError: If the recipe has none of this version.
    """
    own = recipe.directory / DIRECTORY
    _read(recipe, version)
    remove(directory)
    with made(directory) as aside:
        shutil.copytree(own / f"v{version}", aside)
        for path in _files(recipe):
            shutil.copy(path, aside / path.name)
        extra = aside / "extra"
        if (own / "extra").is_dir():
            shutil.copytree(own / "extra", extra, dirs_exist_ok=True)
        (extra / "wheels").mkdir(parents=True)
        (extra / "install.txt").write_text("".join(_requirements(recipe, wheels)), encoding="utf-8")
        for wheel in wheels:
            shutil.copy(wheel.path, extra / "wheels")
        (extra / "prune.txt").write_text(
            "".join(f"{each}\n" for each in recipe.image.prune), encoding="utf-8"
        )
        if code_server:
            _copy_code_server(recipe, uarch.arch, code_server, extra / CODE_SERVER)
        (extra / "meta").mkdir()
        described = json.dumps(recipe.image.description_of_itself(), indent=2) + "\n"
        for name, contents in {"env.json": described.encode(), **(meta or {})}.items():
            (extra / "meta" / name).write_bytes(contents)
        (extra / "SHA256SUMS").write_text("".join(_sums(extra)), encoding="utf-8")


def python_of(recipe: Recipe, version: int) -> tuple[int, int]:
    """Return the Python that Spack makes for an image, `(3, 13)`: what the wheels must be for.

    Raises:
        InvalidFile: If the Stackinator recipe has mistakes, or names no Python.
        UsageError: If the recipe has none of this version.
    """
    python = _read(recipe, version).python
    if not python:
        path = recipe.directory / DIRECTORY / f"v{version}/environments.yaml"
        raise InvalidFile([Problem("names no Python: a spec such as python@3.13", file=path)])
    return python


def _read(recipe: Recipe, version: int) -> Files:
    own = recipe.directory / DIRECTORY
    if not (own / f"v{version}").is_dir():
        versions = [str(each) for each in FORMATS if (own / f"v{each}").is_dir()]
        raise UsageError(
            f"{recipe.directory} holds no Stackinator recipe of version {version}.",
            why=f"It holds {' and '.join(versions)}." if versions else "",
        )
    files = read(own / f"v{version}", version)
    if problems := [*files.problems, *hook_problems(own)]:
        raise InvalidFile(list(problems))
    return files


def _files(recipe: Recipe) -> Iterator[Path]:
    """Yield what is copied beside Stackinator's files of one version."""
    yield from (path for path in (recipe.directory / DIRECTORY).glob("p*-install") if path.is_file())
    yield from recipe.files()
    if (checks := recipes_directory() / "checks.py").is_file():
        yield checks


def _requirements(recipe: Recipe, wheels: Sequence[Wheel]) -> Iterator[str]:
    """Yield what pip installs: the part of the lock that belongs into this image, and this project."""
    pins = {(pin.name, pin.version): pin.hashes for pin in Lock.read(recipe.lock).pins}
    for wheel in sorted(wheels, key=lambda each: each.name):
        hashes = pins.get((wheel.name, wheel.version))
        if hashes is not None and wheel.sha256 not in hashes:
            raise BuildFailed(f"{wheel.path.name} is not one of the files that {recipe.lock} pins.")
        yield f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n"


def _copy_code_server(recipe: Recipe, arch: str, archive: Path, target: Path) -> None:
    pin = CodeServerPin.load(recipe.directory / "code-server.yaml")
    shutil.copyfile(archive, target)
    if sha256_of(target) != pin.sha256.get(arch):
        raise BuildFailed(
            f"{archive} is not the code-server that the recipe pins for {arch}.",
            todo=f"Give {pin.archive(arch)}.",
        )


def _sums(extra: Path) -> Iterator[str]:
    """Yield what `sha256sum --check` reads."""
    for path in sorted(extra.rglob("*")):
        if path.is_file():
            yield f"{sha256_of(path)}  {path.relative_to(extra)}\n"
