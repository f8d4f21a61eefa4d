"""What an image consists of, as a software bill of materials: CycloneDX 1.6, https://cyclonedx.org/specification/."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from email.message import Message
from typing import Any, NamedTuple

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.utils import canonicalize_name

from launcher.builder.lock.text import environment_of
from launcher.builder.target import Target, dotted
from launcher.builder.wheels import Wheel, metadata_of, requirements_of
from launcher.yaml_file import shown

_LONGEST_NAME = 60
"""Of a licence in the field that older metadata have for it; longer ones are the licence's text."""
_PREFIX = "firecrest-launcher:"
"""Of the names of our own properties."""


class DebianPackage(NamedTuple):
    """A package of Debian that a part of the image is from: its name, version and architecture there."""

    name: str
    version: str
    arch: str


class Python(NamedTuple):
    """The image's interpreter.

    Attributes:
        name: Where it comes from, in one line.
        version: Its full version, `3.11.2`.
        tree: Its tree hash.
        packages: The packages of Debian it was made of, if it was.
    """

    name: str
    version: str
    tree: str
    packages: tuple[DebianPackage, ...] = ()


class CodeServer(NamedTuple):
    """The release of code-server in the image, and the SHA-256 of its archive in hexadecimal digits."""

    version: str
    sha256: str


class Contents(NamedTuple):
    """What an image is made from.

    Attributes:
        name: The image's name.
        version: Its version.
        locked: The date of the lock.
        target: What it is built for.
        wheels: What is installed, this project included.
        python: Its interpreter.
        code_server: Its code-server, if it holds one.
    """

    name: str
    version: str
    locked: date
    target: Target
    wheels: Sequence[Wheel]
    python: Python
    code_server: CodeServer | None = None


def sbom(contents: Contents) -> bytes:
    """Describe what an image consists of.

    The same contents give the same bytes: the serial number is made from them, and the time is the lock's.

    Raises:
        BuildFailed: If a wheel holds no metadata, or if they say what can't be understood.
    """
    target = contents.target
    image = Component(
        type=ComponentType.CONTAINER,
        name=contents.name,
        version=contents.version,
        bom_ref=f"image:{contents.name}",
        properties=properties(
            arch=target.arch,
            glibc=dotted(target.glibc),
            python=dotted(target.python),
        ),
    )
    packages = {wheel.name: _package(wheel) for wheel in contents.wheels}
    python = _python(contents.python)
    origins = [debian_package(each) for each in contents.python.packages]
    others = [python]
    if contents.code_server:
        others.append(_code_server(contents.code_server))
    edges = _edges(contents.wheels, environment_of(target.arch, contents.python.version))
    needed = set().union(*edges.values())
    top = [*others, *(each for name, each in packages.items() if name not in needed)]
    dependencies = [
        _dependency(image, top),
        _dependency(python, origins),
        *(_dependency(packages[name], [packages[each] for each in own]) for name, own in edges.items()),
    ]
    bom = Bom(
        serial_number=uuid.UUID(int=0),
        metadata=BomMetaData(
            component=image,
            timestamp=datetime.combine(contents.locked, time(), UTC),
        ),
        components=[*packages.values(), *others, *origins],
        dependencies=dependencies,
    )
    return serialized(bom)


def versions(document: Any) -> dict[str, str]:
    """Return name → version of the Python packages and of code-server in a bill of materials.

    Args:
        document: The bill, which may be anybody's.
    """
    given = document.get("components") if isinstance(document, dict) else None
    found = {}
    for each in given if isinstance(given, list) else ():
        purl = each.get("purl") if isinstance(each, dict) else None
        if isinstance(purl, str) and purl.startswith(("pkg:pypi/", "pkg:github/coder/code-server@")):
            name, version = (shown(str(each.get(key, "")), 200) for key in ("name", "version"))
            found[str(canonicalize_name(name))] = version
    return found


def serialized(bom: Bom) -> bytes:
    """Write a bill in an order of our own, so that it does not depend on the library's release."""
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    del document["serialNumber"]
    serial = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(document, sort_keys=True))
    document["serialNumber"] = serial.urn
    return f"{json.dumps(document, indent=1, sort_keys=True)}\n".encode()


def _package(wheel: Wheel) -> Component:
    metadata = metadata_of(wheel)
    return published(
        PackageURL("pypi", name=wheel.name, version=wheel.version),
        wheel.version,
        description=_one_line(metadata.get("Summary")),
        licenses=_licenses(metadata),
        hashes=_sha256(wheel.sha256),
    )


def _python(python: Python) -> Component:
    return Component(
        type=ComponentType.PLATFORM,
        name="python",
        version=python.version,
        bom_ref=f"python@{python.version}",
        properties=properties(interpreter=python.name, tree=python.tree),
    )


def debian_package(package: DebianPackage) -> Component:
    """Describe a package of Debian."""
    purl = PackageURL("deb", "debian", package.name, package.version, {"arch": package.arch})
    return published(purl, package.version)


def _code_server(code_server: CodeServer) -> Component:
    return published(
        PackageURL("github", "coder", "code-server", f"v{code_server.version}"),
        code_server.version,
        type=ComponentType.APPLICATION,
        hashes=_sha256(code_server.sha256),
    )


def published(purl: PackageURL, version: str, **facts: Any) -> Component:
    """Describe what has a package URL."""
    return Component(name=purl.name, version=version, purl=purl, bom_ref=purl.to_string(), **facts)


def _sha256(digest: str) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=digest)]


def properties(**values: str) -> list[Property]:
    """Return properties of our own."""
    return [Property(name=f"{_PREFIX}{name}", value=value) for name, value in values.items()]


def _licenses(metadata: Message) -> list[License]:
    """Return the licences: an SPDX expression where there is one, else names."""
    factory = LicenseFactory()
    for field in ("License-Expression", "License"):
        given = (metadata.get(field) or "").strip()
        if given and given != "UNKNOWN" and "\n" not in given and len(given) <= _LONGEST_NAME:
            return [factory.make_from_string(given)]
        if given and field == "License-Expression":
            return [factory.make_from_string(_one_line(given))]
    classifiers = [each.split(" :: ") for each in metadata.get_all("Classifier", [])]
    names = {each[-1] for each in classifiers if each[0] == "License" and each[-1] != "OSI Approved"}
    return [factory.make_with_name(name) for name in sorted(names)]


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _edges(wheels: Sequence[Wheel], environment: dict[str, str]) -> dict[str, list[str]]:
    """Return package → the packages of the image that it needs, with the extras that others ask of it."""
    requirements = {wheel.name: requirements_of(wheel) for wheel in wheels}
    extras: dict[str, set[str]] = {name: {""} for name in requirements}
    edges: dict[str, set[str]] = {name: set() for name in requirements}
    waiting = list(requirements)
    while waiting:
        name = waiting.pop()
        for requirement in requirements[name]:
            needed = str(canonicalize_name(requirement.name))
            marker = requirement.marker
            if needed not in requirements or (
                marker and not any(marker.evaluate({**environment, "extra": extra}) for extra in extras[name])
            ):
                continue
            edges[name].add(needed)
            if not requirement.extras <= extras[needed]:
                extras[needed] |= requirement.extras
                waiting.append(needed)
    return {name: sorted(own - {name}) for name, own in edges.items()}


def _dependency(of: Component, needed: Iterable[Component]) -> Dependency:
    return Dependency(of.bom_ref, [Dependency(each.bom_ref) for each in needed])
