"""What a container consists of, as a software bill of materials: its tools, base, and what was added to that.

What the base holds has the property `firecrest-launcher:from` with the value `base`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from packageurl import PackageURL
from packaging.utils import canonicalize_name

from launcher.builder.container.base import Base
from launcher.builder.sbom import debian_package, properties, published, serialized
from launcher.builder.wheels import Wheel

_FROM = {"from": "base"}


class Parts(NamedTuple):
    """What a container is made of.

    Attributes:
        name: Its name.
        version: Its version.
        arch: Its processors.
        base: The name of its base, with a digest where there is one.
        held: What its base holds.
        tools: The bill of its tools.
        added: What was installed for the base's Python.
    """

    name: str
    version: str
    arch: str
    base: str
    held: Base
    tools: bytes
    added: Sequence[Wheel]


def bill(parts: Parts) -> bytes:
    """Describe what a container consists of; the same parts give the same bytes."""
    # Of what the library's own model says, its types know nothing.
    tools: Bom = Bom.from_json(json.loads(parts.tools))  # type: ignore[attr-defined]
    image = Component(
        type=ComponentType.CONTAINER,
        name=parts.name,
        version=parts.version,
        bom_ref=f"container:{parts.name}",
        properties=properties(arch=parts.arch),
    )
    base = Component(
        type=ComponentType.CONTAINER,
        name=parts.base,
        bom_ref=f"base:{parts.base}",
        properties=properties(**_FROM),
    )
    held = list(_held(parts.held))
    added = [_package(each.name, each.version, "kernel") for each in parts.added]
    own = tools.metadata.component
    assert own
    top = [own, base, *added]
    document = Bom(
        serial_number=uuid.UUID(int=0),
        metadata=BomMetaData(component=image, timestamp=tools.metadata.timestamp),
        components=[own, *tools.components, base, *held, *added],
        dependencies=[
            *tools.dependencies,
            Dependency(image.bom_ref, [Dependency(each.bom_ref) for each in top]),
            Dependency(base.bom_ref, [Dependency(each.bom_ref) for each in held]),
        ],
    )
    return serialized(document)


def _held(base: Base) -> Iterator[Component]:
    packages = base.kernel.packages if base.kernel else ()
    for component in (
        *(_apart(debian_package(each), "base") for each in base.debian),
        *(_package(canonicalize_name(name), version, "base") for name, version in packages),
    ):
        component.properties.update(properties(**_FROM))
        yield component


def _package(name: str, version: str, part: str) -> Component:
    return _apart(published(PackageURL("pypi", name=name, version=version), version), part)


def _apart(component: Component, part: str) -> Component:
    """Have a component that other parts may hold, too, under a name of its own."""
    component.bom_ref.value = f"{part}:{component.bom_ref.value}"
    return component
