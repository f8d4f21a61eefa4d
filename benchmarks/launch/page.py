"""The figures of launches as Markdown, and as a plot."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks import plots
from benchmarks.launch import at_once, one_by_one
from benchmarks.launch.ground import BATCHSPAWNER, OURS
from benchmarks.launch.notes import LAUNCHER, PARTS
from benchmarks.page import plot, spread, table
from benchmarks.results import Result

PLOT = "launch.svg"

_UNTIL = {
    "check": "the hub has checked what was sent",
    "render": "the script is rendered, the launch's record saved",
    "submit": "FirecREST has submitted the job",
    "queue": "its script runs (Slurm's)",
    "claim": "the job has claimed its launch",
    "preflight": "home, images and socket are there",
    "import": "JupyterLab is imported (JupyterLab's)",
    "bind": "it listens (JupyterLab's)",
    "redirect": "it has answered the browser",
}


def shown(results: Mapping[str, Result]) -> str:
    """Return what the page shows of launches.

    Args:
        results: By their names.
    """
    text = "Seconds of each part, one launch after the other, by hub: the same as in the table below."
    return "\n\n".join([_phases(results), plot(PLOT, text), _parts(results), _at_once(results)])


def plotted(results: Mapping[str, Result]) -> dict[str, str]:
    """Return the plot, by the name of its file.

    Args:
        results: By their names.
    """
    found = [results[one_by_one.part(name)] for name in PARTS]
    rows = {OURS: [each.value for each in found]}
    rows |= {peer: [each.peers[peer] for each in found] for peer in one_by_one.PEERS}
    return {PLOT: plots.stacked("Seconds from Start to the redirect", rows, list(PARTS))}


def _phases(results: Mapping[str, Result]) -> str:
    rows = [[f"{name}: {_UNTIL[name]}", spread(results[one_by_one.phase(name)]), ""] for name, _ in LAUNCHER]
    rows += [
        _row(results[name], spread(results[name]))
        for name in (one_by_one.TOTAL, one_by_one.OWN, one_by_one.REDIRECT)
    ]
    return table(["phase, until", "seconds", "target"], rows)


def _parts(results: Mapping[str, Result]) -> str:
    def row(title: str, name: str) -> list[str]:
        each = results[name]
        return [title, f"{each.value:g}", *(f"{each.peers[peer]:g}" for peer in one_by_one.PEERS)]

    rows = [row(name, one_by_one.part(name)) for name in PARTS]
    rows.append(row(one_by_one.TOTAL, one_by_one.TOTAL))
    ratios = [spread(results[one_by_one.against(peer)]) for peer in one_by_one.PEERS]
    rows.append(["the launcher's without the queue, against it", "", *ratios])
    return table(["seconds", OURS, *one_by_one.PEERS], rows)


def _at_once(results: Mapping[str, Result]) -> str:
    found = [results[name] for name in (at_once.RATE, at_once.TOTAL, at_once.HUB)]
    rows = [_row(each, spread(each), f"{each.peers[BATCHSPAWNER]:g}") for each in found]
    ratio = results[at_once.AGAINST]
    rows.append(_row(ratio, spread(ratio), ""))
    head = f"{results[at_once.CROWD].value:g} launches at once, small servers"
    return table([head, OURS, BATCHSPAWNER, "target"], rows)


def _row(result: Result, *cells: str) -> list[str]:
    """Return a row with a figure's name and target, in bold if that is missed."""
    row = [result.name, *cells, str(result.target or "")]
    return row if result.holds else [cell and f"**{cell}**" for cell in row]
