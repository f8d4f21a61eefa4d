"""`interpreters.yaml`: the Pythons that a recipe's images are made with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from launcher.errors import UsageError
from launcher.yaml_file import Part, Place, Source, Words, checked

FILE = "interpreters.yaml"

_SHA256 = r"^[0-9a-f]{64}$"
_VERSION = r"^3\.[0-9]{1,2}\.[0-9]{1,2}$"
_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$"
_PACKAGE = r"^[a-z0-9][a-z0-9+.-]+$"
_PACKAGE_VERSION = r"^[A-Za-z0-9.+:~-]+$"

Sha256 = Annotated[str, StringConstraints(pattern=_SHA256)]
Name = Annotated[str, StringConstraints(pattern=_NAME)]


class Debian(Part):
    """A Python from Debian's packages."""

    release: Name
    """Debian's release: `bookworm`."""
    patchelf: Name
    """The version of the program that makes Python find its libraries; each writes other bytes."""
    packages: dict[
        Annotated[str, StringConstraints(pattern=_PACKAGE)],
        Annotated[str, StringConstraints(pattern=_PACKAGE_VERSION)],
    ] = Field(min_length=1)
    """Package → exact version."""


class Pin(Part):
    """A Python, and where it comes from."""

    arch: Literal["x86_64", "aarch64"]
    """The processors that it runs on, as `uname -m` names them."""
    python: Annotated[str, StringConstraints(pattern=_VERSION)]
    """Its version."""
    tree: Sha256
    """Hash of the tree that is made of it."""
    debian: Debian | None = None
    """Debian's packages."""
    archive: Name | None = None
    """A standalone build: the name of its file, which is given to the build."""
    sha256: Sha256 | None = None
    """The archive's digest."""

    @property
    def minor(self) -> str:
        """Its version without the last part: `3.11`."""
        return self.python.rpartition(".")[0]

    @property
    def name(self) -> str:
        """Where it comes from, in one line."""
        return self.archive or f"Debian {self.debian.release if self.debian else ''}".strip()

    def relations(self) -> Iterator[tuple[Place, str]]:
        """Check that it says where the Python comes from, once."""
        if (self.debian is None) == (self.archive is None):
            yield (), "needs either debian or archive"
        if (self.archive is None) != (self.sha256 is None):
            yield ("sha256",), "belongs to archive: give both or none"


class Pins(Part):
    """What `interpreters.yaml` says."""

    interpreters: tuple[Pin, ...] = Field(min_length=1)
    """The Pythons; of those for the same processors the first one is the usual."""


_WORDS = Words(
    Pins,
    {
        _SHA256: "64 hexadecimal digits in small letters",
        _VERSION: "a full version, such as 3.11.2",
        _NAME: "letters, digits, '_', '.', '+' and '-'",
        _PACKAGE: "the name of a Debian package",
        _PACKAGE_VERSION: "the version of a Debian package",
    },
)


def read(path: Path) -> tuple[Pin, ...]:
    """Read an `interpreters.yaml`.

    Raises:
        InvalidFile: With every problem.
    """
    return checked(Source(path), Pins, _WORDS).interpreters


def usual(path: Path, arch: str) -> Pin:
    """Return the usual Python for processors.

    Raises:
        InvalidFile: If the file has mistakes.
        UsageError: If there is none.
    """
    fitting = [pin for pin in read(path) if pin.arch == arch]
    if not fitting:
        raise UsageError(f"{path} names no Python for {arch}.", todo="Add one.")
    return fitting[0]
