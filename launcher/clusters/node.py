"""Where the servers of compute nodes are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from launcher.clusters.values import Interface, NamePattern, Network
from launcher.yaml_file.part import Part, Place


class NodeAddresses(Part):
    """Where servers are: they listen, and the proxy is led, nowhere else."""

    networks: tuple[Network, ...] = ()
    """Networks of the compute nodes; the first that a node has an address in is taken."""
    names: tuple[NamePattern, ...] = ()
    """Patterns of the nodes' names as the proxy resolves them; `*` stands for letters, digits and `-`."""
    interface: Interface | None = None
    """The network interface whose address a server listens on."""

    def relations(self) -> Iterator[tuple[Place, str]]:
        """Check that networks or names are given, one of them only, and that they leave something out."""
        for position, network in enumerate(self.networks):
            if network.prefixlen == 0:
                yield ("networks", position), "allows every address"
        if not self.networks and not self.names:
            yield (), "networks or names are needed"
        if self.networks and self.names:
            yield ("names",), "networks are given: a server reports its address, not its name"
        for position, pattern in enumerate(self.names):
            if not pattern.strip("*.-"):
                yield ("names", position), "allows every name that the proxy knows, its own among them"

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, given: Any) -> Any:
        return {"networks": given} if isinstance(given, list | tuple) else given

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the schema of a list of networks and of the whole mapping."""
        whole = handler.resolve_ref_schema(handler(core))
        network = whole["properties"]["networks"]["items"]
        several = {"type": "array", "items": network, "minItems": 1}
        # No descriptions: an editor would show them instead of the key's own.
        del whole["description"]
        return {
            "anyOf": [
                {**several, "title": "Networks of the compute nodes"},
                {**whole, "title": "Networks or names of the compute nodes, and an interface"},
            ],
        }
