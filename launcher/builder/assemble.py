"""The part of a build that happens at the image's real mount path, in a private mount namespace."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

from launcher.builder import worker
from launcher.builder.bytecode import compile_tree
from launcher.builder.code_server import unpack
from launcher.builder.install import install, make_environment
from launcher.builder.mount import bound
from launcher.builder.progress import Progress
from launcher.builder.prune import prune
from launcher.builder.wheels import Wheel

PYTHON = "python"
"""Where the interpreter lies in an image."""
CODE_SERVER = "code-server"
"""Where VS Code lies in an image."""
_FAILED = "The image could not be put together."


class Plan(NamedTuple):
    """What an image is put together from.

    Attributes:
        mount: Where it is mounted.
        prefix: Where its packages lie, below that.
        arch: The processors that it is for.
        interpreter: The directory of its Python.
        version: Version of that: `3.11.2`.
        wheels: What is installed.
        prune: Patterns of what is taken out again.
        code_server: The archive of code-server, or empty.
        pins: The recipe's `code-server.yaml`.
        compilers: Pythons of the same version that this machine can run, where it can't run the image's.
    """

    mount: str
    prefix: str
    arch: str
    interpreter: str
    version: str
    wheels: list[Wheel]
    prune: tuple[str, ...]
    code_server: str
    pins: str
    compilers: tuple[str, ...]


def assemble(plan: Plan, tree: Path, progress: Progress) -> None:
    """Fill a directory with an image's programs.

    Args:
        plan: What it is put together from.
        tree: An empty directory, which lies at the image's mount path meanwhile.
        progress: Told of it.

    Raises:
        LauncherError: If it can't be done; it is the error of the step that failed.
        MissingPart: If this machine lets nobody make a private mount namespace.
    """
    worker.call(bound(tree, plan.mount, worker.python(__name__)), plan, progress, _FAILED)


def _work(plan: Plan, progress: Progress) -> None:
    root = Path(plan.mount)
    in_image = f"{plan.mount}/{plan.prefix}"
    minor = plan.version.rpartition(".")[0]
    progress.step(f"Installing {len(plan.wheels)} packages")
    shutil.copytree(plan.interpreter, root / PYTHON, symlinks=True)
    program = f"{os.path.relpath(root / PYTHON, Path(in_image, 'bin'))}/bin/python{minor}"
    make_environment(Path(in_image), f"{plan.mount}/{PYTHON}/bin", program, plan.version)
    install(plan.wheels, Path(in_image), in_image, minor, progress)
    if plan.code_server:
        progress.step("Unpacking code-server")
        unpack(Path(plan.pins), Path(plan.code_server), plan.arch, root / CODE_SERVER)
        link = Path(in_image, "bin", CODE_SERVER)
        link.symlink_to(os.path.relpath(root / CODE_SERVER / "bin" / CODE_SERVER, link.parent))
    prune(root, plan.prune, progress)
    progress.step("Compiling byte code")
    compile_tree(root, plan.version, plan.arch, progress, map(Path, plan.compilers))


def _main(given: list[Any], progress: Progress) -> None:
    plan = Plan(*given)
    _work(plan._replace(wheels=[Wheel(Path(path), *rest) for path, *rest in plan.wheels]), progress)


if __name__ == "__main__":
    sys.exit(worker.serve(_main, _FAILED))
