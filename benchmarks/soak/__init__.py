"""Half an hour of everything at random: does anything get lost, and does anything grow?"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from functools import partial

import click

from benchmarks.benchmark import Benchmark
from benchmarks.results import Result
from benchmarks.soak import soak
from benchmarks.soak.figures import results
from benchmarks.soak.page import plotted, shown
from benchmarks.soak.program import phases

MINUTES = 30.0
_SEEDS = 1_000_000


def measured(seed: int | None, minutes: float) -> Iterator[list[Result]]:
    """Run a soak.

    Args:
        seed: The same one gives the same order of acts; None draws one.
        minutes: How long things happen; quiet points take some more.
    """
    drawn = random.SystemRandom().randrange(_SEEDS) if seed is None else seed
    say = partial(click.echo, err=True)
    yield results(asyncio.run(soak.run(drawn, soak.PEOPLE, phases(minutes), say)))


BENCHMARK = Benchmark(
    "soak",
    MINUTES + 4,
    measured,
    shown,
    plotted,
    options=(
        click.Option(["--seed"], type=int, help="Have the acts in the order of an earlier soak."),
        click.Option(["--minutes"], type=float, default=MINUTES, show_default=True, help="How long."),
    ),
    usual=False,
)
