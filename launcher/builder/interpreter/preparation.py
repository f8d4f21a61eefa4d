"""A pinned Python becomes a directory that images are made with."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import yaml

from launcher.builder.cache import made, remove
from launcher.builder.digest import sha256_of
from launcher.builder.elf import facts
from launcher.builder.interpreter import members, places
from launcher.builder.interpreter.apt import Apt
from launcher.builder.interpreter.patchelf import Patchelf, version
from launcher.builder.interpreter.pins import FILE, Pin, read, usual
from launcher.builder.interpreter.tree import complete
from launcher.builder.progress import Progress
from launcher.builder.target import ARCHITECTURES
from launcher.builder.tree_hash import tree_hash
from launcher.errors import BuildFailed, UsageError

_PY_VERSION = re.compile(r'#define\s+PY_VERSION\s+"(3\.\d+\.\d+)"')


class Interpreter(NamedTuple):
    """A Python that stands by itself.

    Attributes:
        directory: Where it lies: `bin/python3.11`, `lib/python3.11` and what that needs.
        version: Its version: `3.11.2`.
        tree: Hash of the directory.
        name: Where it comes from, in one line.
    """

    directory: Path
    version: str
    tree: str
    name: str


def prepare(
    recipe_directory: Path, arch: str, python: Path | None, cache: Path, progress: Progress
) -> Interpreter:
    """Make the Python that a recipe pins for processors, or take it from the cache.

    Args:
        recipe_directory: The recipe: its `interpreters.yaml`.
        arch: The processors, as `uname -m` names them.
        python: A standalone build that the recipe pins, archive or directory; None for the usual Python.
        cache: The cache.
        progress: Told of it.

    Raises:
        BuildFailed: If it can't be made, or is not what is pinned.
        InvalidFile: If `interpreters.yaml` has mistakes.
        MissingPart: If a program is missing that makes it.
        UsageError: If the recipe pins none that fits.
    """
    pin = pinned_python(recipe_directory, arch, python)
    kept = cache / "interpreters" / pin.tree
    if kept.is_dir() and tree_hash(kept) != pin.tree:
        progress.note(f"{kept} was damaged: it is made anew.")
        remove(kept)
    if not kept.is_dir():
        if pin.archive and not python:
            raise UsageError(
                f"Python {pin.python} for {arch} comes from {pin.archive}, which is not here.",
                todo="Name it: --interpreter FILE",
            )
        progress.step(f"Preparing Python {pin.python} from {pin.name}")
        with made(kept) as aside:
            _make(pin, python, aside)
            tree = tree_hash(aside)
            if tree != pin.tree:
                raise BuildFailed(
                    f"Python {pin.python} from {pin.name} is not what {recipe_directory / FILE} pins.",
                    why=f"The hash of its tree is {tree}, and {pin.tree} is pinned.",
                    todo="Find out what changed; if it is meant to be this one, pin it.",
                )
    return Interpreter(kept, pin.python, pin.tree, pin.name)


def pinned_python(recipe_directory: Path, arch: str, python: Path | None = None) -> Pin:
    """Return which of a recipe's Pythons is meant.

    Args:
        recipe_directory: The recipe.
        arch: The processors.
        python: A standalone build, or None for the usual Python.

    Raises:
        BuildFailed: If the standalone build can't be read.
        InvalidFile: If `interpreters.yaml` has mistakes.
        UsageError: If none fits.
    """
    path = recipe_directory / FILE
    if python is None:
        return usual(path, arch)
    pins = [pin for pin in read(path) if pin.arch == arch]
    if python.is_dir():
        fitting = [pin for pin in pins if pin.archive and (python / f"bin/python{pin.minor}").is_file()]
    else:
        digest = _sha256(python)
        fitting = [pin for pin in pins if pin.sha256 == digest]
    if not fitting:
        raise UsageError(
            f"{python} is not pinned for {arch} in {path}.",
            why="Images are made with Pythons that the recipe pins, so that each build gives the same.",
            todo="Pin it, or leave --interpreter away for the usual one.",
        )
    return fitting[0]


def pinned(path: Path, progress: Progress, *, python: Path | None = None) -> str:
    """Return what `interpreters.yaml` should say now.

    Args:
        path: The file.
        progress: Told of it.
        python: The archive of a standalone build to add, or to put in the place of the one of the same name;
            None for pinning Debian's newest packages.

    Raises:
        BuildFailed: If a Python can't be made.
        InvalidFile: If the file has mistakes.
        MissingPart: If a program is missing that makes it.
        UsageError: If the archive holds no Python that images are built with.
    """
    pins = list(read(path))
    if python:
        progress.step(f"Preparing Python from {python.name}")
        new = _standalone(python)
        old = [pin for pin in pins if (pin.arch, pin.archive) == (new.arch, new.archive)]
        pins = [new if pin in old else pin for pin in pins] + ([] if old else [new])
    else:
        for place, pin in enumerate(pins):
            if pin.debian:
                progress.step(f"Preparing Python {pin.minor} from {pin.name} for {pin.arch}")
                pins[place] = _refreshed(pin)
    comments = [line for line in path.read_text().splitlines(keepends=True) if line.startswith("#")]
    entries = [pin.model_dump(mode="json", exclude_none=True) for pin in pins]
    return "".join(comments) + yaml.safe_dump({"interpreters": entries}, sort_keys=False)


def _make(pin: Pin, python: Path | None, tree: Path) -> None:
    with tempfile.TemporaryDirectory(dir=tree.parent, prefix=".") as aside:
        raw = Path(aside)
        if pin.debian:
            _unpack_debian(Apt(raw / "apt", pin.arch).fetch(pin.debian.packages), pin, raw)
        elif python:
            _unpack_standalone(python, pin.minor, raw)
            complete(raw / "tree", raw / "libraries", pin.minor)
        (raw / "tree").rename(tree)


def _unpack_debian(packages: list[Path], pin: Pin, raw: Path) -> None:
    assert pin.debian
    patchelf = Patchelf(pin.debian.patchelf)
    for package in packages:
        command = ["dpkg-deb", "--fsys-tarfile", str(package)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as files:
            assert files.stdout
            members.from_archive(files.stdout, places.in_debian(pin.minor), raw)
    complete(raw / "tree", raw / "libraries", pin.minor, patchelf.set_rpath)


def _unpack_standalone(python: Path, minor: str, raw: Path) -> None:
    place = places.in_standalone(minor)
    if python.is_dir():
        members.from_directory(python, place, raw)
    else:
        with python.open("rb") as stream:
            members.from_archive(stream, place, raw)


def _refreshed(pin: Pin) -> Pin:
    """Return a pin of Debian's newest packages."""
    assert pin.debian
    with tempfile.TemporaryDirectory() as aside:
        raw = Path(aside)
        apt = Apt(raw / "apt", pin.arch)
        packages = apt.newest(list(pin.debian.packages))
        python = packages.get(f"python{pin.minor}-minimal", pin.python).partition("-")[0]
        debian = pin.debian.model_copy(update={"patchelf": version(), "packages": packages})
        new = pin.model_copy(update={"python": python, "debian": debian})
        _unpack_debian(apt.fetch(packages), new, raw)
        return new.model_copy(update={"tree": tree_hash(raw / "tree")})


def _standalone(python: Path) -> Pin:
    """Return a pin of a standalone build's archive."""
    if not python.is_file():
        raise UsageError(f"{python} is no file.", todo="Pin the archive; builds can take the directory then.")
    with tempfile.TemporaryDirectory() as aside:
        raw = Path(aside)
        with python.open("rb") as stream:
            members.from_archive(stream, places.version_in_standalone, raw)
        header = raw / "patchlevel.h"
        found = _PY_VERSION.search(header.read_text()) if header.is_file() else None
        if not found:
            raise UsageError(f"{python} is no standalone Python.", todo="Take an `install_only` archive.")
        minor = found[1].rpartition(".")[0]
        _unpack_standalone(python, minor, raw)
        tree = raw / "tree"
        complete(tree, raw / "libraries", minor)
        program = facts(tree / f"bin/python{minor}")
        arch = program.machine if program else "unknown"
        if arch not in ARCHITECTURES:
            raise UsageError(f"{python} is for {arch}; images are built for {' and '.join(ARCHITECTURES)}.")
        return Pin.model_validate(
            {
                "arch": arch,
                "python": found[1],
                "tree": tree_hash(tree),
                "archive": python.name,
                "sha256": _sha256(python),
            }
        )


def _sha256(file: Path) -> str:
    try:
        return sha256_of(file)
    except OSError as error:
        raise BuildFailed(f"{file} can't be read.", why=f"{error.strerror}.") from None
