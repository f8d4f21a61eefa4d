"""`python -m benchmarks NAME`: run one; `python -m benchmarks all`: run all that `make bench` runs."""

from __future__ import annotations

import signal
import subprocess
import sys

import click

from benchmarks import compressions, cost, images, launch, soak, startup, storm
from benchmarks.benchmark import INTERRUPTED, Benchmark

BENCHMARKS: tuple[Benchmark, ...] = (
    startup.BENCHMARK,
    launch.BENCHMARK,
    cost.BENCHMARK,
    images.BENCHMARK,
    storm.BURST,
    compressions.BENCHMARK,
    storm.BENCHMARK,
    soak.BENCHMARK,
)
"""In the order in which they are run."""


@click.group()
def main() -> None:
    """Measure on this machine, beside what others do, and write `docs/performance.md`."""


@main.command("all")
def every() -> None:
    """Run one after the other; exit code 1 if a target does not hold."""
    codes = [_ended(each.name) for each in BENCHMARKS if each.usual]
    sys.exit(1 if any(codes) else 0)


def _ended(name: str) -> int:
    """Run one in a process of its own, so that none finds what another has left; end if told to."""
    told = []
    with subprocess.Popen([sys.executable, "-m", "benchmarks", name]) as process:

        def hand_on(number: int, _frame: object) -> None:
            told.append(number)
            process.send_signal(number)

        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, hand_on)
        code = process.wait()
    if told:
        sys.exit(INTERRUPTED)
    return code


@main.command("show")
def show() -> None:
    """Write the figures that are kept into the documentation once more."""
    for each in BENCHMARKS:
        each.refresh()


for _each in BENCHMARKS:
    main.add_command(_each.command())

if __name__ == "__main__":
    main()
