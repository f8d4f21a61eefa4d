"""The figures of a soak."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import linear_regression, median

from benchmarks.results import Result, Target, at_most
from benchmarks.soak.count import Kind
from benchmarks.soak.gauges import Left, Use
from benchmarks.soak.program import Deed
from benchmarks.soak.soak import Outcome

FLAT = at_most(1.10)
"""What is flat: the median of the last third against that of the first."""
NONE = at_most(0)

COUNTS: dict[str, tuple[str, ...]] = {
    "Acts": ("acts",),
    "Starts": ("starts",),
    "Servers that became ready": ("servers ready",),
    "Starts that failed, in words": ("starts that failed, in words",),
    "Stops": ("stops",),
    "Ends that nobody asked for": (Deed.ENDED, Deed.KILLED, Deed.LEAVES, Deed.REQUEUED),
    "Nodes that hung": (Deed.HANGS,),
    "Faults": ("faults",),
    "Restarts of the hub": (Deed.HUB_KILLED, Deed.HUB_TERMINATED),
    "Restarts of the proxy": (Deed.PROXY_RESTARTED,),
}
"""Name of a figure → what is counted for it."""

WRONG = {Kind.LOST: "Lost servers", Kind.ORPHAN: "Orphans", Kind.GHOST: "Servers without a job"}
MEMORY, DESCRIPTORS, ROWS = "Hub's memory", "Hub's file descriptors", "Rows of the hub's database"
UP_TO = ", up to minute "
_MEASURED: dict[str, Callable[[Use], float]] = {
    "memory": lambda use: use.memory,
    "file descriptors": lambda use: use.files,
    "threads": lambda use: use.threads,
}
_LEAST = 3


def results(outcome: Outcome) -> list[Result]:
    """Return the figures of a soak."""
    return [
        *_counted(outcome),
        *_wrong(outcome),
        *_grown(outcome),
        *_left([quiet.left for quiet in outcome.quiet if quiet.left]),
        *_logged(outcome),
        *_curves(outcome),
    ]


def grown(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the medians of the last and of the first third of some values, and their ratio."""
    third = len(values) // 3
    last, first = median(values[-third:]), median(values[:third])
    return last, first, last / first


def _figure(
    name: str,
    value: float,
    unit: str,
    target: Target | None = None,
    peers: Mapping[str, float] | None = None,
) -> Result:
    return Result(name, value, unit, (value, value), target, peers or {})


def _counted(outcome: Outcome) -> Iterator[Result]:
    yield _figure("Seed", outcome.seed, "")
    yield _figure("Length", round(sum(part.seconds for part in outcome.parts) / 60, 1), "min")
    yield _figure("People", outcome.people, "people")
    for name, keys in COUNTS.items():
        yield _figure(name, sum(outcome.counts[key] for key in keys), "")


def _wrong(outcome: Outcome) -> Iterator[Result]:
    points = [Counter(wrong.kind for wrong in quiet.wrong) for quiet in outcome.quiet]
    for kind, name in WRONG.items():
        counts = [point[kind] for point in points]
        yield Result(name, sum(counts), "", (min(counts), max(counts)), NONE, runs=len(counts))
    seen = [round(quiet.seconds, 1) for quiet in outcome.quiet]
    yield Result("Until all is as people wish", max(seen), "s", (min(seen), max(seen)), runs=len(seen))


def _grown(outcome: Outcome) -> Iterator[Result]:
    """How much more the last third has than the first, after the first phase and before all restarts."""
    undisturbed = [
        sample for sample in outcome.samples if sample.phase and not outcome.parts[sample.phase].restarts
    ]
    for program in ("hub", "proxy"):
        used = [(sample.minute, use) for sample in undisturbed if (use := getattr(sample, program))]
        if len(used) < _LEAST:
            continue
        for what, measure in _MEASURED.items():
            values = [measure(use) for _, use in used]
            last, first, ratio = grown(values)
            yield Result(
                f"{program.title()}'s {what}, last third against first",
                round(ratio, 3),
                "times",
                (round(min(values) / first, 3), round(max(values) / first, 3)),
                FLAT if program == "hub" else None,
                {"first": round(first, 1), "last": round(last, 1)},
                len(values),
            )
        slope, _ = linear_regression([minute for minute, _ in used], [use.memory for _, use in used])
        yield _figure(f"{program.title()}'s memory, slope", round(1000 * slope, 1), "kB a minute")


def _left(points: Sequence[Left]) -> Iterator[Result]:
    """What is left at the end, and how much more than after the first phase."""
    first, last = points[0], points[-1]
    things = {
        "jobs": last.jobs,
        "servers": last.servers,
        "processes": last.processes,
        "scripts of jobs": last.spooled,
        "other files, more than before": last.others - first.others,
    }
    yield _figure("Left when all has stopped", sum(things.values()), "", NONE, things)
    # Whoever was killed leaves one; the user's next session that ends well removes it.
    yield _figure("Private directories of killed sessions at the end", last.directories, "directories")
    tables = {table: rows for table, rows in sorted(last.rows.items()) if rows or first.rows[table]}
    yield _figure(f"{ROWS}, more at the end", (last.rows - first.rows).total(), "rows", NONE, tables)


def _logged(outcome: Outcome) -> Iterator[Result]:
    for ours, name, target in ((True, "ours", NONE), (False, "JupyterHub's", None)):
        kinds = {each: count for each, count in outcome.tracebacks.items() if each.ours is ours}
        yield _figure(f"Tracebacks, {name}", sum(kinds.values()), "", target)
        for each, count in sorted(kinds.items(), key=lambda kind: -kind[1]):
            yield _figure(f"Tracebacks, {name}: {each.kind}", count, "")


def _curves(outcome: Outcome) -> Iterator[Result]:
    """What is used in each phase, and the rows at its end."""
    seconds = 0.0
    for number, (part, quiet) in enumerate(zip(outcome.parts, outcome.quiet, strict=True)):
        seconds += part.seconds
        when = f"{UP_TO}{seconds / 60:.3g}"
        used = [sample.hub for sample in outcome.samples if sample.phase == number and sample.hub]
        if used:
            yield Result.of(f"{MEMORY}{when}", [use.memory for use in used], "MB")
            yield Result.of(f"{DESCRIPTORS}{when}", [use.files for use in used], "files")
        yield _figure(f"{ROWS}{when}", quiet.rows.total(), "rows")
