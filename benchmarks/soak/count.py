"""What is wrong at a quiet point: servers that are lost, jobs that nobody wants, servers without a job."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from benchmarks.soak.scene import Key, LiveJob, Scene
from benchmarks.soak.server import Server, Wish
from launcher.errors import CheckFailed


class Kind(StrEnum):
    """What may be wrong."""

    LOST = "lost"
    """A server that was started and not ended: the hub does not know it, or the proxy does not lead to it."""
    ORPHAN = "orphan"
    """A job that lives, and that nobody wants."""
    GHOST = "ghost"
    """A server that the hub shows, or goes on ending, and that has no job."""


@dataclass(frozen=True)
class Wrong:
    """Something that is wrong.

    Attributes:
        kind: What.
        whose: Whose server it is, as the journal has it.
        why: What was seen, in words.
        job: The job that no launch names, if it is one.
    """

    kind: Kind
    whose: str
    why: str
    job: str = ""


@dataclass(frozen=True)
class Seen:
    """What is seen of a server.

    Attributes:
        wish: What its owner wishes.
        phase: That of the launch that the hub has saved, or empty.
        shown: How the hub shows it: `ready`, `pending spawn`; or empty.
        jobs: The launch's jobs that live, the one of the record first.
        is_its: Whether the first is the one of the record.
        answers: Whether the way to it leads to that launch.
    """

    wish: Wish
    phase: str = ""
    shown: str = ""
    jobs: tuple[str, ...] = ()
    is_its: bool = False
    answers: bool = False

    @property
    def serves(self) -> bool:
        """Whether it is all that a server should be."""
        return self.shown == "ready" and self.phase == "ready" and self.is_its and self.answers

    @property
    def wrong(self) -> Kind | None:
        """What is wrong with it."""
        nothing = not (self.phase or self.shown or self.jobs)
        good = {
            Wish.RUNNING: self.serves,
            Wish.NONE: nothing,
            Wish.EITHER: self.serves or nothing,
        }
        if good[self.wish]:
            return None
        if self.wish is Wish.RUNNING:
            return Kind.LOST
        return Kind.ORPHAN if self.jobs else Kind.GHOST

    @property
    def words(self) -> str:
        """All of it, for people."""
        way = "the proxy leads to it" if self.answers else "the proxy does not lead to it"
        return (
            f"wished: {self.wish.value}; saved: {self.phase or 'nothing'}; shown: {self.shown or 'nothing'}; "
            f"jobs: {', '.join(self.jobs) or 'none'}; {way}"
        )


async def wrong(scene: Scene, servers: Sequence[Server]) -> list[Wrong]:
    """Return what is wrong at this moment.

    Raises:
        CheckFailed: The hub gave no answer.
    """
    models, records, live = await scene.models(), scene.records(), await scene.live()
    found = []
    for server in servers:
        seen = await _seen(scene, server, models, records, live)
        if seen.wrong:
            found.append(Wrong(seen.wrong, server.label, seen.words))
    known = {record["launch_id"]: record["job_id"] for record in records.values()}
    found += [
        Wrong(Kind.ORPHAN, job.owner, f"job {job.id} of launch {job.mark or '(none)'}", job.id)
        for job in live
        if known.get(job.mark) not in ("", job.id)
    ]
    return found


async def settled(scene: Scene, servers: Sequence[Server], within: float) -> tuple[list[Wrong], float]:
    """Wait until nothing is wrong; return what still is, and after how many seconds.

    Args:
        scene: The site, on which nothing happens any more.
        servers: The servers.
        within: Seconds after which what is wrong counts.
    """
    began = time.monotonic()
    found: list[Wrong] = []
    while True:
        with contextlib.suppress(CheckFailed):  # the hub may just be missing a route to it
            found = await wrong(scene, servers)
            if not found:
                break
        if time.monotonic() - began > within:
            break
        await asyncio.sleep(0.5)
    return found, time.monotonic() - began


async def _seen(
    scene: Scene,
    server: Server,
    models: Mapping[Key, Mapping[str, Any]],
    records: Mapping[Key, Mapping[str, Any]],
    live: Sequence[LiveJob],
) -> Seen:
    model, record = models.get(server.key), records.get(server.key)
    shown = "" if model is None else "ready" if model["ready"] else f"pending {model['pending']}"
    if record is None:
        return Seen(server.wish, shown=shown)
    jobs = sorted((job.id for job in live if job.mark == record["launch_id"]), key=record["job_id"].__ne__)
    answers = bool(record["url"]) and await scene.answers(server.key, record)
    is_its = jobs[:1] == [record["job_id"]]
    return Seen(server.wish, record["phase"], shown, tuple(jobs), is_its, answers)
