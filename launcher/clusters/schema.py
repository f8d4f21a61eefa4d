"""The JSON Schema of cluster files: what editors complete, explain and underline."""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from launcher.clusters.model import Cluster
from launcher.clusters.values import ALLOWED

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Schema(GenerateJsonSchema):
    """Pydantic's schema without what it makes up, and with what an editor's reader wants to know."""

    schema_dialect = DIALECT

    def generate(self, schema: CoreSchema, mode: JsonSchemaMode = "validation") -> JsonSchemaValue:
        """Return the whole schema, each description in one paragraph."""
        whole: JsonSchemaValue = _plain(super().generate(schema, mode))
        whole = {"$schema": DIALECT, "title": "Cluster file", **whole}
        return {name: value for name, value in whole.items() if name != "$defs"} | {"$defs": whole["$defs"]}

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Give no titles: they would only repeat the keys."""
        del schema
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Leave out a class's name."""
        found = super().model_schema(schema)
        return {name: value for name, value in found.items() if name != "title"}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Give a default as an author would write it, and none where a key may be absent."""
        found = super().default_schema(schema)
        default = _short(found.pop("default", None))
        return found if default in (None, [], {}, "") else {**found, "default": default}

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """Leave out OpenAPI's `discriminator`: `const` says the same."""
        found = super().tagged_union_schema(schema)
        return {name: value for name, value in found.items() if name != "discriminator"}

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Write a type that may be absent as one schema, so that an editor names one mistake."""
        inner = self.generate_inner(schema["schema"])
        if "anyOf" in inner:
            return {**inner, "anyOf": [*inner["anyOf"], {"type": "null"}]}
        if isinstance(inner.get("type"), str) and not {"enum", "const"} & inner.keys():
            return {**inner, "type": [inner["type"], "null"]}
        return {"anyOf": [inner, {"type": "null"}]}


def cluster_schema() -> dict[str, Any]:
    """Return the JSON Schema of a cluster file, of draft 2020-12.

    What it refuses the model refuses, too. The model knows more: relations between keys.
    """
    return Cluster.model_json_schema(schema_generator=_Schema)


def schema_text() -> str:
    """Return the JSON Schema as `cluster.schema.json` holds it."""
    return json.dumps(cluster_schema(), indent=2, ensure_ascii=False) + "\n"


def _plain(node: Any) -> Any:
    """Put descriptions into one paragraph, and add in words what a pattern allows."""
    if isinstance(node, list):
        return [_plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    found = {name: _plain(value) for name, value in node.items()}
    if isinstance(found.get("description"), str):
        found["description"] = " ".join(found["description"].split())
    if isinstance(found.get("pattern"), str):
        # Not of the standard; the language servers for YAML and JSON show it instead of the pattern.
        found["patternErrorMessage"] = f"Must be {ALLOWED[found['pattern']]}."
    if "patternProperties" in found:
        found["additionalProperties"] = False
    return found


def _short(default: Any) -> Any:
    """Return a default without what is empty, and a choice in its short form."""
    if isinstance(default, list):
        return [_short(each) for each in default]
    if not isinstance(default, dict):
        return default
    found = {name: _short(value) for name, value in default.items()}
    found = {name: value for name, value in found.items() if value not in (None, [], "")}
    if set(found) != {"choices"}:
        return found
    return found["choices"][0] if len(found["choices"]) == 1 else found["choices"]
