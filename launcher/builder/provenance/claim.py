"""What is read back of how an image was made. These files may be anybody's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from launcher.errors import InvalidFile
from launcher.yaml_file import Problem, shown

LOCK = "recipe/requirements.txt"
"""How the lock is called among what an image is made from."""
LARGEST = 4 << 20
"""Bytes of a file about an image that are read."""

_Word = Annotated[str, StringConstraints(pattern=r"^[ -~]{1,100}$")]
_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Version = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,3}\.[0-9]{1,3}$")]


class _Read(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class _Parameters(_Read):
    recipe: _Word
    arch: _Word
    glibc: _Version
    python: _Version
    compression: _Word | None = None
    gpu: bool | None = None


class _Dependency(_Read):
    name: Annotated[str, StringConstraints(max_length=1000)]
    digest: dict[_Word, _Digest]
    annotations: dict[_Word, _Word] = {}


class Definition(_Read):
    """What an image was made from, by what it says itself.

    Attributes:
        parameters: The recipe's name, and for what it was built.
        dependencies: What it was made from.
    """

    build_type: Literal["pkg:pypi/firecrest-launcher#launcher/builder"] = Field(alias="buildType")
    parameters: _Parameters = Field(alias="externalParameters")
    dependencies: list[_Dependency] = Field(alias="resolvedDependencies", max_length=1000)

    def said(self, name: str, annotation: str) -> str | None:
        """Return what is said of something that it was made from: of `interpreter` its `version`."""
        return next(
            (each.annotations.get(annotation) for each in self.dependencies if each.name == name), None
        )


class _Subject(_Read):
    class _Sha256(_Read):
        sha256: _Digest

    name: Annotated[str, StringConstraints(max_length=255)]
    digest: _Sha256


class _Verified(_Read):
    checks: Annotated[int, Field(ge=0, le=10_000)]
    ran: bool
    glibc: _Version | None


class _RunDetails(_Read):
    build_key: _Digest = Field(alias="launcher_buildKey")
    verified: _Verified = Field(alias="launcher_verified")


class _Predicate(_Read):
    definition: Definition = Field(alias="buildDefinition")
    run: _RunDetails = Field(alias="runDetails")


class _Statement(_Read):
    kind: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    predicate_kind: Literal["https://slsa.dev/provenance/v1"] = Field(alias="predicateType")
    subject: list[_Subject] = Field(min_length=1, max_length=1)
    predicate: _Predicate


class Verified(NamedTuple):
    """What `verify` saw of an image that passed.

    Attributes:
        checks: How many checks held.
        ran: Whether the image's programs could be run.
        glibc: The highest version of a GLIBC symbol in it, if it needs any.
    """

    checks: int
    ran: bool
    glibc: tuple[int, int] | None = None


class Claim(NamedTuple):
    """What the file beside an image says of it; anybody could have written that.

    Attributes:
        build_key: The key of its build.
        sha256: The digest that the image has, if the file speaks of it.
        definition: What it was made from.
        verified: What `verify` saw.
    """

    build_key: str
    sha256: str
    definition: Definition
    verified: Verified


def beside(image: Path, kind: str) -> Path:
    """Return the file beside an image that tells of it: `sbom.cdx` or `provenance`."""
    return image.with_name(f"{image.name.removesuffix('.squashfs')}.{kind}.json")


def read(path: Path) -> Claim:
    """Read a statement beside an image.

    Raises:
        OSError: If it can't be read.
        InvalidFile: If it is not one that `statement` makes.
    """
    # Who opens a FIFO may wait for ever.
    if path.exists() and not path.is_file():
        raise InvalidFile([Problem("is no regular file", file=path)])
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    try:
        if len(content) > LARGEST:
            raise InvalidFile([Problem(f"is larger than {LARGEST >> 20} MB", file=path)])
        given = _Statement.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        text = shown(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", 200)
        raise InvalidFile([Problem(f"is no provenance of an image: {text}", file=path)]) from None
    run = given.predicate.run
    glibc = _numbers(run.verified.glibc) if run.verified.glibc else None
    return Claim(
        run.build_key,
        given.subject[0].digest.sha256,
        given.predicate.definition,
        Verified(run.verified.checks, run.verified.ran, glibc),
    )


def read_inputs(content: bytes) -> Definition | None:
    """Read `meta/provenance.json` of an image; None if it is not one that `inputs` makes."""
    try:
        return Definition.model_validate_json(content)
    except ValidationError:
        return None


def _numbers(version: str) -> tuple[int, int]:
    major, minor = version.split(".")
    return int(major), int(minor)
