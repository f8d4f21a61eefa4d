"""What a real server does until it listens: counts, which are the same on a slow machine."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from typing import NamedTuple

import pytest
from support import program

from benchmarks.node.hub import hub
from benchmarks.node.starts import AS_NOBODY, NOBODY, Given, Node
from launcher.sandbox.software import stage
from launcher.sandbox.state import state_directory

CALLS = 9_300
"""Fewer file system calls than so many."""
MODULES = 1_060
"""Fewer modules than so many."""
NOT_IMPORTED = {"sqlalchemy", "alembic", "IPython", "rfc3987_syntax"}
"""What stock servers import besides."""

# The program of a node; as it begins to listen it says what is imported, and leaves a mark among its calls.
SERVER = """\
#!{python} -I
import os, sys
from launcher.protocol import EventKind
from launcher.singleuser import main
from launcher.singleuser.reporter import Reporter

def send(reporter, kind, *, send=Reporter.send, **facts):
    if kind is EventKind.READY:
        os.path.exists("/it/listens")
        print("It has imported", *sys.modules, flush=True)
    send(reporter, kind, **facts)

Reporter.send = send
sys.exit(main())
"""


class Start(NamedTuple):
    """What a server did until it listened."""

    calls: Counter[str]
    modules: list[str]


@pytest.fixture(scope="module")
def start():
    """Start a server of the base install, as a job does."""
    strace = program("strace")
    with state_directory(None) as state:
        stage(state / "software")
        python = state / "software/bin/python"
        code = (state / "software").glob("lib/*/site-packages/launcher")
        subprocess.run([python, "-m", "compileall", "-q", *code], check=True)
        server = state / "software/bin/server"
        server.write_text(SERVER.format(python=python))
        server.chmod(0o755)
        home = state / "home"
        home.mkdir()
        nobody = AS_NOBODY if os.geteuid() == 0 else ()
        if nobody:
            os.chown(home, NOBODY, NOBODY)
        trace = home / "trace"
        traced = (strace, "-f", "-o", str(trace), "-e", "trace=%file,getdents64,fstat", str(server))
        with (
            hub(str(home)) as there,
            Node(home, there).running([*nobody, *traced], Given.TICKET) as started,
        ):
            (modules,) = re.findall("It has imported (.*)", started.log)
        return Start(counted(trace.read_text(errors="replace")), modules.split())


def counted(trace):
    """Count the calls of a server's own threads until it listens, by their names."""
    # How the program of Python finds its own libraries is the business of whoever has built it.
    _, begins, ours = trace.partition("pyvenv.cfg")
    ours, listens, _ = ours.partition("/it/listens")
    assert begins
    assert listens
    # What is looked for by programs, such as kernels, depends on the machine.
    programs = set(re.findall(r"^([0-9]+) +execve\(", ours, re.MULTILINE))
    calls = re.findall(r"^([0-9]+) +(\w+)\(", ours, re.MULTILINE)
    return Counter(name for thread, name in calls if thread not in programs)


def test_its_file_system_calls_are_within_the_budget(start):
    assert CALLS / 2 < start.calls.total() < CALLS, start.calls


def test_its_modules_are_within_the_budget(start):
    assert "jupyterlab" in start.modules
    assert len(start.modules) < MODULES


def test_it_does_without_what_no_session_needs_before_somebody_uses_it(start):
    assert not NOT_IMPORTED & set(start.modules)
