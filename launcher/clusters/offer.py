"""The clusters that a hub offers: each has a file that is followed live, and is known by its name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from logging import Logger, LoggerAdapter
from pathlib import Path
from typing import Any

from launcher.clusters.check import cluster_files
from launcher.clusters.cluster_file import ClusterFile
from launcher.clusters.live import LiveClusterFile, Version
from launcher.detached import run_detached
from launcher.errors import InvalidFile, InvalidOptions, UsageError

_KEPT = "launcher_cluster_files"


@dataclass(frozen=True)
class FileStatus:
    """What a hub has of one path.

    Attributes:
        path: A cluster file, or a directory that should hold some.
        version: The version in use, if there is one.
        problems: What is wrong with what is there now.
    """

    path: Path
    version: Version | None
    problems: tuple[str, ...]


class Offer:
    """Clusters to choose from.

    Args:
        files: Name → cluster file, in the order in which they are offered.
    """

    def __init__(self, files: Mapping[str, LiveClusterFile]) -> None:
        self._files = dict(files)

    @classmethod
    def of(
        cls, settings: MutableMapping[str, Any], paths: Iterable[str], log: Logger | LoggerAdapter[Any]
    ) -> Offer:
        """Return the one of these paths that all spawners of a hub share; its files are followed from now on.

        Args:
            settings: The hub's settings, as its users have them.
            paths: Cluster files, and directories of such.
            log: The hub's. It hears of files that can't be offered beside the others.
        """
        kept: _Kept = settings.setdefault(_KEPT, _Kept())
        key = tuple(paths)
        if key not in kept.offers:
            kept.offers[key] = cls({path.stem: kept.live(path, log) for path in kept.distinct(key, log)})
        return kept.offers[key]

    @staticmethod
    def all(settings: MutableMapping[str, Any]) -> list[FileStatus]:
        """Return what a hub has of all paths that it was given, by path."""
        kept: _Kept = settings.get(_KEPT, _Kept())
        found = [FileStatus(path, live.version, live.problems) for path, live in kept.files.items()]
        found += [FileStatus(path, None, (problem,)) for path, problem in kept.refused.items()]
        return sorted(found, key=lambda each: each.path)

    @property
    def first(self) -> str:
        """Name of the cluster that is meant where none is named; empty if there is none at all."""
        return next(iter(self._files), "")

    @property
    def usable(self) -> dict[str, ClusterFile]:
        """Name → version in use, of the clusters that can be chosen now.

        Raises:
            InvalidFile: If there is none.
        """
        found = {name: live.version.file for name, live in self._files.items() if live.version}
        if not found:
            problems = [problem for live in self._files.values() for problem in live.problems]
            raise InvalidFile(problems or ["LauncherSpawner.cluster_files names no cluster file."])
        return found

    @property
    def withheld(self) -> list[str]:
        """Names of the others: their files were never good since the hub started."""
        return [name for name, live in self._files.items() if not live.version]

    def version_of(self, name: str) -> ClusterFile:
        """Return the version of a cluster's file that is in use.

        Raises:
            InvalidFile: If there is none.
        """
        if name not in self._files:
            raise InvalidFile([f"The hub offers no cluster {name}."])
        return self._files[name].current

    def choose(self, name: Any) -> ClusterFile:
        """Return what a user chooses.

        Args:
            name: What came in, untrusted; the first cluster is meant where nothing did.

        Raises:
            InvalidOptions: If it can't be chosen, with what can.
            InvalidFile: If nothing can.
        """
        usable = self.usable
        name = self.first if name in (None, "") else name
        if isinstance(name, str) and name in usable:
            return usable[name]
        words = f"must be one of {', '.join(usable)}"
        if name in self.withheld:
            words += f": {name} can't be offered just now"
        raise InvalidOptions({"cluster": words})


@dataclass
class _Kept:
    """What the spawners of one hub share."""

    files: dict[Path, LiveClusterFile] = field(default_factory=dict)
    refused: dict[Path, str] = field(default_factory=dict)
    offers: dict[tuple[str, ...], Offer] = field(default_factory=dict)

    def live(self, path: Path, log: Logger | LoggerAdapter[Any]) -> LiveClusterFile:
        """Return the one of a path, followed."""
        if path not in self.files:
            self.files[path] = LiveClusterFile(path, log)
            run_detached(self.files[path].watch())
        return self.files[path]

    def distinct(self, given: Iterable[str], log: Logger | LoggerAdapter[Any]) -> Iterator[Path]:
        """Yield the files that paths stand for, each name once; a file's name is its cluster's."""
        known: dict[str, Path] = {}
        for each in given:
            path = Path(each)
            try:
                found = cluster_files(path) if path.is_dir() else [path]
            except UsageError as error:
                self._refuse(path, str(error).replace("\n", " "), log)
                continue
            for file in found:
                before = known.setdefault(file.stem, file)
                if before is file:
                    yield file
                elif before != file:
                    self._refuse(file, f"{file}: name: {file.stem} is the name of {before}, too", log)

    def _refuse(self, path: Path, problem: str, log: Logger | LoggerAdapter[Any]) -> None:
        self.refused[path] = problem
        log.error("Cluster file %s is not offered:\n%s", path, problem)
