"""What container is to be built, and what was."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from launcher.builder.container.engine import Engine
from launcher.builder.container.recipe import ContainerRecipe
from launcher.builder.provenance import Verified


class ContainerOrder(NamedTuple):
    """What container is to be built.

    Attributes:
        recipe: Of what.
        engine: By what.
        arch: For which processors: one of `ARCHITECTURES`.
        base: The image that it begins with.
        tag: The name that it gets; without one, `localhost/NAME:VERSION`.
        push: Whether it is copied to the registry of that name.
        sqsh: Whether a squashfs file is made of it, too.
        output: The directory of its SBOM, its provenance and its squashfs file.
        code_server: The archive of code-server, or None for an image without.
        python: A standalone Python for the tools, which their recipe pins; None for the usual one.
        cache: The cache, or None for the usual one.
    """

    recipe: ContainerRecipe
    engine: Engine
    arch: str
    base: str
    tag: str | None = None
    push: bool = False
    sqsh: bool = False
    output: Path = Path()
    code_server: Path | None = None
    python: Path | None = None
    cache: Path | None = None


class BuiltContainer(NamedTuple):
    """A finished container.

    Attributes:
        name: Its name.
        version: Its version.
        arch: The processors that it is for.
        engine: What built it.
        image: The name that it has there.
        id: Its id.
        digest: The digest that it has in the registry, or None if it was not pushed.
        sqsh: Its squashfs file, or None.
        sbom: The file of its SBOM.
        provenance: The file that tells how it was made.
        base: The image that it was built on, with the digest.
        unchanged: Whether it was there already, made from the same.
        seconds: How long it took.
        verified: What `verify` saw.
    """

    name: str
    version: str
    arch: str
    engine: str
    image: str
    id: str
    digest: str | None
    sqsh: Path | None
    sbom: Path
    provenance: Path
    base: str
    unchanged: bool
    seconds: float
    verified: Verified

    def plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            **self._asdict(),
            "sqsh": str(self.sqsh) if self.sqsh else None,
            "sbom": str(self.sbom),
            "provenance": str(self.provenance),
            "seconds": round(self.seconds, 1),
            "verified": {"checks": self.verified.checks, "ran": self.verified.ran},
        }
