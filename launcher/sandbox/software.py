"""What the sandbox's jobs run: the base install, copied to where every account can read it.

A job of alice can use neither an interpreter nor a checkout below somebody's 0700 home. The copy holds
exactly what a compute node needs, so the sandbox also proves that the base install is enough there.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import launcher
from launcher.errors import SandboxError

DISTRIBUTION = "firecrest-launcher"
STAND_IN = "launcher-stand-in"
"""Name of the program, beside `launcher-singleuser`, that takes its place where many servers are wanted."""
_RUN_STAND_IN = """\
#!{python}
import sys
from launcher.sandbox.stand_in import main
sys.exit(main())
"""

# A node without a way out has no news to fetch, and should not ask whether to.
_LAB_SETTINGS = """\
{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}
"""


def stage(target: Path, more: Sequence[str] = ()) -> Path:
    """Copy the base install into a new virtual environment.

    Args:
        target: Its directory; must not exist.
        more: Names of distributions that are to be there besides.

    Returns:
        The `launcher-singleuser` program in it; `STAND_IN` lies beside it.

    Raises:
        SandboxError: If there is no interpreter that every account can run.
    """
    interpreter = _interpreter()
    packages = target / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    packages.mkdir(parents=True)
    (target / "bin").mkdir()
    (target / "bin/python").symlink_to(interpreter)
    (target / "pyvenv.cfg").write_text(f"home = {interpreter.parent}\ninclude-system-site-packages = false\n")
    for source in _files(more):
        copy = target / source.relative_to(sys.prefix)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if copy.parent == target / "bin":
            shutil.copy2(source, copy)
            _repoint(copy, target)
        else:
            _link_or_copy(source, copy)
    package = Path(launcher.__file__).parent
    if not package.is_relative_to(sys.prefix):  # an editable install lists no file of the package
        shutil.copytree(package, packages / "launcher", dirs_exist_ok=True)
    stand_in = target / "bin" / STAND_IN
    stand_in.write_text(_RUN_STAND_IN.format(python=target / "bin/python"))
    stand_in.chmod(0o755)
    settings = target / "share/jupyter/lab/settings"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "overrides.json").write_text(_LAB_SETTINGS)
    return target / "bin/launcher-singleuser"


def base_install(more: Sequence[str] = ()) -> set[str]:
    """Return the names of the distributions that a compute node needs, and of more with what those need."""
    found: set[str] = set()
    waiting = [(name, frozenset({""})) for name in (DISTRIBUTION, *more)]
    seen = set()
    while waiting:
        wanted = waiting.pop()
        if wanted in seen:
            continue
        seen.add(wanted)
        name, extras = wanted
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(name)
        for line in requires:
            requirement = Requirement(line)
            if requirement.marker and not any(
                requirement.marker.evaluate({"extra": each}) for each in extras
            ):
                continue
            waiting.append((canonicalize_name(requirement.name), frozenset({"", *requirement.extras})))
    return found


def _files(more: Sequence[str]) -> Iterator[Path]:
    prefix = Path(sys.prefix)
    for name in sorted(base_install(more)):
        for entry in importlib.metadata.files(name) or []:
            source = Path(os.path.normpath(str(entry.locate())))
            if source.is_relative_to(prefix) and source.is_file() and source.suffix != ".pth":
                yield source


def _link_or_copy(source: Path, copy: Path) -> None:
    """A second name costs neither time nor space; it needs the same file system."""
    try:
        copy.hardlink_to(source)
    except OSError:
        shutil.copy2(source, copy)


def _repoint(script: Path, target: Path) -> None:
    """Make an installed script run the copy's interpreter: its first lines name the old one."""
    content = script.read_bytes()
    if content.startswith(b"#!"):
        old, new = f"{sys.prefix}/bin/python".encode(), f"{target}/bin/python".encode()
        head, _, rest = content.partition(b"\n")
        # Where its path is long or has blanks, it stands in the second line, behind a shell.
        if old in head + rest.partition(b"\n")[0]:
            script.write_bytes(b"#!" + new + b"\n" + rest)


def _interpreter() -> Path:
    """Return an interpreter of this version that every account can run."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    own = Path(os.path.realpath(sys.executable))
    candidates = [own, Path("/usr/bin") / version, Path("/usr/local/bin") / version]
    for candidate in candidates:
        if candidate.exists() and (os.geteuid() != 0 or _open_to_all(candidate)):
            return candidate
    raise SandboxError(
        f"The sandbox's accounts can't run {own}.",
        why="It lies in a directory that only its owner may enter.",
        todo=f"Install {version} for all users (apt-get install {version}), then start again.",
    )


def _open_to_all(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o001) and all(each.stat().st_mode & 0o001 for each in path.parents)
