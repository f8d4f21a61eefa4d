"""Whether an image holds what it promises.

What holds for every image is looked at from outside, by the launcher's own Python and checks; what else it
promises, its recipe's `verify` tries with the image's own.
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from launcher.builder import mount
from launcher.builder.mount import Mounted
from launcher.builder.program import found
from launcher.builder.progress import Progress
from launcher.builder.recipe import Recipe, recipes_directory
from launcher.builder.report import VERIFY, Check, Report, answers, check, last_lines
from launcher.builder.target import Target, dotted
from launcher.errors import MissingPart

_TIMEOUT = 1800.0
"""Seconds that all of a `verify` may take; each program that it starts has its own time."""

_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
_LOOK, _PROGRAMS, _PROCESSES = range(3)
"""What `uenv/checks.py` calls `TREE`, `PROGRAM` and `PROCESSES`."""


class _Starter(NamedTuple):
    """How programs of an image are started on this machine.

    Attributes:
        needs: Which checks can be run: those that need no more than this.
        python: The command that is a Python.
        through: What starts other programs: an emulator.
        user: The account that runs them, or None for this process's own.
    """

    needs: int
    python: tuple[str, ...]
    through: tuple[str, ...]
    user: str | None


def verify(
    image: Path,
    recipe: Recipe,
    target: Target,
    progress: Progress,
    *,
    build_paths: Sequence[str] = (),
    user: str | None = None,
) -> Report:
    """Mount an image, and look whether it holds what it promises.

    Its own `meta/recipe/verify` is run by its own Python. For other processors that takes qemu-user; without
    it, this Python runs those of its checks that start nothing of the image.

    Args:
        image: The squashfs file.
        recipe: What it was made from.
        target: What it was built for.
        progress: Told that it begins.
        build_paths: Paths that no file in it may contain: those of the machine that built it.
        user: The account that tries it; without it `nobody` where this process is root's.

    Raises:
        MissingPart: If this machine can't mount images, or has no Python that whoever tries it can run.
        LauncherError: If the image can't be read.
    """
    progress.step("Verifying the image")
    begin = time.monotonic()
    images = [Mounted(image, recipe.image.mount)]
    user = user or (None if os.geteuid() else _nobody())
    starter, problem = _starter(images, recipe, target, user)
    programs, glibc = _programs(images, target)
    own, known = _recipes_own(images, recipe, starter)
    shared = _shared(images, recipe, known, build_paths)
    checks = tuple(each.printable() for each in (*problem, *shared, *own, programs))
    return Report(checks, starter.needs > _LOOK, round(time.monotonic() - begin, 2), glibc)


def _starter(
    images: list[Mounted], recipe: Recipe, target: Target, user: str | None
) -> tuple[_Starter, list[Check]]:
    """Return how programs are started, and a check that failed where they should start and don't."""
    python = f"{images[0].mount}/{recipe.image.prefix}/bin/python"
    ways: list[tuple[tuple[str, ...], int]] = [((), _PROCESSES)]
    if target.foreign:
        ways += [(emulator, _PROGRAMS) for emulator in _emulators(target.arch)]
    errors = ""
    for through, needs in ways:
        tried = _run(images, (*through, python, "-I", "-c", ""), user)
        if not tried.returncode:
            return _Starter(needs, (*through, python), through, user), []
        errors = last_lines(tried.stderr)
    failed = [] if target.foreign else [Check("the image's Python starts", ok=False, text=errors)]
    # The one that this runs with may lie where that account may not look.
    for python in (sys.executable, "/usr/bin/python3"):
        if not _run(images, (python, "-I", "-c", ""), user).returncode:
            return _Starter(_LOOK, (python,), (), user), failed
    raise MissingPart(f"This machine has no Python that {user} can run.", todo="Install python3.")


def _recipes_own(
    images: list[Mounted], recipe: Recipe, starter: _Starter
) -> tuple[list[Check], tuple[str, ...]]:
    """Run the recipe's `verify`: it finds `checks` beside itself, so it can't be run with `-I`.

    Returns:
        Its checks, and the paths that it knows to hold no secrets.
    """
    script = f"{images[0].mount}/{VERIFY}"
    options = [f"--needs={starter.needs}", *(f"--through={each}" for each in starter.through)]
    argv = (*starter.python, "-E", "-s", "-B", script, *_where(images, recipe), *options)
    return answers(_run(images, argv, starter.user), VERIFY)


def _shared(
    images: list[Mounted], recipe: Recipe, known: Sequence[str], build_paths: Sequence[str]
) -> list[Check]:
    """Run the checks that hold for every image, whatever its own files say."""
    script = str(recipes_directory() / "checks.py")
    options = [*_where(images, recipe), *(f"--known={each}" for each in known), "--", *build_paths]
    done = _run(images, (sys.executable, "-I", "-B", script, *options), None)
    checks = [check(line, VERIFY) for line in done.stdout.decode(errors="replace").splitlines()]
    if done.returncode != (not all(each.ok for each in checks)) or not checks:
        text = f"They ended with {done.returncode}.\n{last_lines(done.stderr)}"
        checks.append(Check("the launcher's checks", ok=False, text=text.strip()))
    return checks


def _where(images: list[Mounted], recipe: Recipe) -> tuple[str, str]:
    return f"--mount={images[0].mount}", f"--prefix={recipe.image.prefix}"


def _programs(images: list[Mounted], target: Target) -> tuple[Check, tuple[int, int] | None]:
    """Look at the image's programs and libraries, with this Python: the image's own knows no ELF.

    Returns:
        A check, and the newest symbol of the C library that one needs.
    """
    glibc = dotted(target.glibc)
    name = f"programs run on {target.arch} with glibc {glibc}"
    argv = (sys.executable, "-P", "-B", "-m", "launcher.builder.elf", images[0].mount, target.arch, glibc)
    done = _run(images, argv, None, own_environment=True)
    if done.returncode:
        return Check(name, ok=False, text=last_lines(done.stderr)), None
    wrong, text, highest = json.loads(done.stdout)
    check = Check(name, ok=not wrong, text="\n".join(wrong[:10]) if wrong else text)
    return check, (highest[0], highest[1]) if highest else None


def _run(
    images: list[Mounted], argv: Sequence[str], user: str | None, *, own_environment: bool = False
) -> subprocess.CompletedProcess[bytes]:
    bare = {"PATH": _PATH} | {name: os.environ[name] for name in ("QEMU_LD_PREFIX",) if name in os.environ}
    try:
        return mount.run(
            images,
            argv,
            user=user,
            environment=dict(os.environ) if own_environment else bare,
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired as error:
        return subprocess.CompletedProcess(
            argv, -9, error.stdout or b"", f"It took more than {_TIMEOUT:.0f} s.".encode()
        )


def _emulators(arch: str) -> Iterator[tuple[str, ...]]:
    """Yield the commands that programs for other processors can be started through."""
    libraries = Path(f"/usr/{arch}-linux-gnu")
    where = ("-L", str(libraries)) if libraries.is_dir() and "QEMU_LD_PREFIX" not in os.environ else ()
    for name in (f"qemu-{arch}-static", f"qemu-{arch}"):
        if program := found(name):
            yield program, *where


def _nobody() -> str:
    """Return the name of the account that owns nothing."""
    return pwd.getpwuid(65534).pw_name
