"""An environment definition file of the container engine, made from the cluster file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from launcher.clusters import Cluster, load_cluster
from launcher.clusters.environment import ContainerEnvironment, Definition
from launcher.errors import UsageError


class Edf(NamedTuple):
    """An environment definition file.

    Attributes:
        cluster: The cluster's name.
        environment: The id of the container among its environments.
        content: TOML.
    """

    cluster: str
    environment: str
    content: str

    @property
    def json(self) -> str:
        """It for programs."""
        return json.dumps({"kind": "edf", **self._asdict()}, indent=2, ensure_ascii=False) + "\n"


def edf(cluster_file: Path, environment: str) -> Edf:
    """Return the EDF of a container: TOML, https://docs.cscs.ch/software/container-engine/edf/.

    Args:
        cluster_file: The cluster file.
        environment: The id of the container among its environments.

    Raises:
        InvalidFile: If the cluster file has a mistake.
        UsageError: If there is no such container, or the file does not say what its EDF holds.
    """
    cluster = load_cluster(cluster_file)
    found = cluster.environment(environment)
    if not isinstance(found, ContainerEnvironment) or not found.definition:
        there = ", ".join(each.id for each in _defined(cluster))
        raise UsageError(
            f"{cluster.name} has no container {environment!r} with a definition.",
            why=f"There are {there}." if there else "No container of its cluster file has one.",
            todo="Say what it holds: environments.….definition in the cluster file.",
        )
    head = f"# The container {found.id} of {cluster.name}: from its cluster file, by `launcher export edf`."
    content = "\n".join([head, *_lines(found.definition)]) + "\n"
    return Edf(cluster.name, found.id, content)


def _defined(cluster: Cluster) -> Iterator[ContainerEnvironment]:
    for each in cluster.environments:
        if isinstance(each, ContainerEnvironment) and each.definition:
            yield each


def _lines(definition: Definition) -> Iterator[str]:
    if definition.base_environment:
        yield f"base_environment = {_value(definition.base_environment)}"
    yield f"image = {_value(definition.image)}"
    if definition.mounts:
        yield "mounts = ["
        yield from (f"    {_value(each)}," for each in definition.mounts)
        yield "]"
    if definition.workdir:
        yield f"workdir = {_value(definition.workdir)}"
    yield f"writable = {_value(definition.writable)}"
    yield f"entrypoint = {_value(definition.entrypoint)}"
    for table in ("env", "annotations"):
        values = getattr(definition, table)
        if values:
            yield from ("", f"[{table}]", *(f"{name} = {_value(value)}" for name, value in values.items()))


def _value(value: object) -> str:
    """Return a value as TOML has it, which escapes texts as JSON does: https://toml.io/en/v1.0.0#string."""
    return json.dumps(value, ensure_ascii=False)
