"""Programs and libraries: what they are made for, and what they need."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

from elftools.common.exceptions import ELFError
from elftools.construct.core import ConstructError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

from launcher.builder.target import Target, dotted, glibc_version

_VERSION = re.compile(r"GLIBC_(\d+)\.(\d+)(?:\.\d+)?")
_ABI = {"GLIBC_ABI_DT_RELR": (2, 36)}
"""What a C library offers from some version on without a number in its name."""


_WITH_TEXT = ("DT_NEEDED", "DT_RPATH", "DT_RUNPATH")

_ANYBODYS = re.compile(r"(?!/)|/(tmp|var/tmp|dev/shm)(/|$)")
"""Directories where anybody may put a library; one that is not absolute is below where a program starts."""

_OF_GLIBC = re.compile(r"(lib(c|m|dl|rt|util|pthread|resolv)\.so\.\d|ld-linux-[\w-]+\.so\.\d)")
"""Libraries that every machine with glibc has."""


class Facts(NamedTuple):
    """What an ELF file says of itself.

    Attributes:
        machine: The processors it is for: `x86_64`, `aarch64`, or in small letters what elf.h has after
            `EM_`.
        needed: Names of the libraries it is linked with.
        rpath: Directories where they are looked for first, as they stand there: `$ORIGIN/../lib`.
        glibc: The oldest C library that it runs with, `(2, 17)`, or None if it needs none.
    """

    machine: str
    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    glibc: tuple[int, int] | None


def facts(path: Path) -> Facts | None:
    """Read an ELF file.

    Returns:
        None for a file of any other kind.

    Raises:
        ValueError: If it begins as an ELF file and can't be read as one.
    """
    with path.open("rb") as file:
        if file.read(4) != b"\x7fELF":
            return None
        try:
            return _facts(ELFFile(file))
        # What a damaged file makes it trip over is not foreseen by its authors.
        except (ELFError, ConstructError, ValueError, TypeError, AttributeError, LookupError) as error:
            raise ValueError(f"{path} is a damaged ELF file: {error}") from None


def _facts(file: ELFFile) -> Facts:
    needed: list[str] = []
    rpath: list[str] = []
    versions: list[tuple[int, int]] = []
    # What loads a file goes by its segments; without sections it could not be seen here what it needs.
    linked = any(each["p_type"] == "PT_DYNAMIC" for each in file.iter_segments())
    if linked and not any(isinstance(each, DynamicSection) for each in file.iter_sections()):
        raise ValueError("it has no sections")
    for section in file.iter_sections():
        if isinstance(section, DynamicSection):
            # The name of a tag's text is that of its kind.
            texts = [
                (tag.entry.d_tag, str(getattr(tag, tag.entry.d_tag[3:].lower())))
                for tag in section.iter_tags()
                if tag.entry.d_tag in _WITH_TEXT
            ]
            needed += [text for kind, text in texts if kind == "DT_NEEDED"]
            rpath += [each for kind, text in texts if kind != "DT_NEEDED" for each in text.split(":") if text]
        elif isinstance(section, GNUVerNeedSection):
            versions += [
                version
                for _, auxiliaries in section.iter_versions()
                for each in auxiliaries
                if (version := _version(each.name))
            ]
    machine = str(file["e_machine"]).removeprefix("EM_").lower()
    return Facts(machine, tuple(needed), tuple(rpath), max(versions, default=None))


def _version(symbols: str) -> tuple[int, int] | None:
    """Return the version of the C library that a set of symbols came with."""
    if found := _VERSION.fullmatch(symbols):
        return int(found[1]), int(found[2])
    return _ABI.get(symbols)


def objections(root: Path, target: Target) -> tuple[list[str], str, tuple[int, int] | None]:
    """Look at all programs and libraries below a directory.

    Args:
        root: The directory.
        target: The machines that they are for.

    Returns:
        What does not fit those machines, a line each; a line about what they need; and the version of the
        newest symbol of the C library. An interpreter (`python/`) may need no library of the machine's but
        glibc; packages may, such as that of MPI.
    """
    found: dict[str, Facts] = {}
    wrong, names = [], set()
    for directory, _, files in os.walk(root):
        for name in files:
            names.add(name)
            path = Path(directory, name)
            if path.is_symlink() or not path.is_file():
                continue
            below = str(path.relative_to(root))
            try:
                told = facts(path)
            except ValueError as error:
                wrong.append(f"{below}: {error}")
                continue
            if told:
                found[below] = told
    for below, told in sorted(found.items()):
        if told.machine != target.arch:
            wrong.append(f"{below} is for {told.machine}, not {target.arch}")
        elif told.glibc and told.glibc > target.glibc:
            wrong.append(
                f"{below} needs glibc {dotted(told.glibc)}; the machines have {dotted(target.glibc)}"
            )
        wrong += [
            f"{below} looks for libraries in {each or 'the current directory'}, where anybody may put one"
            for each in told.rpath
            if _ANYBODYS.match(_expanded(each, below))
        ]
        missing = [each for each in told.needed if each not in names and not _OF_GLIBC.fullmatch(each)]
        if missing and below.startswith("python/"):
            wrong.append(f"{below} needs {', '.join(missing)}, which the image does not hold")
    highest, which = max(
        ((told.glibc or (0, 0), below) for below, told in found.items()), default=((0, 0), "")
    )
    others = " ".join(sorted({each for told in found.values() for each in told.needed} - names))
    text = f"{len(found)} files; highest symbol GLIBC_{dotted(highest)} ({which}); of the machine: {others}"
    return wrong, text if found else "none", highest if highest > (0, 0) else None


def _expanded(rpath: str, below: str) -> str:
    """Return where a file of an image looks for libraries once that is mounted: ld.so(8)."""
    own = str(Path("/mount", below).parent)
    named = re.sub(r"\$(ORIGIN\b|\{ORIGIN\})", lambda _: own, rpath)
    return os.path.normpath(named) if named else ""


def main() -> None:
    """Print the `objections` as JSON; the arguments are directory, processor and glibc."""
    root, arch, glibc = sys.argv[1:]
    sys.stdout.write(json.dumps(objections(Path(root), Target(arch, glibc_version(glibc), (0, 0)))))


if __name__ == "__main__":
    main()
