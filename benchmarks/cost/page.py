"""What `docs/performance.md` shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from benchmarks import page, plots
from benchmarks.cost.figures import PEER, QUEUE, QUEUES, SIZES, Who, alone, lives, names, waiting
from benchmarks.results import Result

_PLOT = "cost.svg"

_CAPTION = (
    "Requests to FirecREST for a launch + for an hour that its server runs; token requests for both. "
    f"All press Start together, and their jobs wait {QUEUE:g} s. The thousand are started by programs, which "
    "have no form: that asks once for the user's accounts."
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
    called: dict[str, Callable[[Who], str]] = {
        **{f"a launch whose job waits {queue} s": partial(alone, queue) for queue in QUEUES},
        "each further minute that launches wait, however many": waiting,
        "token requests in a token's life while launches wait": lives,
    }
    rows = [_row(results, text, name) for text, name in called.items()]
    return page.table(["", *(f"launcher, {who}" for who in Who), "target", PEER], rows)


def _row(results: Results, text: str, name: Callable[[Who], str]) -> list[str]:
    found = {who: results[name(who)] for who in Who}
    first = found[Who.SERVICE]
    peer = f"{first.peers[PEER]:g}" if first.peers else ""
    # Of what must not be more it is the most.
    return [text, *(_with_unit(each) for each in found.values()), str(first.target), peer]


def _with_unit(result: Result) -> str:
    return f"{result.value:g}{' for each user' if result.unit.endswith('and user') else ''}"
