"""What must not grow: memory, file descriptors and threads of hub and proxy, and files that are left."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks.soak import mishaps
from benchmarks.soak.scene import Scene
from launcher.clusters.script import LOG_NAME
from launcher.sandbox.processes import Program

_EVERY = 5.0
_TEMPORARY = (Path("/dev/shm"), Path("/tmp"))  # noqa: S108 - where sessions have their private directories


@dataclass(frozen=True)
class Use:
    """What a process uses.

    Attributes:
        pid: Its number.
        memory: Its resident memory in MB.
        files: Its open file descriptors.
        threads: Its threads.
    """

    pid: int
    memory: float
    files: int
    threads: int

    @classmethod
    def of(cls, program: Program) -> Use | None:
        """Look at a program; None if it does not run."""
        if not program.running or program.pid is None:
            return None
        place = Path(f"/proc/{program.pid}")
        with contextlib.suppress(OSError):
            memory, threads = parse_status((place / "status").read_text())
            return cls(program.pid, memory, len(list((place / "fd").iterdir())), threads)
        return None


def parse_status(text: str) -> tuple[float, int]:
    """Return resident memory in MB and the number of threads: proc(5), `status`.

    Raises:
        ProcessLookupError: The process has ended, and nobody has taken note of it yet.
    """
    found = dict(re.findall(r"^(VmRSS|Threads):\s+(\d+)", text, re.MULTILINE))
    if "VmRSS" not in found:
        raise ProcessLookupError
    return int(found["VmRSS"]) / 1000, int(found["Threads"])


@dataclass(frozen=True)
class Sample:
    """What hub and proxy use at a moment; None for one that is away.

    Attributes:
        minute: When.
        phase: Number of the phase.
        hub: The hub.
        proxy: The proxy.
    """

    minute: float
    phase: int
    hub: Use | None
    proxy: Use | None


@dataclass(frozen=True)
class Left:
    """What is there once everybody has stopped all servers.

    Attributes:
        rows: Table → rows of the hub's database.
        jobs: Jobs that live.
        servers: Servers that the hub shows.
        processes: Processes of the jobs' owners.
        spooled: Scripts of jobs.
        directories: Private directories of sessions on the node.
        others: Other files of the site, but for the logs of jobs and what it was made of.
        hub: What the hub uses.
    """

    rows: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    servers: int = 0
    processes: int = 0
    spooled: int = 0
    directories: int = 0
    others: int = 0
    hub: Use | None = None


async def sampled(scene: Scene, samples: list[Sample], when: Callable[[], tuple[float, int]]) -> None:
    """Look at hub and proxy from time to time, until cancelled.

    Args:
        scene: The site.
        samples: Takes what is seen.
        when: Tells the minute and the phase.
    """
    while True:
        minute, phase = when()
        samples.append(Sample(minute, phase, Use.of(scene.hub), Use.of(scene.site.hub.proxy)))
        await asyncio.sleep(_EVERY)


async def left(scene: Scene) -> Left:
    """Look at what is left.

    Raises:
        CheckFailed: The hub gave no answer.
    """
    site = scene.site
    homes = {account.home for account in site.accounts}
    files = [path for place in ("home", "scratch", "hub") for path in (site.state / place).rglob("*")]
    log = LOG_NAME.replace("%j", "*")
    return Left(
        rows=scene.rows(),
        jobs=len(await scene.live()),
        servers=len(await scene.models()),
        processes=len(list(mishaps.processes(homes))),
        spooled=len(list((site.state / "spool").iterdir())),
        directories=sum(
            len(list(place.glob(f"launcher-{account.uid}-*")))
            for place in _TEMPORARY
            for account in site.accounts
        ),
        others=sum(path.is_file() and not fnmatchcase(path.name, log) for path in files),
        hub=Use.of(scene.hub),
    )
