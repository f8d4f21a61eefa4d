"""What launches and servers cost at FirecREST: requests, counted where they arrive.

All figures are counts, and the same on a slow machine. `docs/performance.md` says what each means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from benchmarks.benchmark import Benchmark
from benchmarks.cost.measuring import measured
from benchmarks.cost.page import plotted, shown
from benchmarks.results import Result


def _measured() -> Iterator[list[Result]]:
    yield asyncio.run(measured())


BENCHMARK = Benchmark("cost", minutes=6.5, measured=_measured, shown=shown, plotted=plotted)
