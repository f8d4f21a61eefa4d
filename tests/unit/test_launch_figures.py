"""The figures of launches: how what was noted becomes phases, and how those are compared and shown."""

from __future__ import annotations

import html
import os
import re
import runpy
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import jupyterhub
import pytest

from benchmarks.launch import hub_notes, node, page
from benchmarks.launch.at_once import AGAINST, CROWD, HUB, RATE, Rush
from benchmarks.launch.at_once import TOTAL as PROCESSOR
from benchmarks.launch.at_once import figures as at_once
from benchmarks.launch.ground import BATCHSPAWNER, LOOP, OURS
from benchmarks.launch.notes import LAUNCHER, PARTS, PEER, Notes, logged, ours, parts, phases
from benchmarks.launch.one_by_one import OWN, REDIRECT, TOTAL, against, part, phase
from benchmarks.launch.one_by_one import figures as one_by_one
from benchmarks.peers import batch, small_singleuser
from benchmarks.results import by_name
from launcher.sandbox.processes import free_ports
from launcher.singleuser import entry, hub, isolation, reporter, vscode
from launcher.spawner import LauncherSpawner

HUB_LOG = """\
[I 2026-03-01 12:00:00.100 JupyterHub log:192] 302 GET /hub/spawn/alice -> /hub/spawn-pending/alice
[I 2026-03-01 12:00:00.250 JupyterHub batchspawner:289] Job submitted. output: 17
[I 2026-03-01 12:00:02.500 JupyterHub log:192] 200 POST /hub/api/batchspawner (alice@127.0.0.1) 3.21ms
[I 2026-03-01 12:00:05.000 JupyterHub base:1191] User alice took 5.000 seconds to start
"""
JOB_LOG = """\
[I 2026-03-01 12:00:04.000 ServerApp] jupyterlab | extension was successfully loaded.
[I 2026-03-01 12:00:04.750 ServerApp] Jupyter Server 2.21.1 is running at:
[I 2026-03-01 12:00:04.750 ServerApp] http://127.0.0.1:43649/user/alice/lab?token=...
"""


def moments(order, *seconds):
    """Return moments of a launch that began at 100 and whose phases took so long."""
    found = {"start": 100.0}
    for (_, end), each in zip(order, seconds, strict=True):
        found[end] = list(found.values())[-1] + each
    return found


LAUNCHED = moments(LAUNCHER, 0.0625, 0.03125, 0.125, 0.5, 0.25, 0.0625, 1.0, 0.5, 0.25)


class TestPhases:
    def test_each_lasts_from_the_end_of_the_one_before(self):
        assert list(phases(LAUNCHED, LAUNCHER).items()) == [
            *(("check", 0.0625), ("render", 0.03125), ("submit", 0.125), ("queue", 0.5), ("claim", 0.25)),
            *(("preflight", 0.0625), ("import", 1.0), ("bind", 0.5), ("redirect", 0.25)),
        ]

    def test_what_is_neither_slurms_nor_jupyterlabs_is_the_launchers(self):
        assert ours(phases(LAUNCHED, LAUNCHER)) == 0.78125

    def test_a_job_that_runs_before_its_submit_is_answered_has_not_waited(self):
        soon = LAUNCHED | {"submitted": LAUNCHED["script"] + 0.125}
        found = phases(soon, LAUNCHER)
        assert (found["submit"], found["queue"]) == (0.625, 0.0)
        assert sum(found.values()) == sum(phases(LAUNCHED, LAUNCHER).values())

    def test_one_whose_end_nobody_has_noted_is_named(self):
        del (known := dict(LAUNCHED))["imported"]
        with pytest.raises(ValueError, match="noted imported"):
            phases(known, LAUNCHER)

    def test_steps_in_another_order_are_no_phases(self):
        with pytest.raises(ValueError, match="another order"):
            phases(LAUNCHED | {"claimed": LAUNCHED["ready"] + 1}, LAUNCHER)

    @pytest.mark.parametrize("order", [LAUNCHER, PEER])
    def test_each_is_in_one_part(self, order):
        assert [[name in names for names in PARTS.values()].count(True) for name, _ in order] == [1] * len(
            order
        )

    def test_parts_are_as_long_as_the_launch(self):
        taken = phases(LAUNCHED, LAUNCHER)
        assert sum(parts(taken).values()) == sum(taken.values())


class TestLogs:
    def test_a_peers_logs_tell_when_it_submitted_and_when_the_server_had_a_port_and_ran(self):
        found = logged(HUB_LOG, JOB_LOG)
        assert found["port"] - found["submitted"] == pytest.approx(2.25)
        assert found["running"] - found["port"] == pytest.approx(2.25)

    def test_what_they_do_not_tell_is_left_out(self):
        assert logged("", JOB_LOG).keys() == {"running"}


class TestNotes:
    def test_those_of_hub_job_and_this_process_are_read_together_until_they_are_cleared(self, tmp_path):
        notes = Notes(tmp_path / "notes")
        (notes.directory / "launcher-singleuser").write_text("a program")
        notes.hub.write_text("checked 100.5\n")
        (notes.directory / "17").write_text("script 101.5\nready 102.5\nready 402.5\n")
        notes.note("submitted")
        found = notes.read()
        assert (found["checked"], found["script"], found["ready"]) == (100.5, 101.5, 102.5)
        assert "submitted" in found
        notes.clear()
        assert notes.read() == {}
        assert (notes.directory / "launcher-singleuser").exists()

    def test_a_scripts_first_line_notes_that_it_runs(self, tmp_path):
        notes = Notes(tmp_path / "notes")
        subprocess.run(["bash", "-euc", notes.first_line], env={"SLURM_JOB_ID": "17"}, check=True)
        assert notes.read().keys() == {"script"}

    def test_a_job_notes_its_steps_once_they_are_done(self, tmp_path, monkeypatch):
        def run(_):
            hub.Hub.claim("hub", "claim")
            reporter.Reporter.send("reporter", "starting")
            vscode.use("session")
            return 7

        # The copy puts others in their places, which monkeypatch takes back.
        for owner, name in ((hub.Hub, "claim"), (reporter.Reporter, "send"), (vscode, "use")):
            monkeypatch.setattr(owner, name, lambda *_, **__: None)
        monkeypatch.setattr(entry, "run", run)
        monkeypatch.setattr(isolation, "isolate", lambda _: None)
        monkeypatch.setattr(sys, "argv", ["launcher-singleuser"])
        monkeypatch.setenv("SLURM_JOB_ID", "17")
        program = tmp_path / "launcher-singleuser"
        program.write_text(Path(node.__file__).read_text())
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(program), run_name="__main__")
        assert ended.value.code == 7
        noted = [line.split()[0] for line in (tmp_path / "17").read_text().splitlines()]
        assert noted == ["python", "asked", "claimed", "starting", "imported"]

    def test_the_hub_notes_steps_that_the_spawner_has(self, tmp_path, monkeypatch):
        monkeypatch.setenv(hub_notes.NOTES, str(tmp_path / "hub"))
        monkeypatch.setattr(LauncherSpawner, "_submitted", lambda _: "start")
        assert hub_notes.NotedSpawner.__new__(hub_notes.NotedSpawner)._submitted() == "start"
        assert re.findall(r"^(\w+) [\d.]+$", (tmp_path / "hub").read_text(), re.MULTILINE) == [
            "checked",
            "rendered",
        ]


def taken(order, *own):
    """Return launches whose every phase took so long."""
    return [phases(moments(order, *([each] * len(order))), order) for each in own]


@pytest.fixture
def launches():
    """Launches of three rounds, in the second of which the machine was busy."""
    ours_ = taken(LAUNCHER, 0.0625, 0.5, 0.03125)
    return {OURS: ours_, BATCHSPAWNER: taken(PEER, 0.25, 2.0, 0.125), LOOP: taken(PEER, 0.5, 4.0, 0.25)}


@pytest.fixture
def rushes():
    """Rushes of three rounds."""
    return {
        OURS: [Rush(40, seconds, 8.0, 3.2) for seconds in (5.0, 10.0, 4.0)],
        BATCHSPAWNER: [Rush(40, seconds, 36.0, 3.6) for seconds in (20.0, 35.0, 20.0)],
    }


class TestFigures:
    def test_launches_are_compared_with_peers_of_the_same_round_but_for_the_queue(self, launches):
        found = by_name(one_by_one(launches))
        assert (found[TOTAL].value, found[TOTAL].runs) == (0.562, 3)
        assert found[TOTAL].peers == {BATCHSPAWNER: 1.25, LOOP: 2.5}
        assert [found[against(peer)].value for peer in (BATCHSPAWNER, LOOP)] == [0.5, 0.25]
        assert found[against(LOOP)].spread == (0.25, 0.25)

    def test_what_is_the_launchers_own_has_a_target(self, launches):
        own = by_name(one_by_one(launches))[OWN]
        assert (own.value, str(own.target), own.holds) == (0.375, "<= 0.5", True)

    def test_so_has_the_way_from_a_server_that_listens_to_the_browser(self, launches):
        redirect = by_name(one_by_one(launches))[REDIRECT]
        assert (redirect.value, str(redirect.target)) == (0.0625, "<= 0.3")
        assert redirect.peers == {BATCHSPAWNER: 0.25, LOOP: 0.5}

    def test_phases_are_the_launchers_and_parts_are_everybodys(self, launches):
        found = by_name(one_by_one(launches))
        assert found[phase("import")].peers == {}
        assert found[part("JupyterLab")].value == 0.125
        assert found[part("JupyterLab")].peers == {BATCHSPAWNER: 0.25, LOOP: 0.5}

    def test_launches_a_second_are_compared_round_by_round(self, rushes):
        found = by_name(at_once(rushes))
        assert (found[CROWD].value, found[RATE].value, found[RATE].peers) == (40, 8, {BATCHSPAWNER: 2.0})
        assert (found[AGAINST].value, found[AGAINST].spread) == (4.0, (3.5, 5.0))
        assert (str(found[AGAINST].target), found[AGAINST].holds) == (">= 3", True)

    def test_processor_seconds_are_told_for_one_launch(self, rushes):
        found = by_name(at_once(rushes))
        assert (found[PROCESSOR].value, found[PROCESSOR].peers) == (0.2, {BATCHSPAWNER: 0.9})
        assert (found[HUB].value, found[HUB].peers) == (0.08, {BATCHSPAWNER: 0.09})


class TestPage:
    @pytest.fixture
    def results(self, launches, rushes):
        return by_name([*one_by_one(launches), *at_once(rushes)])

    def test_every_row_of_a_table_has_all_columns(self, results):
        tables = re.findall(r"(?:^\|.*\|$\n?)+", page.shown(results), re.MULTILINE)
        assert len(tables) == 3
        for each in tables:
            assert len({line.count("|") for line in each.splitlines()}) == 1

    def test_a_target_that_is_missed_stands_out(self, launches, rushes):
        slow = {name: [rush._replace(seconds=20.0) for rush in those] for name, those in rushes.items()}
        text = page.shown(by_name([*one_by_one(launches), *at_once(slow)]))
        assert re.findall(r"^\| \*\*(.*?)\*\*", text, re.MULTILINE) == [AGAINST]

    def test_the_plot_has_a_row_for_everybody_and_a_colour_for_each_part(self, results):
        (file, plot), *others = page.plotted(results).items()
        assert not others
        assert f"images/performance/{file}" in page.shown(results)
        assert all(name in html.unescape(plot) for name in (OURS, BATCHSPAWNER, LOOP, *PARTS))


class TestPeers:
    def test_batchspawner_has_its_own_defaults_but_for_where_it_is(self, tmp_path):
        traits = batch.options(tmp_path / "slurm.conf", tmp_path)["classes"]["SlurmSpawner"]
        where = {"exec_prefix", "batchspawner_singleuser_cmd", "cmd", "args", "state_exechost_exp"}
        assert traits.keys() == where | {"req_prologue", "env_keep", "environment"}

    def test_the_small_server_answers_where_it_was_told_to_be(self):
        (port,) = free_ports(1)
        url = f"http://127.0.0.1:{port}/user/alice/"
        environment = {"JUPYTERHUB_SERVICE_URL": url, "PATH": os.defpath}
        with subprocess.Popen([sys.executable, small_singleuser.__file__], env=environment) as server:
            try:
                answer = answered(f"{url}api")
            finally:
                server.terminate()
        assert answer["X-JupyterHub-Version"] == jupyterhub.__version__


def answered(url):
    """Return the headers of an answer, of a server that may be about to begin."""
    for _ in range(1000):
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.headers
        except OSError:
            time.sleep(0.02)
    raise AssertionError("it does not answer")
