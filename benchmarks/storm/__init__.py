"""Many launches at once, and thousands of servers, beside a spawner that does nothing.

Both hubs are whole: JupyterHub, its proxy, an identity provider and a gateway that answers as FirecREST does.
Jobs are impersonated (`benchmarks.crowd`). What is not the hub's runs on another core.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import click

from benchmarks.benchmark import Benchmark
from benchmarks.page import PAGE
from benchmarks.results import Result
from benchmarks.storm import scaling
from benchmarks.storm.cores import Cores
from benchmarks.storm.measuring import arriving, at_once, in_steady_state
from benchmarks.storm.page import plotted, shown, shown_with_steady
from launcher.check.signals import ended_by_signals

_WATCHED = 330.0
"""Seconds: each server says once in 300 s that it lives, and is looked at once."""


def _measured(size: int, runs: int) -> Iterator[list[Result]]:
    yield _run(lambda cores: at_once(size, runs, cores))


def _many(scale: float) -> Iterator[list[Result]]:
    yield _run(lambda cores: at_once(int(1000 * scale), 2, cores))
    yield _run(lambda cores: arriving(int(5000 * scale), 600 * scale, cores))
    yield _run(lambda cores: in_steady_state(int(10_000 * scale), _WATCHED * min(1.0, 10 * scale), cores))


def _run(part: Callable[[Cores], Awaitable[list[Result]]]) -> list[Result]:
    async def run(cores: Cores) -> list[Result]:
        with ended_by_signals():
            return await part(cores)

    cores = Cores()
    with cores.parted():
        return asyncio.run(run(cores))


BURST = Benchmark(
    "burst",
    2.5,
    _measured,
    shown,
    plotted,
    options=(
        click.Option(["--size"], type=int, default=200, show_default=True, help="How many press Start."),
        click.Option(
            ["--runs"], type=int, default=5, show_default=True, help="How often, with each spawner."
        ),
    ),
)

BENCHMARK = Benchmark(
    "storm",
    50,
    _many,
    shown_with_steady,
    plotted,
    options=(
        click.Option(["--scale"], type=float, default=1.0, help="The part of all sizes; for trials below 1."),
    ),
    usual=False,
    follows={PAGE.with_name("scaling.md"): scaling.shown},
)
