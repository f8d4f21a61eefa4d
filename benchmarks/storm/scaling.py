"""What `docs/scaling.md` says of one hub: arithmetic from the figures of storms."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.page import table
from benchmarks.results import Result
from benchmarks.storm.page import TIME, whats
from benchmarks.storm.told import BACK, KEPT, OWN, REPORTS, SHARE, TAKEN_UP

_HALF = 50
"""Percent of the hub's core, which leaves as much for pages, log-ins and whoever comes at the same time."""


def shown(results: Mapping[str, Result]) -> str:
    """Return a table of what follows for one hub, each with the figures that it follows from."""
    at_once = next(what for what in whats(results) if what.endswith("at once"))
    rate, cpu, own = (results[f"{name}, {at_once}"].value for name in ("Launches a second", TIME, OWN[0]))
    servers = _servers(results)
    steady = {
        name: results[f"{name}, {servers:,} servers"].value for name in (SHARE, REPORTS, KEPT, BACK, TAKEN_UP)
    }
    each = (steady[SHARE] + steady[REPORTS]) / servers
    rows = [
        [
            "people who press Start in one moment and are all served within a minute",
            f"{rate:g} launches/s x 60 s",
            f"{rate * 60:,.0f}",
        ],
        [
            "launches in a minute, one after the other, that take half of the hub's core",
            f"{_HALF} % x 60 s / {cpu:g} ms",
            f"{_HALF / 100 * 60 / cpu * 1e3:,.0f}",
        ],
        [
            "the launcher's own part of that",
            f"{own:g} ms of {cpu:g} ms",
            f"{100 * own / cpu:.0f} %",
        ],
        [
            "servers that take half of the hub's core while nobody starts one",
            f"{_HALF} % / ({steady[SHARE]:g} % + {steady[REPORTS]:g} %) x {servers:,}",
            f"{_HALF / each:,.0f}",
        ],
        [
            f"memory for {servers:,} servers, besides the hub itself",
            f"{steady[KEPT]:g} kB x {servers:,}",
            f"{steady[KEPT] * servers / 1e6:.1f} GB",
        ],
        [
            f"seconds until a restarted hub answers, and until it has looked at {servers:,} servers",
            "measured",
            f"{steady[BACK]:g}, {steady[TAKEN_UP]:g}",
        ],
    ]
    return table(["one hub, on the machine of [performance.md](performance.md#storms)", "from", "is"], rows)


def _servers(results: Mapping[str, Result]) -> int:
    begin = f"{SHARE}, "
    (name,) = (name for name in results if name.startswith(begin))
    return int(name.removeprefix(begin).removesuffix(" servers").replace(",", ""))
