"""What `docs/performance.md` shows."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks import page, plots
from benchmarks.cost.figures import PEER, QUEUE, QUEUES, SIZES, Who, alone, names
from benchmarks.results import Result

_PLOT = "cost.svg"

_CAPTION = (
    "Requests to FirecREST for a launch + for an hour that its server runs; token requests besides. "
    f"All press Start together, and their jobs wait {QUEUE:g} s."
)

Results = Mapping[str, Result]


def shown(results: Results) -> str:
    """Return the part of the page."""
    return "\n\n".join([_beside(results), page.plot(_PLOT, _ALTERNATIVE), _alone(results)])


def plotted(results: Results) -> dict[str, str]:
    """Return the plots."""
    title = "FirecREST requests for a launch and an hour of each server"
    series = {
        f"launcher, {who}": [(size, _sum(results, size, who)) for size in SIZES if who in _who(results, size)]
        for who in Who
    }
    series[PEER] = [(size, _sum(results, size, Who.SERVICE, PEER)) for size in SIZES]
    return {_PLOT: plots.curves(title, series, "servers", logarithmic=True)}


_ALTERNATIVE = (
    "Requests over the number of servers, on logarithmic scales: the launcher's far below the loop's"
)


def _beside(results: Results) -> str:
    head = ["servers", *(f"launcher, {who}" for who in Who), PEER, *(f"times fewer, {who}" for who in Who)]
    rows = []
    for size in SIZES:
        there = _who(results, size)
        ours = [_cell(results, size, who) if who in there else "" for who in Who]
        fewer = [f"{results[names(size, who)['fewer']].value:g}" if who in there else "" for who in Who]
        rows.append([f"{size:,}", *ours, _cell(results, size, Who.SERVICE, PEER), *fewer])
    return f"{page.table(head, rows)}\n\n{_CAPTION}"


def _cell(results: Results, size: int, who: Who, peer: str = "") -> str:
    called = names(size, who)
    launch, tokens, hour = (_figure(results[called[key]], peer) for key in ("launch", "tokens", "hour"))
    return f"{launch:g} + {hour:g}; {tokens:g}"


def _sum(results: Results, size: int, who: Who, peer: str = "") -> float:
    called = names(size, who)
    return size * sum(_figure(results[called[key]], peer) for key in ("launch", "hour"))


def _figure(result: Result, peer: str) -> float:
    return result.peers[peer] if peer else result.value


def _who(results: Results, size: int) -> list[Who]:
    """Return with whose tokens so many were measured."""
    return [who for who in Who if names(size, who)["launch"] in results]


def _alone(results: Results) -> str:
    rows = [
        _row(results, f"a launch whose job waits {queue} s", {who: alone(queue, who) for who in Who})
        for queue in QUEUES
    ]
    kinds = {"waiting": "waiting: requests a minute", "lives": "waiting: token requests a token's life"}
    for key, text in kinds.items():
        for size in SIZES:
            called = {who: names(size, who)[key] for who in _who(results, size)}
            rows.append(_row(results, f"{size:,} {text}", called))
    return page.table(["", *(f"launcher, {who}" for who in Who), "target", PEER], rows)


def _row(results: Results, text: str, called: Mapping[Who, str]) -> list[str]:
    cells = [page.spread(results[called[who]]) if who in called else "" for who in Who]
    first = results[called[Who.SERVICE]]
    return [text, *cells, str(first.target), f"{first.peers[PEER]:g}" if first.peers else ""]
