"""The results of storms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.results import Result, at_least, at_most
from benchmarks.storm.figures import Storm, percentile
from benchmarks.storm.steady import Return, While

EMPTY = "empty spawner"

PERCENTS = (50, 95, 99)

_OF_CEILING = at_least(0.8)
_OF_LATENESS = at_most(1.25)
_OWN = at_most(10)
_SHARE = at_most(5)

_Figure = Callable[[Storm], float]


def _waited(percent: int) -> _Figure:
    return lambda storm: percentile(storm.seconds, percent)


FIGURES: dict[str, tuple[str, _Figure]] = {
    "Launches a second": ("launches/s", lambda storm: storm.rate),
    **{f"From Start to ready, p{percent}": ("s", _waited(percent)) for percent in PERCENTS},
    "Event loop late, p99": ("s", lambda storm: storm.late),
    "Event loop late at most": ("s", lambda storm: storm.latest),
    "Hub's processor time a launch": ("ms", lambda storm: 1e3 * storm.seen.cpu / len(storm.starts)),
    "Hub's memory a server": ("kB", lambda storm: storm.seen.grown / 1e3 / len(storm.starts)),
    "Hub's core busy": ("%", lambda storm: 100 * storm.hub_busy),
    "Other core busy": ("%", lambda storm: 100 * storm.others_busy),
}
"""What is said of both spawners: name → unit, and how it is had of a storm."""

OWN = tuple(f"The launcher's own processor time a launch, p{percent}" for percent in PERCENTS[:2])
RATE, LATE = "Launches a second, of the ceiling", "Event loop late at p99, of the ceiling"
LOST = "Starts that came to nothing"


def of_storms(
    what: str, ours: Sequence[Storm], theirs: Sequence[Storm], *, ceiling: bool = True
) -> list[Result]:
    """Return the results of storms that took turns.

    Args:
        what: How many, and when.
        ours: Those of the launcher.
        theirs: Those of the empty spawner.
        ceiling: Whether as many come as the hub can take, so that their rate says something.
    """
    results = [
        Result.of(f"{name}, {what}", list(map(figure, ours)), unit, peers={EMPTY: list(map(figure, theirs))})
        for name, (unit, figure) in FIGURES.items()
    ]
    if ceiling:
        rates = ([storm.rate for storm in storms] for storms in (ours, theirs))
        results.append(Result.ratio(f"{RATE}, {what}", next(rates), next(rates), _OF_CEILING))
    late = ([storm.late for storm in storms] for storms in (ours, theirs))
    results.append(Result.ratio(f"{LATE}, {what}", next(late), next(late), _OF_LATENESS))
    for name, percent, target in zip(OWN, PERCENTS, (None, _OWN), strict=False):
        own = [1e3 * percentile(storm.own, percent) for storm in ours]
        results.append(Result.of(f"{name}, {what}", own, "ms", target))
    results.append(Result.worst(f"{LOST}, {what}", [storm.lost for storm in ours], "starts", 0))
    return results


BACK, TAKEN_UP, EACH = "A hub answers again", "It has looked at all servers", "Its processor time a server"
KEPT, LOST_SERVERS = "Its memory a server", "Servers lost"
SHARE, OWN_SHARE = "Hub, with its servers in steady state", "The launcher's own part of that"
REPORTS = "JupyterHub's activity reports besides"
STEADY_LATE, STEADY_LATEST = "Event loop late in steady state, p99", "Event loop late in steady state at most"


def of_steady_state(
    servers: int, back: Return, plain: While, reporting: While, *, memory: float, lost: int
) -> list[Result]:
    """Return the results of many servers that run.

    Args:
        servers: How many.
        back: The hub that took them up.
        plain: The hub while servers say that they live, and it looks whether they do.
        reporting: The same while they report activity besides.
        memory: Bytes by which the hub is larger than without them.
        lost: How many of them are not there any more in the end.
    """
    figures = {
        BACK: (back.answers, "s", None),
        TAKEN_UP: (back.servers, "s", None),
        EACH: (1e3 * back.cpu / servers, "ms", None),
        KEPT: (memory / 1e3 / servers, "kB", None),
        SHARE: (100 * plain.share, "% of a core", None),
        OWN_SHARE: (100 * plain.own, "% of a core", _SHARE),
        STEADY_LATE: (percentile(plain.seen.late, 99), "s", None),
        STEADY_LATEST: (max(plain.seen.late, default=0.0), "s", None),
        REPORTS: (100 * (reporting.share - plain.share), "% of a core", None),
        LOST_SERVERS: (lost, "servers", at_most(0)),
    }
    return [
        Result.of(f"{name}, {servers:,} servers", [value], unit, target)
        for name, (value, unit, target) in figures.items()
    ]
