"""How soon a single-user server answers, and what that takes, beside JupyterHub's own and batchspawner's."""

from pathlib import Path

import click

from benchmarks.benchmark import Benchmark
from benchmarks.node.work import RUNS
from benchmarks.startup.measuring import measured
from benchmarks.startup.page import plotted, shown

_BELOW = click.Option(
    ["--below"],
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A directory for the environments, on the disk that is measured; the builder's cache otherwise.",
)

BENCHMARK = Benchmark("startup", 3.5, measured, shown, plotted, options=(RUNS, _BELOW))
