"""How two images differ, and how far an image is from a lock."""

from __future__ import annotations

import datetime as dt
import filecmp
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from launcher.builder import squashfs
from launcher.builder.inspection import Inspection, View, inspect
from launcher.builder.lock import Lock
from launcher.builder.recipe import recipe_names, recipes_directory
from launcher.builder.squashfs import Entry
from launcher.builder.target import ARCHITECTURES, Target
from launcher.yaml_file import shown

_PROJECT = "firecrest-launcher"
"""No lock holds it: it is what reads them."""


class Change(NamedTuple):
    """Something that differs.

    Attributes:
        name: What.
        before: What it was; empty where it was not.
        after: What it is now; empty where it is no more.
    """

    name: str
    before: str
    after: str


class Grown(NamedTuple):
    """Something that takes more room, or less: its bytes before and after."""

    name: str
    before: int
    after: int


class Difference(NamedTuple):
    """How one image differs from another.

    Attributes:
        identical: Whether the files are the same, bit for bit.
        metadata: What the images say of themselves, and what they are built for.
        packages: Python packages, the interpreter and code-server, by version.
        sizes: What takes another room, the most changed first.
        files: Files by kind, size, mode and where links lead; None if nobody asked.
    """

    identical: bool
    metadata: tuple[Change, ...] = ()
    packages: tuple[Change, ...] = ()
    sizes: tuple[Grown, ...] = ()
    files: tuple[Change, ...] | None = None

    @property
    def equal(self) -> bool:
        """Whether nothing differs that counts: sizes alone do not."""
        return not (self.metadata or self.packages or self.files)


def difference(before: Path, after: Path, *, files: bool = False) -> Difference:
    """Compare two images.

    Args:
        before: The one.
        after: The other.
        files: Whether to compare the lists of their files, too.

    Raises:
        LauncherError: If one is no squashfs file, or is damaged.
        MissingPart: If squashfs-tools are not installed.
    """
    # Looking into both first tells what is no image.
    one, other = inspect(before), inspect(after)
    if filecmp.cmp(before, after, shallow=False):
        return Difference(identical=True)
    return Difference(
        identical=False,
        metadata=_changes(_metadata(one), _metadata(other)),
        packages=_changes(_versions(one), _versions(other)),
        sizes=_grown(_by_name(one), _by_name(other)),
        files=_changes(_listing(before), _listing(after)) if files else None,
    )


class Age(NamedTuple):
    """How far an image is from a lock.

    Attributes:
        lock: The lock.
        locked: Its date.
        packages: The packages of the image that the lock has otherwise: their version in the image, and in
            the lock.
    """

    lock: Path
    locked: dt.date
    packages: tuple[Change, ...]


def age(image: Inspection, path: Path) -> Age:
    """Compare an image with a lock. What only the lock holds does not count: an image may leave things out.

    Raises:
        InvalidFile: If the lock has mistakes.
    """
    lock = Lock.read(path)
    pins = {pin.name: pin for pin in lock.pins}
    if found := re.fullmatch(r"3\.([0-9]{1,2})(\.[0-9]{1,3})?", image.python):
        full = image.python if found[2] else f"{image.python}.0"
        arch = image.arch or ARCHITECTURES[0]
        pins = lock.for_target(Target(arch, (0, 0), (3, int(found[1]))), full)
    versions = {name: pin.version for name, pin in pins.items()}
    changed = [
        Change(each.name, each.version, versions.get(each.name, ""))
        for each in image.packages
        if each.name != _PROJECT and versions.get(each.name) != each.version
    ]
    # What the lock does not hold is seldom what one looks for.
    return Age(path, lock.locked, tuple(sorted(changed, key=lambda each: (not each.after, each.name))))


def own_lock(image: Inspection) -> Path | None:
    """Return the lock of the launcher's own recipe for an image, if it has one of that name."""
    if image.name not in recipe_names():
        return None
    return recipes_directory() / image.name / "requirements.txt"


def _metadata(image: Inspection) -> dict[str, str]:
    return {
        "name": image.name,
        "mount": image.mount,
        "description": image.description,
        "default view": image.default_view,
        "architecture": image.arch,
        "glibc": image.glibc,
        "for GPUs": "" if image.gpu is None else "yes" if image.gpu else "no",
        **{f"view {view.name}": _view(view) for view in image.views},
    }


def _view(view: View) -> str:
    return "; ".join(filter(None, (view.description, *view.changes))) or "changes nothing"


def _versions(image: Inspection) -> dict[str, str]:
    versions: dict[str, str] = {}
    for each in image.packages:
        versions[each.name] = ", ".join(filter(None, (versions.get(each.name), each.version)))
    interpreter = " ".join(filter(None, (image.python, image.interpreter)))
    return {"(interpreter)": interpreter, "(code-server)": image.code_server, **versions}


def _by_name(image: Inspection) -> dict[str, int]:
    found = Counter(image.rest)
    for each in image.packages:
        found[each.name] += each.size
    return found


def _listing(image: Path) -> dict[str, str]:
    return {shown(each.path, 1000): _told(each) for each in squashfs.entries(image)}


def _told(entry: Entry) -> str:
    """Return what is compared of a file; what describes a directory or a link takes room of no interest."""
    if entry.kind == "link":
        return f"link to {shown(entry.target, 1000)}"
    size = f" of {entry.size} bytes" if entry.kind == "file" else ""
    return f"{entry.kind}{size}, mode {entry.mode:04o}"


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    names = sorted({*before, *after})
    every = (Change(name, before.get(name, ""), after.get(name, "")) for name in names)
    return tuple(each for each in every if each.before != each.after)


def _grown(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[Grown, ...]:
    every = (Grown(name, before.get(name, 0), after.get(name, 0)) for name in {*before, *after})
    changed = [each for each in every if each.before != each.after]
    return tuple(sorted(changed, key=lambda each: (-abs(each.after - each.before), each.name)))
