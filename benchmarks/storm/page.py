"""What `docs/performance.md` shows of storms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchmarks.page import plot, spread, table
from benchmarks.plots import stacked
from benchmarks.results import Result
from benchmarks.storm.told import (
    BACK,
    EACH,
    EMPTY,
    FIGURES,
    KEPT,
    LATE,
    LOST,
    LOST_SERVERS,
    OWN,
    OWN_SHARE,
    RATE,
    REPORTS,
    SHARE,
    STEADY_LATE,
    STEADY_LATEST,
    TAKEN_UP,
)

Results = Mapping[str, Result]

TIME = "Hub's processor time a launch"


def shown(results: Results) -> str:
    """Return the Markdown of one storm, or several."""
    parts = [_storm(what, results) for what in whats(results)]
    if plotted(results):
        words = "bars: what a launch takes of the hub's core, JupyterHub's part and the launcher's"
        parts.append(plot(_file(results), words))
    return "\n\n".join(parts)


def shown_with_steady(results: Results) -> str:
    """Return the Markdown of several storms, and of many servers in steady state."""
    return f"{shown(results)}\n\n{_steady(results)}"


def plotted(results: Results) -> dict[str, str]:
    """Return file name → SVG: the processor's time that a launch takes, and whose it is."""
    rows = {}
    for what in whats(results):
        time = results[f"{TIME}, {what}"]
        own = results[f"{OWN[0]}, {what}"].value
        rows[f"{what}: launcher"] = (time.value - own, own)
        rows[f"{what}: {EMPTY}"] = (time.peers[EMPTY], 0.0)
    if not rows:
        return {}
    return {_file(results): stacked("Hub's processor time a launch, ms", rows, ("JupyterHub", "launcher"))}


def _file(results: Results) -> str:
    return "burst.svg" if len(whats(results)) == 1 else "storm.svg"


def whats(results: Results) -> list[str]:
    """Return which storms there are."""
    begin = f"{TIME}, "
    return [name.removeprefix(begin) for name in results if name.startswith(begin)]


def _storm(what: str, results: Results) -> str:
    ratios = {"Launches a second": RATE, "Event loop late, p99": LATE}
    rows = []
    for name, (unit, _) in FIGURES.items():
        result = results[f"{name}, {what}"]
        ratio = results.get(f"{ratios[name]}, {what}") if name in ratios else None
        compared = [f"{ratio.value:g} ({ratio.target})" if ratio else ""]
        rows.append([f"{name}, {unit}", spread(result), f"{result.peers[EMPTY]:g}", *compared])
    for name in (*OWN, LOST):
        result = results[f"{name}, {what}"]
        target = f" ({result.target})" if result.target else ""
        rows.append([f"{name}, {result.unit}", f"{spread(result)}{target}", "", ""])
    runs = results[f"{TIME}, {what}"].runs
    head = [f"{what}{f', {runs} runs' if runs > 1 else ''}", "launcher", EMPTY, "ratio (target)"]
    return table(head, rows)


def _steady(results: Results) -> str:
    names: Iterable[str] = (
        *(BACK, TAKEN_UP, EACH, KEPT, SHARE, OWN_SHARE),
        *(REPORTS, STEADY_LATE, STEADY_LATEST, LOST_SERVERS),
    )
    begin = f"{OWN_SHARE}, "
    (what,) = (name.removeprefix(begin) for name in results if name.startswith(begin))
    rows = []
    for name in names:
        result = results[f"{name}, {what}"]
        target = str(result.target) if result.target else ""
        rows.append([f"{name}, {result.unit}", f"{result.value:g}", target])
    return table([what, "measured", "target"], rows)
