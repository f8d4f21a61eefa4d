"""The part of a build that happens at the image's real mount path, in a private mount namespace.

A program of its own: it reads a plan from standard input, and tells how far it is on standard output, a JSON
object a line.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from launcher.builder.bytecode import compile_tree
from launcher.builder.cache import words
from launcher.builder.code_server import unpack
from launcher.builder.install import install, make_environment
from launcher.builder.mount import bound
from launcher.builder.progress import Progress
from launcher.builder.prune import prune
from launcher.builder.wheels import Wheel
from launcher.errors import BuildFailed, LauncherError, MissingPart

PYTHON = "python"
"""Where the interpreter lies in an image."""
CODE_SERVER = "code-server"
"""Where VS Code lies in an image."""


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
    command = bound(tree, plan.mount, [sys.executable, "-P", "-m", "launcher.builder.assemble"])
    given = json.dumps(plan, default=str)
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "0"},
    ) as worker:
        assert worker.stdin
        assert worker.stdout
        assert worker.stderr
        try:
            with contextlib.suppress(BrokenPipeError):
                worker.stdin.write(given)
                worker.stdin.close()
            for line in worker.stdout:
                # What a site's own Python may print as it starts is none.
                with contextlib.suppress(json.JSONDecodeError):
                    _told(json.loads(line), progress)
            said = worker.stderr.read()
        except BaseException:
            # It writes into what is removed next.
            worker.kill()
            raise
    if worker.returncode:
        raise BuildFailed("The image could not be put together.", why=said.strip()[-2000:])


def _told(message: dict[str, Any], progress: Progress) -> None:
    """Hand on what the worker says."""
    if "error" in message:
        raise _ERRORS.get(message["error"], BuildFailed)(
            message["what"], why=message["why"], todo=message["todo"]
        )
    getattr(progress, message["call"])(*message["arguments"])


_ERRORS = {each.__name__: each for each in (BuildFailed, MissingPart)}


class _Telling:
    """Progress that is told to the process outside."""

    def step(self, text: str) -> None:
        _tell(call="step", arguments=[text])

    def advance(self, done: int, total: int) -> None:
        _tell(call="advance", arguments=[done, total])

    def note(self, text: str) -> None:
        _tell(call="note", arguments=[text])


def _tell(**message: Any) -> None:
    print(json.dumps(message), flush=True)  # noqa: T201 - it is how the two processes talk


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


def _main() -> int:
    os.umask(0o022)
    given = json.load(sys.stdin)
    plan = Plan(*given)
    wheels = [Wheel(Path(path), *rest) for path, *rest in plan.wheels]
    try:
        _work(plan._replace(wheels=wheels), _Telling())
    except LauncherError as error:
        kind = "MissingPart" if isinstance(error, MissingPart) else "BuildFailed"
        _tell(error=kind, what=error.what, why=error.why, todo=error.todo)
        return 1
    except OSError as error:
        _tell(error="BuildFailed", what="The image could not be put together.", why=words(error), todo="")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
