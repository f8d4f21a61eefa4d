"""Launches one by one, at each hub in turn: where their seconds go."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from operator import itemgetter

import click

from benchmarks.launch.ground import BATCHSPAWNER, LOOP, OURS, Ground, Way
from benchmarks.launch.notes import LAUNCHER, PARTS, Phases, ours, parts, phases
from benchmarks.launch.person import Person
from benchmarks.node.places import turned
from benchmarks.results import Result, Target, at_most

PEERS = (BATCHSPAWNER, LOOP)
TOTAL = "From Start to the redirect"
OWN = f"{TOTAL}, without what is Slurm's and JupyterLab's"
REDIRECT = "From the server that listens to the redirect"

_PAUSE = 0.1


def phase(name: str) -> str:
    """Return the name of the figure of a phase."""
    return f"Phase {name}"


def part(name: str) -> str:
    """Return the name of the figure of a part, which peers have, too."""
    return f"Part {name}"


def against(peer: str) -> str:
    """Return the name of the figure that compares with a peer; the queue is chance, and the same for all."""
    return f"{TOTAL}, without the queue, against {peer}"


def figures(taken: Mapping[str, Sequence[Phases]]) -> list[Result]:
    """Return what launches tell.

    Args:
        taken: Name of a way → its launches, those of one round at the same place.
    """
    own = taken[OURS]

    def beside(name: str, seconds: Callable[[Phases], float], target: Target | None = None) -> Result:
        seen = {way: [seconds(each) for each in those] for way, those in taken.items()}
        return Result.of(name, seen.pop(OURS), "s", target, peers=seen)

    def total(launch: Phases) -> float:
        return sum(launch.values())

    busy = {way: [total(each) - each["queue"] for each in those] for way, those in taken.items()}
    return [
        beside(TOTAL, total),
        *(Result.ratio(against(way), busy[OURS], busy[way]) for way in PEERS),
        Result.of(OWN, [ours(each) for each in own], "s", at_most(0.5)),
        beside(REDIRECT, itemgetter("redirect"), at_most(0.3)),
        *(Result.of(phase(name), [each[name] for each in own], "s") for name, _ in LAUNCHER),
        *(beside(part(name), partial(_part, name)) for name in PARTS),
    ]


def _part(name: str, launch: Phases) -> float:
    return parts(launch)[name]


async def one_by_one(ground: Ground, runs: int) -> list[Result]:
    """Launch at each hub in turn; a first round, which finds nothing in memory, does not count.

    Args:
        ground: Where.
        runs: How often at each hub.
    """
    async with AsyncExitStack() as stack:
        ways = [ground.launcher()]
        ways += [await stack.enter_async_context(peer()) for peer in (ground.batchspawner, ground.loop)]
        account = ground.accounts[0]
        people = {way.name: (way, await stack.enter_async_context(way.person(account))) for way in ways}
        taken: dict[str, list[Phases]] = {name: [] for name in people}
        for number in range(runs + 1):
            for name in turned(list(people), number):
                launch = await _launched(ground, *people[name])
                if number:
                    taken[name].append(launch)
    return figures(taken)


async def _launched(ground: Ground, way: Way, person: Person) -> Phases:
    """Launch once, and stop what was launched."""
    account = ground.site.accounts[person.name]
    ground.notes.clear()
    way.forget(account)
    await person.open_form()
    # Slurm looks once a second at what waits: nobody is to come always just before.
    await asyncio.sleep(random.random())  # noqa: S311 - no secret
    since = way.hub.log.stat().st_size
    waited = await person.start(way.options)
    moments = {
        **ground.notes.read(),
        **way.told(account, since),
        "start": waited.start,
        "redirected": waited.redirected,
    }
    taken = phases(moments, way.order)
    shown = ", ".join(f"{name} {seconds:.3f}" for name, seconds in taken.items())
    click.echo(f"{way.name}: {sum(taken.values()):.2f} s; {shown}", err=True)
    await person.stop()
    while await ground.site.live_jobs(person.name):  # noqa: ASYNC110 - Slurm can only be asked
        await asyncio.sleep(_PAUSE)
    return taken
