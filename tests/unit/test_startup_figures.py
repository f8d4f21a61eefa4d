"""The figures of starts: how servers are started and asked, and how what they take is counted and shown."""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.request
from types import SimpleNamespace

import pytest

from benchmarks.node import processes
from benchmarks.node.hub import hub
from benchmarks.node.places import State
from benchmarks.node.processes import Stat
from benchmarks.node.starts import Given, Node, Start
from benchmarks.results import by_name
from benchmarks.startup import calls, figures, half, page, whole
from benchmarks.startup.half import Half
from benchmarks.startup.programs import BARE, BATCH, OURS, Where
from launcher.protocol import Event, EventKind, encode

TRACE = """\
10 execve("/jupyter/bin/python", ["python"], 0x7ffd /* 3 vars */) = 0
10 newfstatat(3, "", {st_mode=S_IFREG|0644}, AT_EMPTY_PATH) = 0
10 openat(AT_FDCWD, "/jupyter/pyvenv.cfg", O_RDONLY) = 3
10 openat(AT_FDCWD, "/jupyter/lib",  <unfinished ...>
12 getdents64(5, 0x5581 /* 0 entries */, 32768) = 0
10 <... openat resumed>O_RDONLY|O_DIRECTORY) = 4
12 --- SIGCHLD {si_signo=SIGCHLD} ---
12 +++ exited with 0 +++
10 +++ killed by SIGKILL +++
"""

SERVER = """\
import http.server, json, os, sys, urllib.parse, urllib.request

class Handler(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Handler.asked += 1
        self.send_response(200 if self.path == "/user/nobody/api" and Handler.asked > 2 else 404)
        self.end_headers()
    def log_message(self, *arguments):
        pass

url = os.environ["JUPYTERHUB_SERVICE_URL"]
server = http.server.HTTPServer(("127.0.0.1", urllib.parse.urlsplit(url).port), Handler)
if url.endswith(":0/user/nobody/"):
    told = json.dumps({"port": server.server_port}).encode()
    urllib.request.urlopen(os.environ["JUPYTERHUB_API_URL"] + "batchspawner", told).close()
print("serving", flush=True)
server.serve_forever()
"""


def test_calls_are_counted_once_however_many_lines_they_have():
    assert calls.counted(TRACE.splitlines()) == 5


def test_calls_are_counted_until_a_server_takes_its_first_connection():
    trace = [
        '12 openat(AT_FDCWD, "/a", O_RDONLY) = 3',
        "12 accept4(6, {sa_family=AF_INET}, [128 => 16], SOCK_CLOEXEC) = 9",
        '12 openat(AT_FDCWD, "/b", O_RDONLY) = 3',
    ]
    assert list(calls.until_listening(trace)) == trace[:1]


def test_the_half_of_a_start_is_counted_from_what_python_looks_for_first():
    assert half.split(TRACE) == (3, 2)


def test_the_name_of_a_program_does_not_disturb_what_the_kernel_says_of_it():
    text = f"42 (a) R 1 (b) S 7 42 40 {' 0' * 7} 100 20 30 5 {' 0' * 30}"
    assert Stat.parse(text) == Stat(parent=7, session=40, ticks=155)


def test_a_family_is_a_session_and_all_that_came_of_it_elsewhere():
    stats = {
        10: Stat(1, 10, 50),
        11: Stat(1, 10, 20),  # whose parent has ended
        12: Stat(10, 12, 10),  # in a session of its own
        13: Stat(12, 12, 10),
        14: Stat(1, 14, 1000),
    }
    members = processes.family(10, stats)
    assert members == {10, 11, 12, 13}
    assert processes.cpu(members, stats) == pytest.approx(90 / os.sysconf("SC_CLK_TCK"))


def test_the_most_memory_that_a_process_has_had_is_read():
    assert (
        processes.kilobytes("Name:\tpython\nVmPeak:\t  900 kB\nVmHWM:\t  700 kB\nVmRSS:\t  600 kB\n") == 700
    )
    assert processes.kilobytes("Name:\tpython\nState:\tZ (zombie)\n") == 0


@pytest.mark.parametrize("given", [Given.ALL, Given.NO_PORT])
def test_a_start_ends_with_the_first_answer_that_is_one(given, tmp_path):
    with hub("/") as there:
        node = Node(tmp_path, there)
        with node.running([sys.executable, "-c", SERVER], given) as server:
            assert server.start.seconds > 0
            assert server.start.memory > 1
            assert server.log == "serving\n"
            assert server.ask("api") == (200, b"")
            assert server.ask("nothing")[0] == 404


def test_a_server_that_does_not_start_is_no_figure(tmp_path):
    with hub("/") as there, pytest.raises(RuntimeError, match="no such extension"):
        Node(tmp_path, there).start([sys.executable, "-c", "exit('no such extension')"], Given.ALL)


def test_a_program_that_ends_is_waited_for_and_must_not_fail(tmp_path):
    with hub("/") as there:
        node = Node(tmp_path, there)
        assert node.ended([sys.executable, "-c", "sum(range(10**6))"], Given.ALL) > 0
        with pytest.raises(RuntimeError, match="broken"):
            node.ended([sys.executable, "-c", "exit('broken')"], Given.ALL)


def post(there, path, body):
    with urllib.request.urlopen(f"{there.url}{path}", body) as answer:
        return json.load(answer)


def test_the_hub_hears_a_port_from_batchspawner_and_from_the_launcher():
    with hub("/home/alice") as there:
        claimed = post(there, "launcher/claim", b"{}")
        assert claimed["start_directory"] == "/home/alice"
        post(there, "launcher/events", encode(event(claimed, EventKind.STARTING)))
        post(there, "launcher/events", b'{"launch_id": "0')  # of one who was killed while it spoke
        assert not there.told.is_set()
        post(
            there, "launcher/events", encode(event(claimed, EventKind.READY, port=4321, address="127.0.0.1"))
        )
        assert there.told.is_set()
        assert there.port == 4321
        there.forget()
        assert not there.told.is_set()
        post(there, "batchspawner", b'{"port": 8765}')
        assert (there.told.is_set(), there.port) == (True, 8765)


def event(claimed, kind, **more):
    return Event(launch_id=claimed["launch_id"], kind=kind, sequence=1, **more)


def test_the_hub_lets_the_server_know_who_asks_it():
    with hub("/") as there, urllib.request.urlopen(f"{there.url}user") as answer:
        scopes = json.load(answer)["scopes"]
        assert set(scopes) & set(json.loads(there.variables(1)["JUPYTERHUB_OAUTH_ACCESS_SCOPES"]))


def test_what_one_program_lacks_is_named():
    loaded = {"a": frozenset({"lsp", "lab"}), "b": frozenset({"lab"}), "c": frozenset({"lsp", "lab"})}
    assert whole.differing(loaded) == {"b": ["lsp"]}
    assert whole.differing({name: frozenset({"lab"}) for name in "ab"}) == {}


def test_extensions_are_those_that_were_loaded_not_those_that_were_found():
    log = """\
[I 12:00:00 ServerApp] jupyter_lsp | extension was successfully linked.
[I 12:00:00 ServerApp] jupyterlab | extension was successfully linked.
[W 12:00:01 ServerApp] jupyter_lsp | extension failed loading with message: broken
[I 12:00:01 NodeServer] jupyterlab | extension was successfully loaded.
"""
    server = SimpleNamespace(log=log, ask=lambda _: (200, b""))
    assert whole.answering(server, OURS) == {"jupyterlab"}


def test_an_extension_that_does_not_answer_is_told():
    server = SimpleNamespace(log="", ask=lambda path: (404 if path == "lsp/status" else 200, b"not found"))
    with pytest.raises(RuntimeError, match="404 at lsp/status: not found"):
        whole.answering(server, OURS)


def starts(*seconds):
    return [Start(each, each / 2, 0, each * 100) for each in seconds]


def seen(*ours):
    return {OURS: starts(*ours), BARE: starts(*(2.0 for _ in ours)), BATCH: starts(*(3.0 for _ in ours))}


def test_programs_are_compared_in_the_rounds_that_they_ran_in():
    # The machine was busy in the second round.
    found = by_name(
        figures.started(
            Where.DIRECTORY,
            State.WARM,
            {OURS: starts(1.0, 4.4, 1.1), BARE: starts(2.0, 8.0, 2.0), BATCH: starts(3.0, 3.0, 3.0)},
        )
    )
    start = found["Start from a directory, warm"]
    ratio = found["Start from a directory, warm, against jupyterhub-singleuser"]
    assert (start.value, start.peers, start.runs) == (1.1, {BARE: 2.0, BATCH: 3.0}, 3)
    assert (ratio.value, ratio.spread, ratio.holds) == (0.55, (0.5, 0.55), False)


@pytest.mark.parametrize(("ours", "kept"), [(1.0, {True}), (1.2, {True, False}), (1.4, {False})])
def test_each_measure_has_a_target_of_its_own(ours, kept):
    found = [each for each in figures.started(Where.IMAGE, State.COLD, seen(ours)) if each.target]
    assert len(found) == len(figures.MEASURES)
    assert {each.holds for each in found} == kept


def test_calls_have_a_target_as_a_ratio():
    _, ratio = figures.called({OURS: [80, 82, 84], BARE: [100, 100, 100], BATCH: [120, 120, 120]})
    assert (ratio.value, str(ratio.target), ratio.holds) == (0.82, "<= 0.8", False)


def results(ours=1.0):
    found = [*figures.halved(Half([0.06, 0.07], [700, 700], [40, 40]))]
    found += figures.called({OURS: [9000], BARE: [12345], BATCH: [13000]})
    for where in Where:
        for state in figures.STATES:
            found += figures.started(where, state, seen(ours))
    return by_name(found)


def test_the_page_shows_all_figures_in_whole_tables():
    text = page.shown(results())
    tables = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    assert len(tables) == 4
    for each in tables:
        assert len({line.count("|") for line in each.splitlines()}) == 1
    assert "| jupyterhub-singleuser | squashfs | cold | 2 | 1 | 200 |" in text
    assert "| jupyterhub-singleuser | 12,345 |" in text
    assert f"](images/performance/{page.PLOT})" in text


def test_the_page_marks_what_does_not_hold():
    row = "| Start from a directory, warm | {} |"
    assert row.format("0.5 | <= 0.5") in page.shown(results(1.0))
    assert row.format("**0.6** | **<= 0.5**") in page.shown(results(1.2))


def test_the_plot_names_programs_and_places():
    ((name, plot),) = page.plotted(results()).items()
    assert name == page.PLOT
    for text in (OURS, BARE, BATCH, "directory, warm", "squashfs, cold"):
        assert text in plot
