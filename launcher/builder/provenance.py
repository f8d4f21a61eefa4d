"""How an image was made.

Inside of the image, `meta/provenance.json` holds what it was made from: the `buildDefinition` of SLSA's
provenance, without times, names of machines and versions of tools, so that the same inputs give the same
image everywhere. Beside the image a whole statement says this again, with the image's digest, times, tools,
and what `verify` saw: https://in-toto.io/Statement/v1, https://slsa.dev/spec/v1.0/provenance.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

import launcher
from launcher.builder.sbom import Contents
from launcher.errors import InvalidFile
from launcher.yaml_file import Problem, shown

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILDER = f"pkg:pypi/firecrest-launcher@{launcher.__version__}"
"""Who builds: a package URL is a URI, as `builder.id` must be one."""
BUILD_TYPE = "pkg:pypi/firecrest-launcher#launcher/builder"
LOCK = "recipe/requirements.txt"
"""How the lock is called among what an image is made from."""
LARGEST = 4 << 20
"""Bytes of a file about an image that are read."""

_PROJECT = "firecrest-launcher"


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


def inputs(
    contents: Contents, recipe: Mapping[str, Path], parameters: Mapping[str, str | bool]
) -> dict[str, Any]:
    """Return what an image is made from, all that decides its bytes but the program that packs them.

    Args:
        contents: What it consists of.
        recipe: The files of its recipe: path in `meta/recipe` → file.
        parameters: What else was chosen: `compression`, `gpu`.

    Raises:
        OSError: If the recipe can't be read.
    """
    target = contents.target
    return {
        "buildType": BUILD_TYPE,
        "externalParameters": {
            "recipe": contents.name,
            "version": contents.version,
            "arch": target.arch,
            "glibc": _dotted(target.glibc),
            "python": _dotted(target.python),
            **parameters,
        },
        "internalParameters": {"launcher": launcher.__version__},
        "resolvedDependencies": [*_recipe(recipe, contents.locked), *_parts(contents)],
    }


def key(definition: Mapping[str, Any]) -> str:
    """Return the build key: equal for equal inputs, 64 hexadecimal digits."""
    return hashlib.sha256(written(definition)).hexdigest()


def written(document: Mapping[str, Any]) -> bytes:
    """Return a document as it is written to a file: equal documents give equal bytes."""
    return f"{json.dumps(document, indent=1, sort_keys=True)}\n".encode()


def statement(
    name: str,
    sha256: str,
    definition: Mapping[str, Any],
    *,
    build_key: str,
    started: datetime,
    finished: datetime,
    tools: Mapping[str, str],
    verified: Verified,
) -> dict[str, Any]:
    """Return what is said beside an image.

    Args:
        name: The image's file.
        sha256: Its digest.
        definition: Its `inputs`.
        build_key: The key of the build, by which the next one knows that nothing has changed.
        started: When the build began, with its time zone.
        finished: When it ended.
        tools: Program → version of what took part; another `mksquashfs` may pack the same files otherwise.
        verified: What `verify` saw.
    """
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": sha256}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": dict(definition),
            "runDetails": {
                "builder": {"id": BUILDER, "version": dict(tools)},
                "metadata": {"startedOn": _time(started), "finishedOn": _time(finished)},
                "launcher_buildKey": build_key,
                "launcher_verified": {
                    "checks": verified.checks,
                    "ran": verified.ran,
                    "glibc": _dotted(verified.glibc) if verified.glibc else None,
                },
            },
        },
    }


def _recipe(files: Mapping[str, Path], locked: date) -> list[dict[str, Any]]:
    found = []
    for name, path in sorted(files.items()):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        one: dict[str, Any] = {"name": f"recipe/{name}", "digest": {"sha256": digest}}
        if one["name"] == LOCK:
            one["annotations"] = {"locked": locked.isoformat()}
        found.append(one)
    return found


def _parts(contents: Contents) -> list[dict[str, Any]]:
    """Return what is not pinned by the lock; all else it holds the digests of."""
    python = contents.python
    found: list[dict[str, Any]] = [
        {
            "name": "interpreter",
            "digest": {"tree": python.tree},
            "annotations": {"name": python.name, "version": python.version},
        }
    ]
    if contents.code_server:
        found.append(
            {
                "name": "code-server",
                "uri": f"pkg:github/coder/code-server@v{contents.code_server.version}",
                "digest": {"sha256": contents.code_server.sha256},
                "annotations": {"version": contents.code_server.version},
            }
        )
    found += [
        {
            "name": _PROJECT,
            "uri": f"pkg:pypi/{wheel.name}@{wheel.version}",
            "digest": {"sha256": wheel.sha256},
            "annotations": {"version": wheel.version},
        }
        for wheel in contents.wheels
        if wheel.name == _PROJECT
    ]
    return found


def _dotted(version: tuple[int, int]) -> str:
    return "{}.{}".format(*version)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# What is read back: these files may be anybody's.

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
    checks: int
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


class Claim(NamedTuple):
    """What the file beside an image says of it.

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
