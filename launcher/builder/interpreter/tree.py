"""A Python becomes a tree that stands by itself: what is run, and the libraries that it needs.

::

    bin/python3.11                 with links python3 and python
    lib/python3.11/                the standard library
    lib/libssl.so.3 …              what its extension modules need
    share/doc/PACKAGE/copyright    the licences, where they come apart
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

from launcher.errors import BuildFailed

_GLIBC = re.compile(r"(ld-linux.*|lib(c|m|dl|rt|pthread|util|resolv|anl))\.so\.[0-9]+")
"""The C library, which is the machine's own."""


def complete(
    tree: Path, libraries: Path, minor: str, set_rpath: Callable[[Path, str], None] | None = None
) -> None:
    """Add to a tree what its programs and extension modules need, and the links by which it is called.

    Args:
        tree: The tree: `bin/python3.11` and `lib/python3.11`.
        libraries: Where the shared libraries are, under all their names.
        minor: Its version: `3.11`.
        set_rpath: Sets where an ELF file looks for libraries; None if they know that already.

    Raises:
        BuildFailed: If it is not a whole Python, or needs a library that is not there.
    """
    program = tree / f"bin/python{minor}"
    library = tree / f"lib/python{minor}"
    for path in (program, library / "os.py"):
        if not path.is_file():
            raise BuildFailed(f"This is no whole Python {minor}: it lacks {path.relative_to(tree)}.")
    # Python complains where this is missing, even if all is built in.
    (library / "lib-dynload").mkdir(exist_ok=True)
    for link in ("python3", "python"):
        (tree / "bin" / link).unlink(missing_ok=True)
        (tree / "bin" / link).symlink_to(program.name)
    _add_libraries(tree, libraries, [program, *sorted((library / "lib-dynload").glob("*.so"))], set_rpath)
    for path in (tree, *tree.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)


def _add_libraries(
    tree: Path, libraries: Path, waiting: list[Path], set_rpath: Callable[[Path, str], None] | None
) -> None:
    """Add what ELF files need, and what that needs, and so on."""
    while waiting:
        file = waiting.pop()
        names = [name for name in needed(file) if not _GLIBC.fullmatch(name)]
        for name in names:
            copy = tree / "lib" / name
            if copy.exists():
                continue
            if not (libraries / name).is_file():
                raise BuildFailed(
                    f"{file.relative_to(tree)} needs {name}, which is not there.",
                    todo="Name the package that holds it, or take a standalone build.",
                )
            shutil.copyfile(libraries / name, copy)
            copy.chmod(0o644)
            waiting.append(copy)
        if names and set_rpath:
            set_rpath(file, f"$ORIGIN/{os.path.relpath(tree / 'lib', file.parent)}")


def needed(file: Path) -> list[str]:
    """Return the names of the shared libraries that an ELF file needs.

    Raises:
        BuildFailed: If it is no ELF file.
    """
    try:
        with file.open("rb") as stream:
            section = ELFFile(stream).get_section_by_name(".dynamic")
            if not isinstance(section, DynamicSection):
                return []
            return [str(tag.needed).rpartition("/")[2] for tag in section.iter_tags("DT_NEEDED")]  # type: ignore[attr-defined] # of these tags
    except ELFError as error:
        raise BuildFailed(f"{file} is no ELF file.", why=f"{error}.") from None
