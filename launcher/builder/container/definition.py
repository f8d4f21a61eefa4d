"""What a container is made from, for its provenance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from packageurl import PackageURL

from launcher.builder import provenance
from launcher.builder.container.context import KERNEL
from launcher.builder.container.order import ContainerOrder
from launcher.builder.container.recipe import INSTALLER, containers_directory
from launcher.builder.digest import sha256_of
from launcher.builder.order import Built
from launcher.builder.wheels import Wheel


def definition(order: ContainerOrder, tools: Built, base: str, image: str) -> dict[str, Any]:
    """Return what decides the bytes of a container, but for what the base's Python lacks.

    Args:
        order: What is to be built.
        tools: The image of its tools.
        base: Name and digest of its base.
        image: The id of that.

    Raises:
        OSError: If the recipe can't be read.
    """
    claim = provenance.read(provenance.beside(tools.image, "provenance")).definition.parameters
    files = {f"container/{name}": path for name, path in order.recipe.files.items()}
    files[f"container/{INSTALLER}"] = containers_directory() / INSTALLER
    return provenance.build_definition(
        {
            "recipe": order.recipe.container.name,
            "version": tools.version,
            "arch": order.arch,
            "glibc": claim.glibc,
            "python": claim.python,
            "base": base,
            "mount": order.recipe.tools.image.mount,
        },
        [
            {"name": "base", "uri": _purl(base), "digest": {"sha256": image}},
            {"name": "tools", "digest": {"sha256": tools.sha256}, "annotations": {"version": tools.version}},
            *({"name": name, "digest": {"sha256": sha256_of(path)}} for name, path in sorted(files.items())),
        ],
    )


def with_added(definition: Mapping[str, Any], added: Iterable[Wheel]) -> dict[str, Any]:
    """Return a definition with what was installed for the base's Python."""
    more = [{"name": f"{KERNEL}/{each.path.name}", "digest": {"sha256": each.sha256}} for each in added]
    return {**definition, "resolvedDependencies": [*definition["resolvedDependencies"], *more]}


def _purl(base: str) -> str:
    """Return a package URL: https://github.com/package-url/purl-spec/blob/main/types-doc/oci-definition.md."""
    named, _, digest = base.partition("@")
    repository, colon, tag = named.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = named, ""
    qualifiers = {"repository_url": repository, **({"tag": tag} if tag else {})}
    return PackageURL(
        "oci", name=repository.rpartition("/")[2], version=digest or None, qualifiers=qualifiers
    ).to_string()
