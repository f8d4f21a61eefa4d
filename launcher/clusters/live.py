"""A cluster file that a live hub follows: an edit is picked up by itself, the last good version kept."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from logging import Logger, LoggerAdapter
from pathlib import Path
from typing import Any

from launcher.clusters.check import load_checked
from launcher.clusters.cluster_file import ClusterFile
from launcher.errors import InvalidFile
from launcher.yaml_file.seen import Seen

LOOK_EVERY = 1.0
"""Seconds between two looks at a cluster file and its batch templates."""


@dataclass(frozen=True)
class Version:
    """A version of a cluster file that is in use.

    Attributes:
        file: The cluster file with its batch template.
        digest: SHA-256 of all that was read for it, in hexadecimal digits.
        files: What was read for it, each with the SHA-256 of what it held.
        since: When it came into use.
        seen: What was read since, too: a template may name what it includes only when it is rendered.
    """

    file: ClusterFile
    digest: str
    files: dict[Path, str]
    since: datetime
    seen: Seen

    @property
    def name(self) -> str:
        """The digest's beginning: enough to tell versions apart."""
        return self.digest[:12]


class _Reading:
    """What came of reading a cluster file once: a version, or what is wrong with it."""

    def __init__(self, path: Path, log: Logger | LoggerAdapter[Any]) -> None:
        self.seen = Seen()
        self.file: ClusterFile | None = None
        self.problems: tuple[str, ...] = ()
        try:
            self.file = load_checked(path, self.seen)
        except InvalidFile as error:
            self.problems = tuple(error.problems)
        except Exception as error:
            # Whatever a file holds, the hub goes on with what it has, and reads the next edit.
            log.exception("Cluster file %s", path)
            self.problems = (f"{path}: the launcher could not read it: {type(error).__name__}: {error}",)


class LiveClusterFile:
    """The version of a cluster file, with its batch template, that is in use.

    A look at the files may find that they were changed: then they are read, and what came of it counts
    once the next look finds them the same. So nothing counts that an editor has written half, or that is
    half of one version and half of another; and whatever counts, counts as a whole.

    Args:
        path: The cluster file.
        log: Hears once of each edit: in use, or refused and why.

    Attributes:
        path: The cluster file.
        version: What is in use, or None if it was never good since the hub started.
        problems: What is wrong with the files as they are now; empty while they are in use.
    """

    def __init__(self, path: Path, log: Logger | LoggerAdapter[Any]) -> None:
        self.path = path
        self.version: Version | None = None
        self.problems: tuple[str, ...] = ()
        self._log = log
        self._reading = _Reading(path, log)
        self._judged = False
        if self._reading.file:
            self._judge()  # a hub that starts can't wait; the next look mends what was half
        else:
            self.problems = self._reading.problems

    @property
    def current(self) -> ClusterFile:
        """The version in use: what the file says or, while it has a mistake, what it said before.

        Raises:
            InvalidFile: If it was never good since the hub started.
        """
        if self.version is None:
            raise InvalidFile(list(self.problems))
        return self.version.file

    async def watch(self) -> None:
        """Look from time to time, for as long as the hub runs."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - one look that fails must not be the last
                self._log.exception("Cluster file %s: can't look at it", self.path)

    async def look(self) -> None:
        """Look once at the files; what is in use changes between two steps of the event loop only."""
        # In a thread: a file system may hang, and a big file takes a while to check.
        same = await asyncio.to_thread(self._same)
        if same and not self._judged:
            self._judge()

    def _same(self) -> bool:
        """Tell whether the files are what they were, and read them again if not."""
        if not self._reading.seen.changed():
            return True
        self._reading = _Reading(self.path, self._log)
        self._judged = False
        return False

    def _judge(self) -> None:
        """Take what was read, or refuse it, and say so."""
        self._judged = True
        read, before = self._reading, self.version
        if read.file is None:
            self.problems = read.problems
            stays = f"version {before.name} stays in use" if before else "nobody can start a server"
            self._log.error(
                "Cluster file %s can't be used, %s:\n%s", self.path, stays, "\n".join(read.problems)
            )
        elif before is None or before.files != read.seen.files or before.seen.changed():
            self.version = Version(read.file, read.seen.digest, read.seen.files, datetime.now(UTC), read.seen)
            self.problems = ()
            self._log.info("Cluster file %s is in use, version %s", self.path, self.version.name)
        elif self.problems:
            self.problems = ()
            self._log.info("Cluster file %s is again as it is in use, version %s", self.path, before.name)
