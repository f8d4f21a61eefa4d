"""The last touch to an image that Stackinator makes: run by its own Python, in the sandbox of the build.

Takes the image's mount point and the prefix of its environment; standard library only.
"""

from __future__ import annotations

import compileall
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from py_compile import PycInvalidationMode

_SHELLS = ("/bin/sh", "/bin/bash", "/usr/bin/env sh", "/usr/bin/env bash")


def main(mount: Path, prefix: Path) -> None:
    """Isolate the programs, take away what nobody runs, and compile the rest."""
    for program in programs(prefix / "bin"):
        isolate(program, prefix)
    prune(mount, prefix)
    for library in directories(mount, f"lib/python{sysconfig.get_python_version()}"):
        remove(library, "test")  # Python's own tests hold keys, too
        # Stackinator gives all files the time of the build, so compiled files that go by times are useless.
        compileall.compile_dir(
            library, quiet=2, force=True, workers=0, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
        )
    for directory in directories(mount, "bin"):
        for program in programs(directory):
            if not can_run(program, mount):
                program.chmod(program.stat().st_mode & ~0o111)


def prune(mount: Path, prefix: Path) -> None:
    """Take away pip, which has done its work, and what the recipe names."""
    for pattern in ("pip", "pip-*.dist-info"):
        remove(Path(sysconfig.get_path("purelib")), pattern)
    for pattern in ("bin/pip*", "bin/[Aa]ctivate*"):
        remove(prefix, pattern)
    for pattern in Path("prune.txt").read_text(encoding="utf-8").splitlines():
        remove(mount, pattern)


def directories(mount: Path, name: str) -> list[Path]:
    """Return the directories of a name in the image, without links."""
    return [path for path in mount.glob(f"**/{name}") if path.is_dir() and not path.is_symlink()]


def programs(directory: Path) -> list[Path]:
    """Return the files in a directory, without links."""
    return [path for path in directory.iterdir() if path.is_file() and not path.is_symlink()]


def isolate(program: Path, prefix: Path) -> None:
    """Keep a program's Python from the user's variables and directories."""
    first, newline, rest = program.read_bytes().partition(b"\n")
    if first.startswith(b"#!" + os.fsencode(prefix / "bin/python")):
        program.write_bytes(b"#!" + os.fsencode(prefix / "bin/python") + b" -I" + newline + rest)


def can_run(program: Path, mount: Path) -> bool:
    """Tell whether what a program's first line names is in the image, or a shell, which each machine has."""
    with program.open("rb") as file:
        first = file.readline(512).decode(errors="replace").strip()
    if not first.startswith("#!"):
        return True
    line = first[2:].strip()
    return line in _SHELLS or line.startswith(f"{mount}/")


def remove(directory: Path, pattern: str) -> None:
    """Remove all that a pattern matches below a directory."""
    for path in sorted(directory.glob(pattern), reverse=True):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
