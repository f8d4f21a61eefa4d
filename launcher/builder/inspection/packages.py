"""The Python packages of an image, and what takes room in it."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from posixpath import join, normpath
from typing import NamedTuple

from packaging.utils import canonicalize_name

from launcher.builder.inspection.look import Look, text
from launcher.builder.squashfs import Entry
from launcher.yaml_file import shown

_RECORD = re.compile(
    r"(?P<site>(.*/)?(site|dist)-packages)/(?P<name>[^/-]+)-(?P<version>[^/-]+)\.dist-info/RECORD", re.DOTALL
)
_BYTECODE = re.compile(r"(?P<directory>.*)__pycache__/(?P<module>[^/.]+)\.[^/]+\.pyc", re.DOTALL)


class Package(NamedTuple):
    """A Python package.

    Attributes:
        name: Its name in normal form (PEP 503).
        version: Its version.
        size: Bytes of its files, byte code included; 0 where the image does not say which are its.
    """

    name: str
    version: str
    size: int


def packages(look: Look, components: Mapping[str, str]) -> tuple[list[Package], dict[str, int]]:
    """Return the packages, and top directory → bytes of what belongs to none.

    Args:
        look: The image.
        components: Name → version of what its bill of materials knows of.
    """
    found, rest = _sizes(look.files, dict(_owners(look)))
    listed = {(name, version): 0 for name, version in components.items() if name != "code-server"}
    every = [Package(name, version, size) for (name, version), size in {**listed, **found}.items()]
    return sorted(every), rest


def _owners(look: Look) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield path → name and version of the package that it belongs to, as the installer noted.

    https://packaging.python.org/en/latest/specifications/recording-installed-packages/
    """
    records = {path: found for path in look.files if (found := _RECORD.fullmatch(path))}
    owners = {
        path: (str(canonicalize_name(text(found["name"]))), text(found["version"]))
        for path, found in records.items()
    }
    # Without a line of its own, a package would not be seen.
    yield from owners.items()
    for path, content in look.contents(records):
        site, package = records[path]["site"], owners[path]
        rows = csv.reader(content.decode(errors="replace").splitlines())
        try:
            for row in rows:
                if (file := normpath(join(site, row[0] if row else ""))) in look.files:
                    yield file, package
        except csv.Error:
            look.notes.append(f"{shown(path, 200)} can't be understood.")


def _sizes(
    files: Mapping[str, Entry], owners: Mapping[str, tuple[str, str]]
) -> tuple[Counter[tuple[str, str]], dict[str, int]]:
    """Return name and version of a package → bytes, and top directory → bytes of what belongs to none."""
    packages: Counter[tuple[str, str]] = Counter()
    rest: Counter[str] = Counter()
    for path, entry in files.items():
        code = _BYTECODE.fullmatch(path)
        owner = owners.get(path) or (owners.get(f"{code['directory']}{code['module']}.py") if code else None)
        if owner:
            packages[owner] += entry.size
        else:
            top, slash, _ = path.partition("/")
            rest[f"{text(top)}/" if slash else "."] += entry.size
    return packages, dict(rest.most_common())
