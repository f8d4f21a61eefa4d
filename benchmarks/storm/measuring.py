"""Storms on two hubs that take turns, and a hub with thousands of servers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AsyncExitStack

import click

from benchmarks.results import Result
from benchmarks.storm import steady
from benchmarks.storm.cores import Cores
from benchmarks.storm.figures import Storm
from benchmarks.storm.ground import Ground, ground
from benchmarks.storm.told import of_steady_state, of_storms

_SEED = 9
_REPORT_EVERY = 300.0
"""Seconds between two reports of activity, as JupyterHub has it."""
_SETTLING = 10.0
_WHOSE = ("launcher", "empty spawner")


async def at_once(size: int, runs: int, cores: Cores) -> list[Result]:
    """Have so many people press Start in the same moment."""
    ours, theirs = await _turns([0.0] * size, runs, cores)
    return of_storms(f"{size:,} at once", ours, theirs)


async def arriving(size: int, seconds: float, cores: Cores) -> list[Result]:
    """Have so many people press Start at random within so many seconds, the same with both spawners."""
    chance = random.Random(_SEED)  # noqa: S311 - only the same again
    delays = [chance.uniform(0, seconds) for _ in range(size)]
    ours, theirs = await _turns(delays, 1, cores)
    return of_storms(f"{size:,} over {seconds / 60:g} minutes", ours, theirs, ceiling=False)


async def in_steady_state(size: int, seconds: float, cores: Cores) -> list[Result]:
    """Have so many servers run, the hub restarted among them, and watch it for so many seconds, twice."""
    async with ground("server", size, cores) as there:
        await there.begin()
        before = (await there.figures())["memory"]
        servers = await steady.settle_in(there)
        back = await steady.come_back(there)
        await steady.watch(there, _SETTLING)
        plain = await steady.watch(there, seconds)
        there.crowd.report(_REPORT_EVERY)
        reporting = await steady.watch(there, seconds)
        lost = servers - sum(await there.proofs(there.people))
        return of_steady_state(servers, back, plain, reporting, memory=plain.seen.memory - before, lost=lost)


async def _turns(delays: Sequence[float], runs: int, cores: Cores) -> tuple[list[Storm], list[Storm]]:
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(ground("launcher", len(delays), cores))
        theirs = await stack.enter_async_context(ground("empty", len(delays), cores, empty=True))
        storms: tuple[list[Storm], list[Storm]] = ([], [])
        for _ in range(runs):
            for there, seen, whose in zip((ours, theirs), storms, _WHOSE, strict=True):
                seen.append(await _storm(there, delays, whose))
        return storms


async def _storm(there: Ground, delays: Sequence[float], whose: str) -> Storm:
    await there.begin()
    try:
        storm = await there.storm(delays)
        for why, count in storm.why_lost.items():
            click.echo(f"{count} starts of the {whose} came to nothing: {why}", err=True)
        return storm
    finally:
        await there.end()
