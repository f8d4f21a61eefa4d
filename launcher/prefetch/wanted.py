"""Which images a cluster file names."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from launcher.clusters import Cluster
from launcher.clusters.environment import ContainerEnvironment, Environment, UenvEnvironment
from launcher.errors import UsageError

TOOLS = "tools"
"""What the tools image is for, beside environments."""


class Kind(StrEnum):
    """How an image is named: a uenv's label, the path of a file, or a container's EDF."""

    LABEL = "label"
    FILE = "file"
    EDF = "edf"


@dataclass(frozen=True)
class Wanted:
    """An image that a cluster file names.

    Attributes:
        image: Its label, path or EDF.
        kind: Which of them that is.
        used_by: Ids of the environments that it is for; `tools` for the tools image.
    """

    image: str
    kind: Kind
    used_by: tuple[str, ...]


def wanted(cluster: Cluster, only: Collection[str] = ()) -> list[Wanted]:
    """Return the images of a cluster file, each once, those that users name themselves left out.

    Args:
        cluster: The cluster file.
        only: Ids of environments; without one all count.

    Raises:
        UsageError: If there is no such environment.
    """
    for name in only:
        if cluster.environment(name) is None:
            ids = ", ".join(each.id for each in cluster.environments)
            raise UsageError(f"{cluster.name} has no environment {name}.", todo=f"There are {ids}.")
    found: dict[tuple[str, Kind], list[str]] = {}
    for environment in cluster.environments:
        if only and environment.id not in only:
            continue
        if _needs_tools(cluster, environment) and cluster.tools:
            found.setdefault((cluster.tools.image, _kind(cluster.tools.image)), [TOOLS])
        if isinstance(environment, UenvEnvironment) and environment.image:
            found.setdefault((environment.image, _kind(environment.image)), []).append(environment.id)
        elif isinstance(environment, ContainerEnvironment) and environment.edf:
            found.setdefault((environment.edf, Kind.EDF), []).append(environment.id)
    return [Wanted(image, kind, tuple(used_by)) for (image, kind), used_by in found.items()]


def _needs_tools(cluster: Cluster, environment: Environment) -> bool:
    return bool(
        cluster.tools and not isinstance(environment, ContainerEnvironment) and environment.launcher is None
    )


def _kind(image: str) -> Kind:
    return Kind.FILE if image.startswith("/") else Kind.LABEL
