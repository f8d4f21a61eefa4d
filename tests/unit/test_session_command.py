"""`launcher session`: what a session has, for people and for programs."""

import importlib
import json
import time
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from launcher import job_end
from launcher.cli import cli

COMMAND = importlib.import_module("launcher.cli.session")
NOW = 1_800_000_000
TOLD = {
    "launcher": "1.0",
    "hub": "https://hub.example.org/hub",
    "cluster": "Daint",
    "environment": {"title": "PrgEnv", "kind": "uenv"},
    "images": [
        {
            "mount": "/user-environment",
            "label": "prgenv-gnu/24.11:v1",
            "name": "prgenv-gnu",
            "loaded": ["default"],
            "others": ["modules", "spack"],
        },
        {"mount": "/user-tools", "label": "tools", "name": "tools", "loaded": [], "others": []},
    ],
    "node": "nid001",
    "job": {
        "id": "42",
        "partition": "debug",
        "account": "c1",
        "nodes": "nid[001-002]",
        "start": None,
        "end": None,
    },
    "end_warning": 0,
    "start_directory": "/home/alice",
}
# A node in the zone UTC.
CLOCK = SimpleNamespace(
    time=lambda: NOW,
    localtime=time.gmtime,
    strftime=lambda form, moment: time.strftime(form.replace("%Z", "UTC"), moment),
)
KERNELS = [
    {
        "name": "python3",
        "title": "Python 3.12 · prgenv-gnu/24.11 default",
        "program": "/user-environment/env/default/bin/python",
        "problem": "",
        "fix": "",
    },
    {
        "name": "venv",
        "title": "Python 3.11 · venv",
        "program": "/home/alice/venv/bin/python",
        "problem": "ipykernel is not installed.",
        "fix": "/home/alice/venv/bin/python -m pip install ipykernel",
    },
]


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Return a function that puts a squeue in the real one's place; without it there is none."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))

    def answers(shell):
        (programs / "squeue").write_text(f"#!/bin/sh\n{shell}\n")
        (programs / "squeue").chmod(0o755)

    return answers


@pytest.fixture
def session(tmp_path, monkeypatch, command, slurm):
    """Return a function that runs the command in a session; what it gives replaces what is told of it."""
    monkeypatch.setattr(COMMAND, "time", CLOCK)
    monkeypatch.setattr(job_end, "time", CLOCK)
    monkeypatch.setenv("LAUNCHER_SESSION", str(tmp_path / "session.json"))

    def run(*arguments, kernels=None, **told):
        job = TOLD["job"] | told.pop("job", {})
        (tmp_path / "session.json").write_text(json.dumps(TOLD | told | {"job": job}))
        if kernels is not None:
            (tmp_path / "kernels.json").write_text(json.dumps(kernels))
        return command("session", *arguments)

    return run


def left(session, **told):
    """Return what is told of the session's end: seconds since 1970, seconds left, and those in words."""
    told = json.loads(session("--json", **told)[1])
    return told["ends"], told["time_left"], told["time_left_words"]


class TestOutside:
    def test_where_there_is_no_session_it_says_so(self, monkeypatch, command):
        monkeypatch.delenv("LAUNCHER_SESSION", raising=False)
        code, out, err = command("session")
        assert (code, out) == (2, "")
        assert err.splitlines() == [
            "Error: This is no terminal of a session.",
            "LAUNCHER_SESSION is not set; the server sets it for its terminals and kernels.",
            "Start a server from JupyterHub, and open a terminal in JupyterLab.",
        ]

    def test_a_session_that_is_over_is_told(self, monkeypatch, command, tmp_path):
        monkeypatch.setenv("LAUNCHER_SESSION", str(tmp_path / "session.json"))
        code, out, err = command("session", "--json")
        assert (code, out) == (2, "")
        assert err.startswith("Error: The session of this terminal is over, or runs on another node.\n")


class TestTable:
    def test_it_shows_all_of_a_session(self, session, slurm):
        slurm("echo 1:12:40")
        code, out, err = session(kernels=KERNELS)
        assert (code, err) == (0, "")
        assert (
            out
            == """\
cluster      Daint
environment  PrgEnv (uenv)
job          42
partition    debug
account      c1
node         nid001 (of nid[001-002])
time left    1 h 12 min, until 2027-01-15 09:12 UTC
started in   /home/alice
hub          https://hub.example.org/hub

Images
  prgenv-gnu/24.11:v1  /user-environment  default (loaded), modules, spack
  tools                /user-tools        no views

Kernels
  Python 3.12 · prgenv-gnu/24.11 default  /user-environment/env/default/bin/python
  Python 3.11 · venv                      /home/alice/venv/bin/python
    can't run: ipykernel is not installed.
    to mend it: /home/alice/venv/bin/python -m pip install ipykernel
"""
        )

    def test_what_there_is_none_of_takes_no_line(self, session):
        _, out, _ = session(images=[], job={"account": "", "nodes": "nid001"}, cluster="", kernels=[])
        assert "Images" not in out
        assert "account" not in out
        assert "cluster" not in out
        assert "\nnode         nid001\n" in out
        assert out.endswith("\nKernels\n  There are none.\n")

    @pytest.mark.parametrize(
        ("environment", "shown"),
        [
            ({"title": "", "kind": "host"}, "environment  host\n"),
            ({"title": "A", "kind": ""}, "environment  A\n"),
        ],
    )
    def test_an_environment_is_shown_by_what_is_known_of_it(self, session, environment, shown):
        assert shown in session(environment=environment)[1]

    def test_kernels_that_are_not_found_yet_are_being_looked_for(self, session):
        assert session()[1].endswith("\nKernels\n  They are still being looked for.\n")

    def test_no_text_moves_the_cursor(self, session):
        bad = "a\x1b[2J\r\n\u202eb\udc80"
        images = [{"mount": bad, "label": bad, "name": bad, "loaded": [bad], "others": [bad]}]
        kernel = dict.fromkeys(("name", "title", "program", "problem", "fix"), bad)
        _, out, _ = session(
            cluster=bad, environment={"title": bad, "kind": "uenv"}, images=images, kernels=[kernel], node=bad
        )
        assert "a?[2J???b?" in out
        assert not {"\x1b", "\r", "\u202e", "\udc80"} & set(out)

    def test_it_has_colours_on_a_terminal_only(self, session):
        assert "\x1b" not in session(kernels=KERNELS)[1]
        assert "\x1b[1mKernels" in CliRunner().invoke(cli, ["session"], color=True).output


class TestJson:
    def test_it_is_one_object_with_all_that_is_known(self, session, slurm):
        slurm("echo 10:00")
        code, out, err = session("--json", kernels=KERNELS)
        assert (code, err) == (0, "")
        job = TOLD["job"] | {"end": NOW + 600}
        end = {"ends": NOW + 600, "time_left": 600, "time_left_words": "10 min"}
        assert json.loads(out) == TOLD | end | {"job": job, "kernels": KERNELS}

    def test_kernels_that_are_not_found_yet_are_null(self, session):
        assert json.loads(session("--json")[1])["kernels"] is None

    def test_any_text_can_be_printed(self, session):
        assert json.loads(session("--json", cluster="\x1b\udc80")[1])["cluster"] == "\x1b\udc80"


class TestTimeLeft:
    @pytest.mark.parametrize(
        ("answer", "seconds", "words"),
        [
            ("2-03:00:59", 183659, "2 d 3 h"),
            ("1:12:00", 4320, "1 h 12 min"),
            ("59:59", 3599, "59 min"),
            ("0:59", 59, "less than a minute"),
            ("0:00", 0, "over"),
            ("INVALID", 0, "over"),
        ],
    )
    def test_slurm_is_asked(self, session, slurm, answer, seconds, words):
        slurm(f"echo '{answer}'")
        assert left(session) == (NOW + seconds, seconds, words)

    def test_a_session_ends_before_its_job(self, session, slurm):
        slurm("echo 10:00")
        assert left(session, end_warning=120) == (NOW + 480, 480, "8 min")
        assert json.loads(session("--json", end_warning=120)[1])["job"]["end"] == NOW + 600

    def test_of_the_sessions_own_job_whatever_the_user_asks_squeue_for(self, session, slurm, monkeypatch):
        slurm('[ "$*" = "--noheader --jobs=42 --format=%L" ] && [ -z "$SQUEUE_STATES" ] && echo 1:00')
        monkeypatch.setenv("SQUEUE_STATES", "PENDING")
        assert left(session)[1] == 60

    def test_its_answer_counts_more_than_what_the_job_was_told_when_it_began(self, session, slurm):
        slurm("echo 2:00:00")
        assert left(session, job={"end": NOW + 60}) == (NOW + 7200, 7200, "2 h")

    def test_a_job_may_have_no_limit(self, session, slurm):
        slurm("echo UNLIMITED")
        assert left(session, job={"end": NOW + 60}) == (None, None, "no limit")

    @pytest.mark.parametrize(
        "shell", ["exit 1", "echo; echo 1:00; echo 2:00", "echo NOT_SET", "printf '\\377'", "exec sleep 60"]
    )
    def test_without_a_usable_answer_what_the_job_was_told_counts(self, session, slurm, monkeypatch, shell):
        monkeypatch.setattr(job_end, "_PATIENCE", 1)
        slurm(f"PATH=/usr/bin:/bin; {shell}")
        assert left(session, job={"end": NOW + 60}) == (NOW + 60, 60, "1 min")

    def test_without_squeue_too(self, session):
        assert left(session, job={"end": NOW - 60}) == (NOW - 60, 0, "over")

    def test_else_it_is_not_known(self, session):
        assert left(session) == (None, None, "unknown")
        assert "\ntime left    unknown\n" in session()[1]
