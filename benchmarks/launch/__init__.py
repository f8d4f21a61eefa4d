"""What a launch takes from Start to the redirect, one by one and many at once, beside peers on one Slurm."""

import click

from benchmarks.benchmark import Benchmark
from benchmarks.launch.measuring import measured
from benchmarks.launch.page import plotted, shown

_OPTIONS = (
    click.Option(["--runs"], default=5, show_default=True, help="Launches one by one at each hub."),
    click.Option(["--people"], default=40, show_default=True, help="Who launch at once."),
    click.Option(["--rounds"], default=3, show_default=True, help="How often they do at each hub."),
)

BENCHMARK = Benchmark("launch", 3.5, measured, shown, plotted, _OPTIONS)
