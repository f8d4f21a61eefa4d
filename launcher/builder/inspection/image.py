"""What an image is."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from launcher.builder import description, provenance
from launcher.builder.inspection.look import Look, superblock, text
from launcher.builder.inspection.packages import Package, packages
from launcher.builder.inspection.views import View, views
from launcher.builder.provenance import Definition, Verified
from launcher.builder.sbom import versions


class Inspection(NamedTuple):
    """What an image is. Texts are empty, and other facts None, where nothing is known.

    Attributes:
        path: The file.
        size: Its size in bytes.
        compression: How it is compressed.
        block_size: In blocks of how many bytes.
        name: What the image calls itself.
        mount: Where it wants to be mounted.
        description: One line for people.
        default_view: The view that is loaded where none is named.
        views: Its views.
        arch: For which processors it is.
        python: Its interpreter's version.
        interpreter: Which interpreter that is.
        code_server: The version of code-server in it.
        glibc: The C library that it was built for.
        gpu: Whether it was built for machines with GPUs.
        verified: What the file beside it claims that was seen when it was verified.
        locked: The date of the lock that it was made from.
        packages: Its Python packages.
        rest: Top directory → bytes of the files in it that belong to no package.
        notes: What is odd about it, a sentence each.
    """

    path: Path
    size: int
    compression: str
    block_size: int
    name: str
    mount: str
    description: str
    default_view: str
    views: tuple[View, ...]
    arch: str
    python: str
    interpreter: str
    code_server: str
    glibc: str
    gpu: bool | None
    verified: Verified | None
    locked: dt.date | None
    packages: tuple[Package, ...]
    rest: Mapping[str, int]
    notes: tuple[str, ...]

    @property
    def unpacked(self) -> int:
        """Bytes of all its files."""
        return sum(each.size for each in self.packages) + sum(self.rest.values())


def inspect(image: Path) -> Inspection:
    """Look into an image.

    Raises:
        LauncherError: If it is no squashfs file, or is damaged.
        MissingPart: If squashfs-tools are not installed.
    """
    look = Look(image)
    compression, block_size = superblock(image)
    told = look.json(description.PATH, description.LARGEST) or {}
    if not told:
        look.notes.append("It does not describe itself: whoever mounts it must say where.")
    definition = provenance.read_inputs(look.content(description.INPUTS) or b"")
    components = versions(look.json("meta/sbom.cdx.json"))
    found, rest = packages(look, components)
    python = _said(definition, "interpreter", "version") or _python_of_paths(look.files)
    return Inspection(
        path=image,
        size=image.stat().st_size,
        compression=compression,
        block_size=block_size,
        name=text(told.get("name")),
        mount=text(told.get("mount")),
        description=text(told.get("description")),
        default_view=text(told.get("default-view")),
        views=tuple(views(told.get("views"))),
        arch=definition.parameters.arch if definition else look.machine(),
        python=python,
        interpreter=_said(definition, "interpreter", "name"),
        code_server=components.get("code-server", "") or _said(definition, "code-server", "version"),
        glibc=definition.parameters.glibc if definition else "",
        gpu=definition.parameters.gpu if definition else None,
        verified=look.verified(),
        locked=_date(_said(definition, provenance.LOCK, "locked")),
        packages=tuple(found),
        rest=rest,
        notes=tuple(look.notes),
    )


def _python_of_paths(paths: Iterable[str]) -> str:
    """Return the version of Python that modules are for, if it is one."""
    found = {match[1] for path in paths if (match := re.search(r"(?:^|/)lib/python(3\.\d{1,2})/", path))}
    return found.pop() if len(found) == 1 else ""


def _said(definition: Definition | None, name: str, annotation: str) -> str:
    return (definition.said(name, annotation) if definition else None) or ""


def _date(day: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(day)
    except ValueError:
        return None
