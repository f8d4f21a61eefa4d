"""The reference of cluster files, in Markdown: every key with its values, its default and its meaning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

from launcher.clusters.schema import cluster_schema
from launcher.clusters.values import ALLOWED, HomePath, Line, NodePath, Shell, UserPath, Word

SMALLEST = """\
name: mycluster
firecrest: {url: "https://firecrest.example.org/v2", system: mycluster}
home: /users/{user}
launcher: /opt/launcher/bin/launcher-singleuser
partitions: [{name: normal, time_limit: 1440}]
node_addresses: [10.0.0.0/16]
"""
"""A cluster file with nothing in it that could be left out."""

GROUPS: dict[str, tuple[str, ...]] = {
    "Identity": ("name", "title", "description", "firecrest", "architecture", "glibc"),
    "Directories": ("home", "scratch", "start_directory"),
    "Partitions and times": ("partitions", "times", "max_nodes"),
    "What a job asks for": (
        "accounts",
        "constraint",
        "qos",
        "reservation",
        "own_reservation",
        "gpus",
        "gres",
        "cpus",
        "memory",
        "directives",
    ),
    "Environments": ("environments", "tools", "uenv", "launcher"),
    "Batch script": ("template", "prologue", "epilogue"),
    "Nodes": ("node_addresses", "ports", "hub_ca", "claim_timeout"),
    "Session": ("vscode", "proxy", "idle", "warnings", "end_warning", "links"),
    "Notices": ("announcements", "maintenance"),
}
"""Heading → the keys below it; each key of a cluster file stands under one."""

_INTRODUCTION = f"""\
# Keys of a cluster file

This page is made from the model that checks cluster files: `launcher schema --docs` prints it.

A cluster file is one YAML mapping, `<name>.yaml`. The smallest useful one:

```yaml
{SMALLEST}```

[`example.yaml`](../../batch_templates/clusters/example.yaml) uses every key. With this first line an editor
that has the YAML language server completes keys, shows their meaning and underlines mistakes;
`launcher schema` prints the schema:

```yaml
# yaml-language-server: $schema=../cluster.schema.json
```

A key that is not *needed* may be left out. Lengths of time are in minutes unless a key says seconds.

## Values

Where a value is *one or several*, it may be written in three ways:

```yaml
gpus: 4                                  # one value: users have no choice
gpus: [1, 2, 4]                          # users choose; the first is chosen at first
gpus: {{choices: [1, 2, 4], default: 4}}   # users choose; 4 is chosen at first
```
"""

_KINDS = {
    get_args(kind)[1].pattern: name
    for name, kind in {
        "name": Word,
        "line": Line,
        "path": NodePath,
        "path for users": UserPath,
        "path of homes": HomePath,
        "Bash": Shell,
    }.items()
}
"""Pattern → what the tables call it."""

_Schema = dict[str, Any]


def reference() -> str:
    """Return the page; the same model gives the same text."""
    kinds = (f"| *{name}* | {_cell(ALLOWED[pattern])} |" for pattern, name in _KINDS.items())
    values = ("| value | what it may be |", "|---|---|", *kinds)
    return "\n".join((_INTRODUCTION, *values, *_Page(cluster_schema()).lines(), ""))


class _Page:
    """The part of the page that follows the schema."""

    def __init__(self, schema: _Schema) -> None:
        self._schema = schema

    def lines(self) -> Iterator[str]:
        """Yield a section for each group, with a table for each mapping in it."""
        for title, keys in GROUPS.items():
            yield from ("", f"## {title}", "")
            yield from self._table(self._schema, keys)
            for key in keys:
                yield from self._inner(key, self._schema["properties"][key])

    def _table(self, whole: _Schema, keys: tuple[str, ...]) -> Iterator[str]:
        yield from ("| key | value | default | meaning |", "|---|---|---|---|")
        for key in keys:
            yield from self._rows(key, whole, key)

    def _rows(self, key: str, whole: _Schema, path: str) -> Iterator[str]:
        schema = whole["properties"][key]
        default = "*needed*" if key in whole.get("required", ()) else _shown(schema.get("default"))
        cells = (f"`{path}`", self._words(schema), default, schema["description"])
        yield f"| {' | '.join(_cell(each) for each in cells)} |"
        if "." in path or whole is not self._schema:
            for inner in self._mapping(schema).get("properties", ()):
                yield from self._rows(inner, self._mapping(schema), f"{path}.{inner}")

    def _inner(self, key: str, schema: _Schema) -> Iterator[str]:
        """Yield a table for each kind of mapping that the value of a top-level key may hold."""
        for mapping in self._mappings(schema):
            if set(mapping["properties"]) == {"choices", "default"}:
                continue
            kind = mapping["properties"].get("kind", {}).get("const")
            heading = f"`{key}`, kind `{kind}`" if kind else f"`{key}`"
            yield from ("", f"### {heading}", "", mapping.get("description") or f"{mapping['title']}.", "")
            yield from self._table(mapping, tuple(mapping["properties"]))

    def _resolved(self, schema: _Schema) -> _Schema:
        name = schema.get("$ref", "").removeprefix("#/$defs/")
        return self._schema["$defs"][name] if name else schema

    def _parts(self, schema: _Schema) -> list[_Schema]:
        """Return the schemas of which a value must meet one, without that of no value."""
        whole = self._resolved(schema)
        several = whole.get("anyOf") or whole.get("oneOf")
        if not several:
            return [whole]
        return [part for each in several for part in self._parts(each) if part.get("type") != "null"]

    def _mappings(self, schema: _Schema) -> list[_Schema]:
        found = []
        for part in self._parts(schema):
            if "properties" in part:
                found.append(part)
            elif "items" in part:
                found += self._mappings(part["items"])
        return found

    def _mapping(self, schema: _Schema) -> _Schema:
        return next((part for part in self._parts(schema) if "properties" in part), {})

    def _words(self, schema: _Schema) -> str:
        """Return in words what a value may be."""
        parts = self._parts(schema)
        choice = next((part for part in parts if "choices" in part.get("properties", ())), None)
        if choice:
            words = f"one or several: {self._words(choice['properties']['choices']['items'])}"
            if "const" in parts[0]:
                words = f"{self._words(parts[0])}; or {words}"
            return words if len(choice["properties"]) == 2 else f"{words}; or a mapping, below"
        return "; or ".join(self._word(part) for part in parts)

    def _word(self, schema: _Schema) -> str:
        if "const" in schema or "enum" in schema:
            return _or([f"`{value}`" for value in schema.get("enum", [schema.get("const")])])
        if "properties" in schema:
            return "a mapping, below"
        if "patternProperties" in schema:
            ((name, value),) = schema["patternProperties"].items()
            return f"a mapping: {ALLOWED[name]} → {self._words(value)}"
        if "prefixItems" in schema:
            return f"a list of two: {self._words(schema['prefixItems'][0])}"
        if "items" in schema:
            several = self._mappings(schema["items"])
            return "a list of mappings, below" if several else f"a list: {self._words(schema['items'])}"
        if schema.get("pattern") in _KINDS:
            return f"*{_KINDS[schema['pattern']]}*"
        if "pattern" in schema:
            return str(schema["patternErrorMessage"]).removeprefix("Must be ").removesuffix(".")
        if "format" in schema:
            return {"uri": "a URL", "date-time": "a time with a zone"}[schema["format"]]
        if "minimum" in schema:
            return f"a number, {schema['minimum']} to {schema['maximum']}"
        return "`true` or `false`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _or(words: list[str]) -> str:
    return " or ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else words[0]


def _shown(default: Any) -> str:
    if default is None:
        return ""
    return f"`{default}`" if isinstance(default, str) else f"`{_flow(default)}`"


def _flow(value: Any) -> str:
    """Return a value as YAML writes it on one line."""
    if isinstance(value, list):
        return f"[{', '.join(_flow(each) for each in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_flow(each)}' for name, each in value.items())}}}"
    return value if isinstance(value, str) else json.dumps(value)
