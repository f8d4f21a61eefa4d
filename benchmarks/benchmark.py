"""What every benchmark is: figures, the part of `docs/performance.md` that shows them, and a command."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from benchmarks import page
from benchmarks.results import Result, keep, load

INTERRUPTED = 130
"""Exit code of one that a signal has ended."""
BUSY = 0.5
"""Load above which the machine does something else."""


@dataclass(frozen=True)
class Benchmark:
    """A benchmark, as its package offers it by the name `BENCHMARK`.

    Attributes:
        name: Its name.
        minutes: How long it takes on two cores, about.
        measured: Yields figures, some at a time, as they are known. It takes `options` by their names.
        shown: Returns the Markdown that shows the figures.
        plotted: Returns file name → SVG.
        options: Of its command.
        usual: Whether `make bench` runs it.
        follows: Another page → what returns the Markdown of what follows there from the figures.
    """

    name: str
    minutes: float
    measured: Callable[..., Iterable[Iterable[Result]]]
    shown: Callable[[Mapping[str, Result]], str]
    plotted: Callable[[Mapping[str, Result]], Mapping[str, str]] = lambda _: {}
    options: tuple[click.Option, ...] = ()
    usual: bool = True
    follows: Mapping[Path, Callable[[Mapping[str, Result]], str]] = field(default_factory=dict)

    def run(self, **options: Any) -> bool:
        """Measure, keep and show the figures; return whether all targets hold.

        Figures that are not complete are not kept.
        """
        click.echo(f"{self.name}: this takes some {self.minutes:g} minutes.", err=True)
        if (load_now := os.getloadavg()[0]) > BUSY:
            click.echo(f"The machine is busy (load {load_now:.1f}): times will be too long.", err=True)
        results: list[Result] = []
        for some in self.measured(**options):
            for each in some:
                click.echo(f"{each.name}: {each.value:g} {each.unit}", err=True)
                results.append(each)
        keep(results, self.name)
        self.refresh()
        click.echo(lines(results))
        return all(each.holds for each in results)

    def refresh(self) -> None:
        """Write the figures that are kept, if any, and the plots of them, into the documentation."""
        if kept := load(self.name):
            page.refresh(self.name, self.shown(kept), self.plotted(kept))
            for path, shown in self.follows.items():
                path.write_text(page.written(path.read_text(), self.name, shown(kept)))

    def command(self) -> click.Command:
        """Return the command that runs it; exit code 1 if a target does not hold."""

        def callback(**options: Any) -> None:
            try:
                sys.exit(0 if self.run(**options) else 1)
            except asyncio.CancelledError:  # a signal has asked for that, and all is cleaned up
                sys.exit(INTERRUPTED)

        text = f"Run it; takes some {self.minutes:g} minutes. Exit code 1 if a target does not hold."
        return click.Command(self.name, callback=callback, params=[*self.options], help=text)


def lines(results: Iterable[Result]) -> str:
    """Return results as lines of a table for a terminal."""
    shown = list(results)
    width = max(len(result.name) for result in shown)
    head = f"{'':{width}}  {'value':>7}  {'target':>8}  {'spread':>15}  runs"
    return "\n".join([head, *(_line(result, width) for result in shown)])


def _line(result: Result, width: int) -> str:
    low, high = result.spread
    target = str(result.target or "")
    figures = f"{result.value:7g}  {target:>8}  {f'{low:g}-{high:g}':>15}  {result.runs:4}"
    peers = "".join(f"; {name}: {value:g}" for name, value in result.peers.items())
    return (
        f"{result.name:{width}}  {figures}  {result.unit}{peers}{'' if result.holds else '  DOES NOT HOLD'}"
    )
