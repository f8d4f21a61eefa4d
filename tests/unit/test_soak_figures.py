"""The figures of a soak: what is drawn, what counts as wrong, and what counts as grown."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest

from benchmarks.results import by_name
from benchmarks.soak import count, figures, hub_log, page
from benchmarks.soak.count import Kind, Seen, Wrong
from benchmarks.soak.gauges import Left, Sample, Use, parse_status
from benchmarks.soak.journal import SITE, Journal
from benchmarks.soak.mishaps import FAULTS
from benchmarks.soak.program import Deed, Phase, phases, program
from benchmarks.soak.server import Wish
from benchmarks.soak.soak import Outcome, Quiet

RESTARTS = {Deed.HUB_KILLED, Deed.HUB_TERMINATED, Deed.PROXY_RESTARTED}


# ---- the program


def drawn(seed, minutes=30.0):
    return list(program(seed, 14, phases(minutes)))


def test_a_seed_gives_the_same_acts_and_another_one_others():
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_acts_fit_into_their_phase_and_fill_it():
    for phase, acts in zip(phases(30), drawn(1), strict=True):
        assert phase.seconds - 2 < sum(act.after for act in acts) < phase.seconds


def test_hub_and_proxy_are_restarted_in_the_last_third_only():
    restarted = [RESTARTS & {act.deed for act in acts} for acts in drawn(1)]
    assert restarted == [set(), set(), set(), set(), RESTARTS, RESTARTS]


def test_half_an_hour_has_everything_in_it():
    acts = [act for acts in drawn(1) for act in acts]
    assert {act.deed for act in acts} == set(Deed)
    assert {act.detail for act in acts if act.deed is Deed.FAULT} == set(FAULTS)
    assert {act.who for act in acts} == {None, *range(14)}


def test_only_what_was_started_is_stopped_or_struck():
    started: set[tuple[int | None, str]] = set()
    for acts in program(1, 14, [Phase(600, restarts=False, all_stop=False)]):
        for act in acts:
            key = (act.who, act.server)
            if act.deed.startswith(Deed.START):
                started.add(key)
            elif act.deed in (Deed.STOP, Deed.REMOVE, Deed.ENDED, Deed.KILLED, Deed.LEAVES):
                assert key in started
                started.discard(key)
            if act.deed is Deed.START_AND_STOP:
                started.discard(key)


# ---- what is wrong

SERVES = Seen(Wish.RUNNING, "ready", "ready", ("7",), is_its=True, answers=True)
GONE = Seen(Wish.NONE)


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        (SERVES, None),
        (replace(SERVES, wish=Wish.EITHER), None),
        (replace(SERVES, wish=Wish.NONE), Kind.ORPHAN),
        (replace(SERVES, answers=False), Kind.LOST),
        (replace(SERVES, shown=""), Kind.LOST),
        (replace(SERVES, is_its=False), Kind.LOST),
        (replace(SERVES, jobs=(), is_its=False), Kind.LOST),
        (replace(SERVES, wish=Wish.EITHER, answers=False), Kind.ORPHAN),
        (replace(SERVES, wish=Wish.NONE, jobs=(), is_its=False), Kind.GHOST),
        (GONE, None),
        (replace(GONE, wish=Wish.EITHER), None),
        (replace(GONE, wish=Wish.RUNNING), Kind.LOST),
        (replace(GONE, shown="pending stop"), Kind.GHOST),
        (replace(GONE, phase="ending"), Kind.GHOST),
        (replace(GONE, phase="ending", jobs=("7",)), Kind.ORPHAN),
    ],
)
def test_a_server_is_right_if_it_is_as_its_owner_wishes(seen, kind):
    assert seen.wrong is kind


def test_what_is_wrong_is_told_in_words():
    words = replace(SERVES, answers=False).words
    assert words == "wished: running; saved: ready; shown: ready; jobs: 7; the proxy does not lead to it"


def test_a_trail_holds_what_happened_to_somebody_and_to_everybody_since():
    journal = Journal()
    journal.note(SITE, "hub is killed")
    journal.note("soak01:second", "Start")
    journal.note("soak02", "Stop")
    journal.note(SITE, "proxy is restarted")
    trail = [line.split(maxsplit=1)[1] for line in journal.trail("soak01")]
    assert [" ".join(line.split()) for line in trail] == [
        "soak01:second Start",
        "the site proxy is restarted",
    ]


# ---- the log

LOG = """\
[E 2026-01-01 10:00:00.000 JupyterHub web:2108] Uncaught exception POST /hub/api/users/soak06/server
    Traceback (most recent call last):
      File "/site-packages/tornado/web.py", line 2004, in _execute
        result = await result
                 ^^^^^^^^^^^^
      File "/site-packages/jupyterhub/handlers/base.py", line 1190, in finish_user_spawn
        await spawn_future
    asyncio.exceptions.CancelledError
[I 2026-01-01 10:00:01.000 JupyterHub log:192] 200 GET /hub/api/
Traceback (most recent call last):
  File "/work/launcher/spawner/start.py", line 10, in _submit
    raise KeyError(1)
KeyError: 1

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/site-packages/sqlalchemy/engine/base.py", line 5, in commit
    raise
sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) database is locked
Traceback (most recent call last):
  File "/work/launcher/sandbox/jupyterhub_config.py", line 1, in <module>
ValueError
"""


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        ("KeyError: 1", True),
        ("launcher.words.failure.LaunchFailed: 424 Log in again.", False),
        ("asyncio.exceptions.CancelledError", False),
    ],
)
def test_what_a_user_is_told_or_has_stopped_is_no_error_of_ours(error, ours):
    log = LOG[: LOG.index("During")].replace("\nKeyError: 1\n", f"\n{error}\n")
    assert any(each.ours for each in hub_log.tracebacks(log)) == ours


def test_tracebacks_are_counted_by_where_they_came_from_and_with_their_causes_once():
    assert hub_log.tracebacks(LOG + LOG) == {
        hub_log.Traceback(
            "asyncio.exceptions.CancelledError", "handlers/base.py, finish_user_spawn", ours=False
        ): 2,
        hub_log.Traceback("sqlalchemy.exc.OperationalError", "engine/base.py, commit", ours=True): 2,
        hub_log.Traceback("ValueError", "sandbox/jupyterhub_config.py, <module>", ours=False): 2,
    }


# ---- figures


def test_memory_and_threads_are_read_as_the_kernel_tells_them():
    assert parse_status("Name:\tpython\nVmRSS:\t  152524 kB\nThreads:\t8\n") == (152.524, 8)


def test_a_program_that_has_ended_and_is_not_yet_waited_for_uses_nothing():
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert Use.of(SimpleNamespace(running=True, pid=ended.pid)) is None
    finally:
        ended.wait()


def test_growth_is_that_of_the_last_third_over_the_first():
    assert figures.grown([99, 100, 101, 500, 110, 120, 130, 9]) == (
        69.5,
        99.5,
        pytest.approx(0.698, abs=1e-3),
    )
    assert figures.grown([100, 100, 150, 150, 110, 110]) == (110, 100, 1.1)


def outcome(memory=lambda minute: 150.0, **changes):
    """A soak of six minutes, whose hub uses so much memory at a minute."""
    parts = phases(6)
    samples = [
        Sample(
            number / 10, number // 10, Use(1 + number // 50, memory(number / 10), 20, 8), Use(2, 80, 30, 7)
        )
        for number in range(60)
    ]
    rows = Counter(spawners=14, users=14)
    left = Left(rows=rows, others=20)
    quiet = [
        Quiet(number + 1.0, 2.0 + number, [], rows, left if part.all_stop else None)
        for number, part in enumerate(parts)
    ]
    counts = Counter({"acts": 360, "starts": 120, Deed.KILLED: 3, Deed.ENDED: 4, Deed.HUB_KILLED: 2})
    return replace(Outcome(5, 14, parts, samples, quiet, counts), **changes)


def figured(**changes):
    return by_name(figures.results(outcome(**changes)))


def test_a_soak_on_which_nothing_was_wrong_holds():
    results = figured()
    assert all(each.holds for each in results.values())
    assert results["Lost servers"].runs == 6
    assert results["Until all is as people wish"].value == 7.0
    assert results["Ends that nobody asked for"].value == 7
    assert results["Restarts of the hub"].value == 2
    assert (results["Seed"].value, results["Length"].value) == (5, 6)


def test_memory_that_grows_does_not_hold():
    grown = figured(memory=lambda minute: 100 + 10 * minute)
    ratio = grown["Hub's memory, last third against first"]
    assert not ratio.holds
    # From minute 1 to 4: the median of the last minute over that of the first.
    assert ratio.value == pytest.approx(134.5 / 114.5, abs=1e-3)
    assert grown["Hub's memory, slope"].value == 10_000


def test_what_the_first_phase_and_those_with_restarts_use_does_not_count():
    results = figured(memory=lambda minute: 150 if 1 <= minute < 4 else 1000 * minute)
    assert results["Hub's memory, last third against first"].value == 1
    assert results["Hub's memory, up to minute 6"].value > 5000


@pytest.mark.parametrize("kind", list(Kind))
def test_what_is_wrong_at_one_quiet_point_does_not_hold(kind):
    quiet = outcome().quiet
    quiet[2] = replace(quiet[2], wrong=[Wrong(kind, "soak01", "")])
    results = figured(quiet=quiet)
    broken = [name for name, each in results.items() if not each.holds]
    assert broken == [figures.WRONG[kind]]


def test_what_is_left_at_the_end_or_has_become_more_does_not_hold():
    quiet = outcome().quiet
    more = Left(Counter(spawners=15, users=14, api_tokens=2), jobs=1, processes=3, others=21)
    quiet[-1] = replace(quiet[-1], left=more)
    results = figured(quiet=quiet)
    broken = {name: each for name, each in results.items() if not each.holds}
    assert {name: each.value for name, each in broken.items()} == {
        "Left when all has stopped": 5,
        "Rows of the hub's database, more at the end": 3,
    }
    assert broken["Left when all has stopped"].peers == {
        "jobs": 1,
        "servers": 0,
        "processes": 3,
        "scripts of jobs": 0,
        "other files, more than before": 1,
    }
    rows = broken["Rows of the hub's database, more at the end"].peers
    assert rows == {"api_tokens": 2, "spawners": 15, "users": 14}


def test_rows_that_are_fewer_do_not_make_up_for_those_that_are_more():
    quiet = outcome().quiet
    quiet[-1] = replace(quiet[-1], left=Left(Counter(spawners=14, users=13, api_tokens=1), others=20))
    assert figured(quiet=quiet)["Rows of the hub's database, more at the end"].value == 1


def test_tracebacks_of_ours_do_not_hold():
    results = figured(tracebacks=hub_log.tracebacks(LOG))
    ours, theirs = results["Tracebacks, ours"], results["Tracebacks, JupyterHub's"]
    assert (ours.value, ours.holds) == (1, False)
    assert (theirs.value, theirs.holds) == (2, True)
    kind = "Tracebacks, ours: sqlalchemy.exc.OperationalError in engine/base.py, commit"
    assert results[kind].value == 1


def test_a_soak_without_undisturbed_phases_says_nothing_of_growth():
    parts = [Phase(60, restarts=False, all_stop=True), Phase(60, restarts=True, all_stop=True)]
    quiet = [replace(each, left=Left()) for each in outcome().quiet[:2]]
    samples = [replace(each, phase=min(each.phase, 1)) for each in outcome().samples]
    results = figured(parts=parts, quiet=quiet, samples=samples)
    assert not any("last third" in name for name in results)
    assert all(each.holds for each in results.values())


def test_the_page_tells_what_happened_and_shows_targets_and_the_plot():
    results = figured()
    shown = page.shown(results)
    assert shown.startswith("6 minutes, 14 people, seed 5: 360 acts, 120 starts, ")
    assert "| Hub's memory, last third against first | 1 times | first: 150, last: 150 | <= 1.1 |" in shown
    assert (
        "| Rows of the hub's database, more at the end | 0 rows | spawners: 14, users: 14 | <= 0 |" in shown
    )
    assert "up to minute" not in shown
    plotted = page.plotted(results)
    assert shown.endswith("(images/performance/soak.svg)")
    assert "Hub's memory, MB" in plotted["soak.svg"].replace("&#39;", "'")
    assert page.shown({}) == ""
    assert page.plotted({}) == {}


def test_what_was_seen_is_what_is_counted():
    assert set(figures.WRONG) == set(count.Kind)
