"""What is said of how an image was made: inside of it, and in the statement beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import launcher
from launcher.builder.digest import sha256_of
from launcher.builder.lock.wanted import PROJECT
from launcher.builder.provenance.claim import LOCK, Verified
from launcher.builder.sbom import Contents
from launcher.builder.target import dotted

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILDER = f"pkg:pypi/firecrest-launcher@{launcher.__version__}"
"""Who builds: a package URL is a URI, as `builder.id` must be one."""
BUILD_TYPE = "pkg:pypi/firecrest-launcher#launcher/builder"


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
    return build_definition(
        {
            "recipe": contents.name,
            "version": contents.version,
            "arch": target.arch,
            "glibc": dotted(target.glibc),
            "python": dotted(target.python),
            **parameters,
        },
        [*_recipe(recipe, contents.locked), *_parts(contents)],
    )


def build_definition(
    parameters: Mapping[str, str | bool], dependencies: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return SLSA's `buildDefinition`.

    Args:
        parameters: What was asked for.
        dependencies: What it is made from: `name`, `digest`, and what else is known of each.
    """
    return {
        "buildType": BUILD_TYPE,
        "externalParameters": dict(parameters),
        "internalParameters": {"launcher": launcher.__version__},
        "resolvedDependencies": list(dependencies),
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
                    "glibc": dotted(verified.glibc) if verified.glibc else None,
                },
            },
        },
    }


def _recipe(files: Mapping[str, Path], locked: date) -> list[dict[str, Any]]:
    found = []
    for name, path in sorted(files.items()):
        one: dict[str, Any] = {"name": f"recipe/{name}", "digest": {"sha256": sha256_of(path)}}
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
            "name": PROJECT,
            "uri": f"pkg:pypi/{wheel.name}@{wheel.version}",
            "digest": {"sha256": wheel.sha256},
            "annotations": {"version": wheel.version},
        }
        for wheel in contents.wheels
        if wheel.name == PROJECT
    ]
    return found


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
