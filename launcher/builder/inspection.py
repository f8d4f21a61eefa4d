"""What can be known of an image by looking into its file, without mounting it.

The image may be anybody's: what it says is limited in size, and told in characters that can be printed.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import json
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from posixpath import join, normpath
from typing import Any, NamedTuple

from packaging.utils import canonicalize_name

from launcher.builder import provenance, squashfs
from launcher.builder.provenance import Definition, Verified
from launcher.builder.sbom import versions
from launcher.builder.squashfs import Entry
from launcher.errors import InvalidFile, LauncherError
from launcher.view import Patch
from launcher.yaml_file import shown

_LARGEST = 16 << 20
"""Bytes of a file inside of an image that are read."""
_COMPRESSORS = {1: "gzip", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}
_MACHINES = {0x3E: "x86_64", 0xB7: "aarch64"}
"""What `e_machine` stands for, elf(5)."""
_LIBRARY = re.compile(r".*\.so(\.[0-9.]+)?")
_RECORD = re.compile(
    r"(?P<site>(.*/)?(site|dist)-packages)/(?P<name>[^/-]+)-(?P<version>[^/-]+)\.dist-info/RECORD", re.DOTALL
)
_BYTECODE = re.compile(r"(?P<directory>.*)__pycache__/(?P<module>[^/.]+)\.[^/]+\.pyc", re.DOTALL)


class View(NamedTuple):
    """A view.

    Attributes:
        name: Its name.
        description: What the image says of it.
        patch: What it changes; None if that is not to be understood.
    """

    name: str
    description: str
    patch: Patch | None

    @property
    def changes(self) -> tuple[str, ...]:
        """What it changes, each as a shell would be told."""
        if self.patch is None:
            return ("what it changes can't be understood",)
        lists = [
            _told(name, operation.kind, ":".join(operation.values))
            for name, operations in self.patch.lists.items()
            for operation in operations
        ]
        scalars = [
            _told(name, "unset" if value is None else "set", value or "")
            for name, value in self.patch.scalars.items()
        ]
        return (*lists, *scalars)


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
        verified: What was seen when it was verified.
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
    look = _Look(image)
    compression, block_size = _superblock(image)
    description = look.json("meta/env.json") or {}
    if not description:
        look.notes.append("It does not describe itself: whoever mounts it must say where.")
    definition = provenance.read_inputs(look.content("meta/provenance.json") or b"")
    components = versions(look.json("meta/sbom.cdx.json"))
    packages, rest = _sizes(look.files, dict(_owners(look)))
    python = _said(definition, "interpreter", "version") or _python_of_paths(look.files)
    return Inspection(
        path=image,
        size=image.stat().st_size,
        compression=compression,
        block_size=block_size,
        name=_text(description.get("name")),
        mount=_text(description.get("mount")),
        description=_text(description.get("description")),
        default_view=_text(description.get("default-view")),
        views=tuple(_views(description.get("views"))),
        arch=definition.parameters.arch if definition else look.machine(),
        python=python,
        interpreter=_said(definition, "interpreter", "name"),
        code_server=components.get("code-server", "") or _said(definition, "code-server", "version"),
        glibc=definition.parameters.glibc if definition else "",
        verified=look.verified(),
        locked=_date(_said(definition, provenance.LOCK, "locked")),
        packages=tuple(_packages(components, packages)),
        rest=rest,
        notes=tuple(look.notes),
    )


class _Look:
    """An image that is looked into.

    Attributes:
        files: Its files by path.
        notes: What is odd about it.
    """

    def __init__(self, image: Path) -> None:
        self.notes: list[str] = []
        self._image = image
        self.files: Mapping[str, Entry] = {
            each.path: each for each in squashfs.entries(image) if each.kind == "file"
        }

    def content(self, path: str) -> bytes | None:
        """Return the content of a file, if there is one of sensible size."""
        entry = self.files.get(path)
        if not entry:
            return None
        if entry.size > _LARGEST:
            self.notes.append(f"{shown(path, 200)} is too large to be read.")
            return None
        return squashfs.read(self._image, path)

    def json(self, path: str) -> dict[str, Any] | None:
        """Return the object in a file, if there is one."""
        content = self.content(path)
        if content is None:
            return None
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            return found
        self.notes.append(f"{path} can't be understood.")
        return None

    def machine(self) -> str:
        """Return the processors that its smallest library is for."""
        libraries = [each for each in self.files.values() if _LIBRARY.fullmatch(each.path)]
        for each in sorted(libraries, key=lambda entry: (entry.size, entry.path))[:4]:
            head = (self.content(each.path) or b"")[:20]
            if head.startswith(b"\x7fELF") and len(head) == 20:
                return _MACHINES.get(int.from_bytes(head[18:], "little"), "")
        return ""

    def verified(self) -> Verified | None:
        """Return what the file beside the image says of its verification."""
        path = provenance.beside(self._image, "provenance")
        try:
            claim = provenance.read(path)
        except FileNotFoundError:
            return None
        except (OSError, InvalidFile):
            self.notes.append(f"{path} can't be understood.")
            return None
        with self._image.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == claim.sha256:
                return claim.verified
        self.notes.append(f"{path} is of another image.")
        return None


def _superblock(image: Path) -> tuple[str, int]:
    """Return compression and block size: https://docs.kernel.org/filesystems/squashfs.html."""
    with image.open("rb") as file:
        head = file.read(96)
    if len(head) < 96:
        raise LauncherError(f"{image} is no squashfs file.", why="It is too short.")
    block_size, compressor = struct.unpack_from("<12xI4xH", head)
    return _COMPRESSORS.get(compressor, ""), block_size


def _views(given: Any) -> Iterator[View]:
    for name, each in given.items() if isinstance(given, dict) else ():
        view = each if isinstance(each, dict) else {}
        env = view.get("env")
        try:
            patch = Patch.read(env.get("values") if isinstance(env, dict) else None)
        except ValueError:
            patch = None
        yield View(_text(name), _text(view.get("description")), patch)


def _told(name: str, kind: str, value: str) -> str:
    if kind == "unset":
        return f"unset {_text(name)}"
    fields = {"prepend": (value, f"${name}"), "append": (f"${name}", value), "set": (value,)}[kind]
    return _text(f"{name}={':'.join(fields)}")


def _owners(look: _Look) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield path → name and version of the package that it belongs to, as the installer noted.

    https://packaging.python.org/en/latest/specifications/recording-installed-packages/
    """
    for path in look.files:
        if not (found := _RECORD.fullmatch(path)):
            continue
        package = (str(canonicalize_name(_text(found["name"]))), _text(found["version"]))
        # Without a line of its own, the package would not be seen.
        yield path, package
        rows = csv.reader((look.content(path) or b"").decode(errors="replace").splitlines())
        try:
            for row in rows:
                yield normpath(join(found["site"], row[0] if row else "")), package
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
            rest[f"{_text(top)}/" if slash else "."] += entry.size
    return packages, dict(rest.most_common())


def _packages(components: Mapping[str, str], found: Mapping[tuple[str, str], int]) -> list[Package]:
    """Return what is installed, and what only the bill of materials knows of."""
    listed = {(name, version): 0 for name, version in components.items() if name != "code-server"}
    return sorted(Package(name, version, size) for (name, version), size in {**listed, **found}.items())


def _python_of_paths(paths: Iterable[str]) -> str:
    """Return the version of Python that modules are for, if it is one."""
    found = {match[1] for path in paths if (match := re.search(r"(?:^|/)lib/python(3\.\d{1,2})/", path))}
    return found.pop() if len(found) == 1 else ""


def _said(definition: Definition | None, name: str, annotation: str) -> str:
    return (definition.said(name, annotation) if definition else None) or ""


def _date(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return None


def _text(given: Any) -> str:
    return shown(given, 500) if isinstance(given, str) else ""
