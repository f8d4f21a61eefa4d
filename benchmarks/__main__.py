"""`python -m benchmarks NAME`: run one; `python -m benchmarks all`: run all that `make bench` runs."""

from __future__ import annotations

import subprocess
import sys

import click

from benchmarks import compressions, cost, images, launch, soak, startup, storm
from benchmarks.benchmark import Benchmark

BENCHMARKS: tuple[Benchmark, ...] = (
    startup.BENCHMARK,
    launch.BENCHMARK,
    cost.BENCHMARK,
    images.BENCHMARK,
    storm.BENCHMARK,
    compressions.BENCHMARK,
    storm.STORMS,
    soak.BENCHMARK,
)
"""In the order in which they are run."""


@click.group()
def main() -> None:
    """Measure on this machine, beside what others do, and write `docs/performance.md`."""


@main.command("all")
def every() -> None:
    """Run one after the other; exit code 1 if a target does not hold."""
    # Each in a process of its own: none finds what another has left.
    codes = [
        subprocess.run([sys.executable, "-m", "benchmarks", each.name], check=False).returncode
        for each in BENCHMARKS
        if each.usual
    ]
    sys.exit(1 if any(codes) else 0)


@main.command("show")
def show() -> None:
    """Write the figures that are kept into the documentation once more."""
    for each in BENCHMARKS:
        each.refresh()


for _each in BENCHMARKS:
    main.add_command(_each.command())

if __name__ == "__main__":
    main()
