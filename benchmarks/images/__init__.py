"""What uenv images cost and save: building them, and starting JupyterLab from them."""

from benchmarks.benchmark import Benchmark
from benchmarks.images.measuring import measured
from benchmarks.images.page import shown
from benchmarks.node.work import BELOW, RUNS

BENCHMARK = Benchmark("images", 4, measured, shown, options=(RUNS, BELOW))
