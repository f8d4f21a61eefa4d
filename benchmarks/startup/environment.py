"""JupyterLab as a site installs it with pip, for the programs that ours is compared with.

The packages are those of the tools image, with what that leaves out, and batchspawner; the Python is the
same, too.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks.images import building
from benchmarks.node.places import Place
from launcher.builder import squashfs
from launcher.builder.cache import building as readable
from launcher.builder.cache import cache_directory, made
from launcher.builder.interpreter import Interpreter, prepare
from launcher.builder.lock import Lock
from launcher.builder.lock.wanted import read_wanted
from launcher.builder.mount import bound
from launcher.builder.target import own_arch
from launcher.builder.wheels import Wheel, closure, downloaded
from launcher.cli.progress import ShownProgress

MOUNT = "/jupyter-by-pip"
BIN = f"{MOUNT}/env/bin"
_LOCK = Path(__file__).parents[2] / "requirements.txt"
_BATCHSPAWNER = "batchspawner"


def by_pip(below: Path) -> tuple[Place, Place]:
    """Return the directory and the image of it, made unless they are there.

    Args:
        below: Where they are kept.
    """
    recipe = building.recipe()
    with readable("The environment of the peers could not be made."), ShownProgress() as progress:
        interpreter = prepare(recipe.directory, own_arch(), None, cache_directory(), progress)
        wheels = _wheels(below)
        kept = below / f"pip-{_key(interpreter, wheels, recipe.image.compression)}"
        if not kept.is_dir():
            with made(kept) as aside:
                aside.mkdir()
                progress.step("Installing the environment of the peers with pip")
                _install(interpreter, wheels, aside / "tree")
                progress.step("Packing it")
                _pack(aside / "tree", aside / "image.squashfs", recipe.image.compression)
    return Place(kept / "tree", MOUNT), Place(kept / "image.squashfs", MOUNT)


def _wheels(below: Path) -> list[Wheel]:
    """Return what is installed: versions and hashes are those of the locks."""
    recipe = building.recipe()
    target, python = building.own_target()
    wheels = building.fetched(cache_directory())
    pin = Lock.read(_LOCK).for_target(target, python)[_BATCHSPAWNER]
    batchspawner = below / f"{_BATCHSPAWNER}-{pin.version}"
    if not batchspawner.is_dir():
        downloaded([pin], target, python, batchspawner)
    (path,) = batchspawner.glob("*.whl")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    wanted = [str(each.requirement) for each in read_wanted(recipe.requirements)]
    roots = [each for each in wanted if each not in recipe.image.gpu]
    all_there_are = [*wheels, Wheel(path, _BATCHSPAWNER, pin.version, digest)]
    return closure(all_there_are, [*roots, _BATCHSPAWNER], (), target.arch, python)


def _key(interpreter: Interpreter, wheels: Iterable[Wheel], compression: str) -> str:
    parts = [MOUNT, interpreter.tree, *squashfs.COMPRESSIONS[compression], *(each.sha256 for each in wheels)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _install(interpreter: Interpreter, wheels: Iterable[Wheel], tree: Path) -> None:
    shutil.copytree(interpreter.directory, tree / "python", symlinks=True)
    python = f"{MOUNT}/python/bin/python{interpreter.version.rpartition('.')[0]}"
    # Not all of it can be compiled: files for tests of other versions' syntax are among it.
    _run(tree, [python, "-m", "compileall", "-q", f"{MOUNT}/python/lib"], check=False)
    _run(tree, [python, "-m", "venv", "--without-pip", f"{MOUNT}/env"])
    options = ["--no-index", "--no-deps", "--no-cache-dir", "--disable-pip-version-check", "--quiet"]
    pip = [sys.executable, "-m", "pip", "--python", f"{BIN}/python", "install", "--root-user-action=ignore"]
    _run(tree, [*pip, *options, *(str(each.path) for each in wheels)])


def _run(tree: Path, argv: list[str], *, check: bool = True) -> None:
    subprocess.run(bound(tree, MOUNT, argv), check=check, stdout=subprocess.DEVNULL)


def _pack(tree: Path, image: Path, compression: str) -> None:
    """Pack a directory as the tools image is, but for the times of files, which pip's byte code names."""
    options = (*squashfs.PLAIN, "-all-root", *squashfs.COMPRESSIONS[compression])
    subprocess.run(["mksquashfs", str(tree), str(image), *options], check=True, stdout=subprocess.DEVNULL)
