"""What is to be built, and what was."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from launcher.builder.provenance import Verified, beside
from launcher.builder.recipe import Recipe
from launcher.builder.target import dotted
from launcher.errors import UsageError


class Spack(NamedTuple):
    """How an installed Stackinator is to build an image.

    Attributes:
        uarch: The kind of nodes, as the recipe's `uarchs.yaml` names it.
        version: The version of the recipe's format.
        system: The cluster's configuration for Stackinator.
        directory: Where Spack works.
    """

    uarch: str
    version: int
    system: Path
    directory: Path


class Order(NamedTuple):
    """What is to be built.

    Attributes:
        recipe: Of what.
        arch: For which processors: one of `ARCHITECTURES`.
        glibc: For which C library.
        gpu: Whether for machines with GPUs.
        output: The image's file, or the directory in which it gets a name of its own.
        python: A standalone Python that the recipe pins: an archive or a directory; None for the usual one.
        code_server: The archive of code-server, or None for an image without.
        cache: The cache, or None for the usual one.
        spack: For a Python from Spack; None for a pinned one.
    """

    recipe: Recipe
    arch: str
    glibc: tuple[int, int]
    gpu: bool = False
    output: Path = Path()
    python: Path | None = None
    code_server: Path | None = None
    cache: Path | None = None
    spack: Spack | None = None


def output_directory(given: Path) -> Path:
    """Return the absolute path of the directory for what is built.

    Raises:
        UsageError: If it is not there.
    """
    if not given.is_dir():
        raise UsageError(f"There is no directory {given}.", todo="Make it, or name another: --output")
    return given.absolute()


class Built(NamedTuple):
    """A finished image.

    Attributes:
        image: The file; beside it lie its SBOM and its provenance.
        name: The name that it gives itself.
        version: Its version.
        arch: The processors that it is for.
        sha256: Its digest.
        size: Its size, in bytes.
        unchanged: Whether it was there already, made from the same.
        seconds: How long it took.
        verified: What `verify` saw.
    """

    image: Path
    name: str
    version: str
    arch: str
    sha256: str
    size: int
    unchanged: bool
    seconds: float
    verified: Verified

    def plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        glibc = dotted(self.verified.glibc) if self.verified.glibc else None
        return {
            **self._asdict(),
            "image": str(self.image),
            "sbom": str(beside(self.image, "sbom.cdx")),
            "provenance": str(beside(self.image, "provenance")),
            "seconds": round(self.seconds, 1),
            "verified": {**self.verified._asdict(), "glibc": glibc},
        }
