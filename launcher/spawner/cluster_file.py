"""The cluster file of a live hub: read again when it was changed, and the last good one kept."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from logging import Logger, LoggerAdapter
from pathlib import Path
from typing import Any

from launcher.clusters import Cluster, load_cluster
from launcher.errors import InvalidFile


@dataclass
class _Read:
    """What came of reading a file: of which version, and the last good content."""

    changed: int
    cluster: Cluster | None


def current_cluster(
    settings: MutableMapping[str, Any], path: Path, log: Logger | LoggerAdapter[Any]
) -> Cluster:
    """Return what a cluster file says now or, while it has a mistake, what it said before.

    Args:
        settings: The hub's settings, where what was read is kept for all spawners.
        path: The cluster file.
        log: Hears once of each edit that has a mistake.

    Raises:
        InvalidFile: If it was never good since the hub started.
    """
    kept: dict[Path, _Read] = settings.setdefault("launcher_cluster_files", {})
    before = kept.get(path) or _Read(-1, None)
    try:
        changed = path.stat().st_mtime_ns
        if changed != before.changed:
            before.changed = changed
            before.cluster = load_cluster(path)
    except (OSError, InvalidFile) as error:
        log.error("The cluster file can't be used:\n%s", error)
        if before.cluster is None:
            raise InvalidFile([str(error)]) from None
    kept[path] = before
    if before.cluster is None:
        raise InvalidFile([f"{path} has a mistake; it was told when it was read first"])
    return before.cluster
