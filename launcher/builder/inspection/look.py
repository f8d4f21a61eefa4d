"""The file of an image that is looked into."""

from __future__ import annotations

import io
import json
import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from launcher.builder import provenance, squashfs
from launcher.builder.digest import sha256_of
from launcher.builder.provenance import Verified
from launcher.builder.squashfs import Entry
from launcher.errors import InvalidFile, LauncherError
from launcher.yaml_file import shown

_MOST_AT_ONCE = 16 << 20
"""Bytes that are read at once, of several files."""
_LONGEST_NAMES = 500_000
"""Bytes of their paths: a command line holds no more."""
_COMPRESSORS = {1: "gzip", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}
_MACHINES = {0x3E: "x86_64", 0xB7: "aarch64"}
"""What `e_machine` stands for, elf(5)."""
_LIBRARY = re.compile(r".*\.so(\.[0-9.]+)?")


class Look:
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

    def content(self, path: str, most: int = squashfs.LARGEST) -> bytes | None:
        """Return the content of a file, if there is one of no more bytes than `most`."""
        entry = self.files.get(path)
        if not entry:
            return None
        if entry.size > most:
            self.notes.append(f"{shown(path, 200)} is too large to be read.")
            return None
        return self._read(path, most=most)

    def contents(self, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield path and content of several of its files, read at once and no more than is sensible."""
        taken, total, names = [], 0, 0
        for path in paths:
            total += self.files[path].size
            names += len(os.fsencode(path))
            if total > _MOST_AT_ONCE or names > _LONGEST_NAMES:
                self.notes.append(f"{shown(path, 200)} and others like it are too large to be read.")
                break
            taken.append(path)
        sizes = [self.files[path].size for path in taken]
        whole = io.BytesIO(self._read(*taken, most=sum(sizes)) if taken else b"")
        for path, size in zip(taken, sizes, strict=True):
            yield path, whole.read(size)

    def json(self, path: str, most: int = squashfs.LARGEST) -> dict[str, Any] | None:
        """Return the object in a file, if there is one of no more bytes than `most`."""
        content = self.content(path, most)
        if content is None:
            return None
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            return found
        self.notes.append(f"{shown(path, 200)} can't be understood.")
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
        """Return what the file beside the image claims of its verification."""
        path = provenance.beside(self._image, "provenance")
        try:
            claim = provenance.read(path)
        except FileNotFoundError:
            return None
        except (OSError, InvalidFile):
            self.notes.append(f"{shown(str(path), 1000)} can't be understood.")
            return None
        if sha256_of(self._image) == claim.sha256:
            return claim.verified
        self.notes.append(f"{shown(str(path), 1000)} is of another image.")
        return None

    def _read(self, *paths: str, most: int) -> bytes:
        try:
            return squashfs.read(self._image, *paths, most=most)
        except FileNotFoundError as error:
            raise LauncherError(f"The image {str(self._image)!r} is damaged.", why=f"{error}.") from None


def superblock(image: Path) -> tuple[str, int]:
    """Return compression and block size: https://docs.kernel.org/filesystems/squashfs.html."""
    with image.open("rb") as file:
        head = file.read(96)
    if len(head) < 96:
        raise LauncherError(f"{str(image)!r} is no squashfs file.", why="It is too short.")
    block_size, compressor = struct.unpack_from("<12xI4xH", head)
    return _COMPRESSORS.get(compressor, ""), block_size


def text(given: Any) -> str:
    """Return what an image says, as it can stand in one line; empty if it is no text."""
    return shown(given, 500) if isinstance(given, str) else ""
