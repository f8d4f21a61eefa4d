"""Many launches at once, at one hub and then at the other: how many a second there are."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

import click

from benchmarks.launch.ground import BATCHSPAWNER, OURS, Ground, Way
from benchmarks.launch.person import Person, Waited
from benchmarks.node.places import turned
from benchmarks.node.processes import cpu, family, stats
from benchmarks.results import Result, at_least
from launcher.sandbox.scheduler import JobState

CROWD = "Launches at once"
RATE = "Launches a second, many at once"
AGAINST = f"{RATE}, against batchspawner"
TOTAL = "Processor seconds of a launch, many at once"
HUB = "Processor seconds of the hub and its commands for a launch, many at once"

_PAUSE = 0.2


class Rush(NamedTuple):
    """Launches that began at the same time.

    Attributes:
        launches: How many.
        seconds: From the first Start to the last server that was ready.
        total: Processor seconds of all that takes part: people, hub, Slurm, jobs.
        hub: Those of the hub, and of the commands that it has run.
    """

    launches: int
    seconds: float
    total: float
    hub: float

    @property
    def rate(self) -> float:
        """Launches a second."""
        return self.launches / self.seconds

    @property
    def total_each(self) -> float:
        """Processor seconds for one of them."""
        return self.total / self.launches

    @property
    def hub_each(self) -> float:
        """Processor seconds of the hub for one of them."""
        return self.hub / self.launches


def figures(rushes: Mapping[str, Sequence[Rush]]) -> list[Result]:
    """Return what rushes tell.

    Args:
        rushes: Name of a way → its rushes, those of one round at the same place.
    """
    ours, theirs = rushes[OURS], rushes[BATCHSPAWNER]

    def beside(name: str, unit: str, seen: Sequence[float], peer: Sequence[float]) -> Result:
        return Result.of(name, seen, unit, peers={BATCHSPAWNER: peer})

    rates = [each.rate for each in ours], [each.rate for each in theirs]
    return [
        Result.of(CROWD, [ours[0].launches], "launches"),
        beside(RATE, "a second", *rates),
        Result.ratio(AGAINST, *rates, at_least(3)),
        beside(TOTAL, "s", [each.total_each for each in ours], [each.total_each for each in theirs]),
        beside(HUB, "s", [each.hub_each for each in ours], [each.hub_each for each in theirs]),
    ]


async def at_once(ground: Ground, rounds: int) -> list[Result]:
    """Have everybody press Start at the same time, at the two hubs in turn.

    Args:
        ground: Where.
        rounds: How often at each hub.
    """
    async with AsyncExitStack() as stack:
        ways = [ground.launcher(small=True), await stack.enter_async_context(ground.batchspawner(small=True))]
        crowds = {way.name: (way, await stack.enter_async_context(_crowd(ground, way))) for way in ways}
        rushes: dict[str, list[Rush]] = {name: [] for name in crowds}
        for number in range(rounds):
            for name in turned(list(crowds), number):
                rushes[name].append(await _rush(ground, *crowds[name]))
    return figures(rushes)


@asynccontextmanager
async def _crowd(ground: Ground, way: Way) -> AsyncIterator[list[Person]]:
    """Have everybody logged in at a hub."""
    async with AsyncExitStack() as stack:
        people = [stack.enter_async_context(way.person(account)) for account in ground.accounts]
        yield list(await asyncio.gather(*people))


async def _rush(ground: Ground, way: Way, people: Sequence[Person]) -> Rush:
    """Have everybody press Start, and then Stop."""
    await asyncio.gather(*(person.open_form() for person in people))
    total, hub = _all(), _hub(way)
    waited = await asyncio.gather(*(person.start(way.options) for person in people))
    rush = Rush(len(people), _seconds(waited), _all() - total, _hub(way) - hub)
    click.echo(f"{way.name}: {rush.launches} launches in {rush.seconds:.1f} s", err=True)
    await asyncio.gather(*(person.stop() for person in people))
    while await _live(ground):  # noqa: ASYNC110 - Slurm can only be asked
        await asyncio.sleep(_PAUSE)
    return rush


async def _live(ground: Ground) -> bool:
    jobs = await ground.site.scheduler.queue()
    return not all(JobState(job.state.split()[0]).ended for job in jobs)


def _seconds(waited: Sequence[Waited]) -> float:
    return max(each.told for each in waited) - min(each.start for each in waited)


def _all() -> float:
    """Return the processor seconds of this process and all that has come of it: Slurm, hubs and jobs, too."""
    found = stats()
    return cpu(family(os.getpid(), found), found)


def _hub(way: Way) -> float:
    """Return those of a hub, and of the commands that it has run."""
    assert way.hub.process
    assert way.hub.process.pid
    return cpu({way.hub.process.pid}, stats())
