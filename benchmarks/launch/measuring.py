"""Measure launches: one by one, then many at once."""

from __future__ import annotations

import asyncio
import os

import click

from benchmarks.launch.at_once import at_once
from benchmarks.launch.ground import Ground
from benchmarks.launch.one_by_one import one_by_one
from benchmarks.results import Result
from launcher.check.signals import ended_by_signals
from launcher.sandbox.state import state_directory


def measured(runs: int, people: int, rounds: int) -> list[list[Result]]:
    """Return the figures.

    Args:
        runs: Launches one by one at each hub.
        people: Who launch at once.
        rounds: How often they do at each hub.
    """
    if os.geteuid():
        raise click.UsageError("Only root can make the users that batchspawner submits as.")
    return asyncio.run(_measured(runs, people, rounds))


async def _measured(runs: int, people: int, rounds: int) -> list[list[Result]]:
    with ended_by_signals(), state_directory(None) as state:
        async with Ground(state, people) as ground:
            return [await one_by_one(ground, runs), await at_once(ground, rounds)]
