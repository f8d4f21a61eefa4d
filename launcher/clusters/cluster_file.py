"""A cluster file with its batch template, read and checked as one: the unit that a hub uses and reloads."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from launcher.clusters.environment import ContainerEnvironment, UenvEnvironment
from launcher.clusters.files import parse_cluster
from launcher.clusters.model import Cluster, path_of
from launcher.clusters.options import parse_options
from launcher.clusters.request import LaunchRequest
from launcher.clusters.script import LaunchFacts, render
from launcher.clusters.seen import Seen
from launcher.clusters.source import Source
from launcher.clusters.template import BatchTemplate, template_directory
from launcher.errors import InvalidFile

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
        cluster = parse_cluster(source)
        # A volume of Kubernetes is links into a directory that the next edit replaces: they stay links.
        directory = Path(os.path.abspath(path)).parent  # noqa: PTH100 - resolve() would follow them
        places = (directory, directory.parent, template_directory())
        loaded = cls(path, cluster, BatchTemplate(cluster.template, places, seen))
        if not loaded.template.found():
            where = "beside this file, one directory above it, or among the launcher's own"
            raise InvalidFile([source.problem(("template",), f"there is no {cluster.template} {where}")])
        problems: list[str] = []
        attempts: list[Callable[[], object]] = [loaded.template.preload]
        attempts += [partial(loaded.render, request, SAMPLE_FACTS) for request in loaded.samples()]
        for attempt in attempts:
            try:
                attempt()
            except InvalidFile as error:
                problems += [each for each in error.problems if each not in problems]
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
        """Yield a request for each partition and environment, with what users would type where they must."""
        for partition in self.cluster.partitions:
            for environment in self.cluster.environments:
                options: dict[str, str] = {"partition": partition.name, "environment": environment.id}
                if isinstance(environment, UenvEnvironment) and environment.typed:
                    roots = environment.typed.roots
                    options["uenv"] = (
                        "prgenv-gnu/24.11:v1"
                        if environment.typed.labels
                        else f"{path_of(roots[0], SAMPLE_USER)}/image.squashfs"
                    )
                    options["view"] = "default"
                elif isinstance(environment, ContainerEnvironment) and environment.typed:
                    options["edf"] = f"{path_of(environment.typed.roots[0], SAMPLE_USER)}/image.toml"
                yield parse_options(self.cluster, options, user=SAMPLE_USER)
