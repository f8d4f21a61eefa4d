"""A cluster file with its batch template, read and checked as one: the unit that a hub uses and reloads."""

from __future__ import annotations

import os.path
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.clusters.contract import faults
from launcher.clusters.environment import ContainerEnvironment, UenvEnvironment, image_name
from launcher.clusters.fields import fields
from launcher.clusters.files import parse_cluster
from launcher.clusters.model import Cluster, path_of
from launcher.clusters.options import parse_options
from launcher.clusters.partition import Partition
from launcher.clusters.request import LaunchRequest
from launcher.clusters.script import LaunchFacts, render
from launcher.clusters.template import BatchTemplate, template_directory
from launcher.errors import InvalidFile
from launcher.yaml_file.problem import Problem
from launcher.yaml_file.seen import Seen
from launcher.yaml_file.source import Source

SAMPLE_USER = "someone"
SAMPLE_FACTS = LaunchFacts(
    launch_id="0" * 32, ticket="0" * 64, hub_api_url="https://hub.example.org/hub/api", user=SAMPLE_USER
)
"""A launch that never was, for scripts that are only looked at."""


@dataclass(frozen=True)
class ClusterFile:
    """One version of a cluster file: what it said, and the batch template as it was then.

    Attributes:
        path: The file.
        cluster: What it says.
        template: Its batch template.
    """

    path: Path
    cluster: Cluster
    template: BatchTemplate

    @classmethod
    def load(cls, path: Path, *, seen: Seen | None = None) -> ClusterFile:
        """Read a cluster file and its batch template, and render one script for all that users can choose.

        Args:
            path: The cluster file. Its batch template is sought beside it, in the directory above, and
                among this project's own.
            seen: Notes the files that are read or looked for, also if this fails.

        Raises:
            InvalidFile: With every problem.
        """
        seen = seen or Seen()
        source = Source(path, seen)
        problems: list[str] = []
        cluster: Cluster | None = None
        try:
            cluster = parse_cluster(source)
            name = cluster.template
            offered = [field.name for field in fields(cluster, SAMPLE_USER)]
            problems += [
                source.problem(("links", position), f"there is no {link} to choose on this cluster")
                for position, link in enumerate(cluster.links)
                if link not in offered
            ]
        except InvalidFile as error:
            problems += error.problems
            name = source.written(("template",)) or Cluster.model_fields["template"].default
        # A volume of Kubernetes is links into a directory that the next edit replaces: they stay links.
        directory = Path(os.path.abspath(path)).parent  # noqa: PTH100 - resolve() would follow them
        places = (directory, directory.parent, template_directory())
        template = BatchTemplate(name, places, seen)
        try:
            if template.found():
                template.preload()
            elif cluster:
                where = "beside this file, one directory above it, or among the launcher's own"
                problems.append(source.problem(("template",), f"there is no {name} {where}"))
        except InvalidFile as error:
            problems += error.problems
        if cluster is None or problems:
            raise InvalidFile(problems)
        loaded = cls(path, cluster, template)
        for request in loaded.samples():
            told: list[str] = []
            try:
                script = loaded.render(request, SAMPLE_FACTS)
                told += [Problem(text, file=template.file) for text in faults(script, SAMPLE_FACTS)]
            except InvalidFile as error:
                told = error.problems
            problems += [each for each in told if each not in problems]
        if problems:
            raise InvalidFile(problems)
        return loaded

    def render(self, request: LaunchRequest, facts: LaunchFacts) -> str:
        """Return the batch script; the same arguments give the same bytes.

        Raises:
            InvalidFile: If the batch template has a mistake.
        """
        return render(self.template, self.cluster, request, facts)

    def samples(self) -> Iterator[LaunchRequest]:
        """Yield requests for each partition and environment: as at first, and with what users may add."""
        for partition in self.cluster.partitions:
            for environment in self.cluster.environments:
                options: dict[str, Any] = {"partition": partition.name, "environment": environment.id}
                if isinstance(environment, UenvEnvironment) and environment.typed:
                    roots = environment.typed.roots
                    tools = self.cluster.tools
                    other = tools and image_name(tools.image) == "prgenv-gnu"
                    options["uenv"] = (
                        f"{'another' if other else 'prgenv-gnu'}/24.11:v1"
                        if environment.typed.labels
                        else f"{path_of(roots[0], SAMPLE_USER)}/image.squashfs"
                    )
                    options["view"] = "default"
                elif isinstance(environment, ContainerEnvironment) and environment.typed:
                    options["edf"] = f"{path_of(environment.typed.roots[0], SAMPLE_USER)}/image.toml"
                plain = parse_options(self.cluster, options, user=SAMPLE_USER)
                yield plain
                whole = parse_options(self.cluster, options | self._added(partition), user=SAMPLE_USER)
                if whole != plain:
                    yield whole

    def _added(self, partition: Partition) -> dict[str, Any]:
        """Return the options that most people leave as they are, each with a value of its own."""
        added: dict[str, Any] = {}
        if self.cluster.accounts == "firecrest":
            added["account"] = "account"
        if self.cluster.own_reservation:
            added["reservation"] = "reservation"
        nodes = min(self.cluster.max_nodes, partition.max_nodes or self.cluster.max_nodes, 2)
        if nodes > 1 and partition.longest(nodes) >= min(self.cluster.times.choices):
            added["nodes"] = nodes
        return added
