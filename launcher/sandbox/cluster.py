"""The cluster file of the sandbox: its own, or one of a site that somebody tries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from launcher.clusters import ClusterFile
from launcher.clusters.check import load_checked
from launcher.clusters.model import Cluster
from launcher.clusters.template import template_directory

_LEFT_OUT = (
    *("tools", "uenv", "constraint", "reservation", "own_reservation", "qos"),
    *("gres", "gpus", "cpus", "memory", "directives", "ports"),
)
_LEFT_OUT_OF_PARTITIONS = ("constraint", "reservation", "qos", "max_gpus")
_HOST_KEYS = ("id", "title", "hint", "prologue")
NODES = 2


class SandboxCluster:
    """A cluster file as the sandbox can run it.

    This machine has no uenv, no container engine and no GPU: every environment runs on the host, and what
    asks Slurm for more than time and nodes is left out. All else is used as it stands.

    Args:
        path: The cluster file; without one the sandbox's own.
        changes: Keys that get other values.

    Raises:
        InvalidFile: If the file, or its batch template, has mistakes.
    """

    def __init__(self, path: Path | None = None, changes: Mapping[str, object] | None = None) -> None:
        source = path or template_directory() / "clusters/sandbox.yaml"
        self._file = load_checked(source)
        self._changes = changes or {}

    @property
    def cluster(self) -> Cluster:
        """What the file says."""
        return self._file.cluster

    @property
    def name(self) -> str:
        """Its name in this run."""
        return str(self._changes.get("name", self.cluster.name))

    @property
    def partitions(self) -> dict[str, int]:
        """Name of each partition and its longest job in seconds."""
        return {partition.name: 60 * partition.time_limit for partition in self.cluster.partitions}

    def write(self, directory: Path, *, url: str, system: str, state: Path, launcher: Path) -> Path:
        """Write the file for this run, with its batch templates beside it.

        Args:
            directory: Where to.
            url: Base URL of the FirecREST gateway.
            system: The cluster's name there.
            state: The directory that homes and scratch directories lie in.
            launcher: The `launcher-singleuser` that jobs run.

        Returns:
            The file.
        """
        values = self.cluster.model_dump(mode="json", exclude_unset=True)
        for key in _LEFT_OUT:
            values.pop(key, None)
        for partition in values["partitions"]:
            for key in _LEFT_OUT_OF_PARTITIONS:
                partition.pop(key, None)
        for environment in values.get("environments", []):
            for key in [key for key in environment if key not in _HOST_KEYS]:
                del environment[key]
            environment["kind"] = "host"
        if self.cluster.max_nodes > NODES:
            values["max_nodes"] = NODES
        values |= {
            "firecrest": {"url": url, "system": system},
            "home": f"{state}/home/{{user}}",
            "launcher": str(launcher),
            "node_addresses": ["127.0.0.0/8"],
        }
        if self.cluster.scratch:
            values["scratch"] = f"{state}/scratch/{{user}}"
        values |= dict(self._changes)
        own_name = self._file.path.name if self.name == self.cluster.name else f"{self.name}.yaml"
        path = directory / own_name
        origin = self._file.path.resolve().parent
        ours = template_directory().resolve()
        for template in (*origin.parent.glob("*.j2"), *origin.glob("*.j2")):
            if template.parent == ours:
                continue  # they are found anyway
            link = directory / template.name
            link.unlink(missing_ok=True)  # one beside the cluster file comes first
            link.symlink_to(template)
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        ClusterFile.load(path)
        return path

    def notes(self) -> list[str]:
        """Return what this run does otherwise than the file says, a line each; none for the sandbox's own."""
        given: dict[str, Any] = self.cluster.model_dump(exclude_unset=True)
        lines = [f"{key} is left out" for key in _LEFT_OUT if key in given]
        if self.cluster.max_nodes > NODES:
            lines.append(f"there are {NODES} nodes, not {self.cluster.max_nodes}")
        partitions = given["partitions"]
        for key in _LEFT_OUT_OF_PARTITIONS:
            lines += [f"{key} of {each['name']} is left out" for each in partitions if key in each]
        kinds = {environment.kind for environment in self.cluster.environments} - {"host"}
        if kinds:
            lines.append(f"{' and '.join(sorted(kinds))} environments run on the host, and none is typed")
        return lines
