"""Cluster files: YAML, read and checked, with all mistakes of a file reported at once."""

from __future__ import annotations

from pathlib import Path

from launcher.clusters.model import Cluster
from launcher.clusters.words import WORDS
from launcher.errors import InvalidFile
from launcher.yaml_file import Source, checked


def load_cluster(path: Path) -> Cluster:
    """Read a cluster file.

    Args:
        path: The file; its name without the ending is the cluster's name.

    Raises:
        InvalidFile: With every problem as `file:line:column: key: what is wrong, what is allowed`.
    """
    return parse_cluster(Source(path))


def parse_cluster(source: Source) -> Cluster:
    """Check what a cluster file says.

    Raises:
        InvalidFile: With every problem, in the order of the file.
    """
    if not isinstance(source.values, dict):
        raise InvalidFile([source.problem((), "a cluster file is a mapping of keys to values")])
    problems = []
    name = source.values.get("name")
    if isinstance(name, str) and name != source.path.stem:
        problems.append(source.problem(("name",), f"must be the file's name, {source.path.stem}"))
    return checked(source, Cluster, WORDS, problems)
