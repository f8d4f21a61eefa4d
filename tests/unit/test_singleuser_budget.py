"""What a node does before it imports JupyterLab: a thousand of them may do it at once on one file system."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from typing import NamedTuple

import claims
import pytest
from support import missing

from launcher.protocol import encode
from launcher.sandbox.software import stage

ANSWER = claims.ANSWER._replace(
    environment={"JUPYTERHUB_API_TOKEN": "t0ken", "JUPYTERHUB_SERVICE_PREFIX": "/user/alice/"}
)

CALLS = 800
"""Fewer file system calls than so many."""
OPENED = 150
"""Of these, fewer that open a file or a directory."""
MODULES = 130
"""Fewer modules than so many, besides those of Python's own start."""

# It ends where JupyterLab would be imported; what is imported of it ahead is left out.
UP_TO_JUPYTERLAB = """\
#!{python} -I
import os, sys
usual = set(sys.modules)
import launcher.singleuser.ahead
launcher.singleuser.ahead.MODULES = ()

class End:
    def find_spec(self, name, path=None, target=None):
        if name == "launcher.singleuser.server":
            print(*sys.modules.keys() - usual, flush=True)
            os._exit(0)

sys.meta_path.insert(0, End())
from launcher.singleuser import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Install the launcher as on a node, with byte code, and return a program that ends before JupyterLab."""
    prefix = tmp_path_factory.mktemp("node") / "software"
    stage(prefix)
    python = prefix / "bin/python"
    subprocess.run(
        [python, "-m", "compileall", "-q", *prefix.glob("lib/*/site-packages/launcher")], check=True
    )
    program = prefix / "bin/up-to-jupyterlab"
    program.write_text(UP_TO_JUPYTERLAB.format(python=python))
    program.chmod(0o755)
    return program


class Start(NamedTuple):
    """What a start did before JupyterLab."""

    calls: Counter[str]
    modules: list[str]


@pytest.fixture
def start(hub, program, tmp_path):
    """Start it, and claim a launch."""
    if not shutil.which("strace"):
        missing("strace is not installed", "apt-get install strace")
    hub.answers = [(200, encode(ANSWER)), *[(200, b"{}")] * 3]
    trace = tmp_path / "trace"
    done = subprocess.run(
        ["strace", "-f", "-o", trace, "-e", "trace=%file,getdents64,fstat", program],
        env={
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
            "SLURM_JOB_ID": "42",
            "LAUNCHER_TICKET": "0" * 64,
            "LAUNCHER_HUB_URL": hub.url,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    # How the program of Python finds its own libraries is the business of whoever has built it.
    _, begun, ours = trace.read_text().partition("pyvenv.cfg")
    assert begun
    return Start(Counter(re.findall(r"^[0-9]+ +(\w+)\(", ours, re.MULTILINE)), done.stdout.split())


def test_its_file_system_calls_are_within_the_budget(start):
    assert CALLS / 2 < start.calls.total() < CALLS, start.calls
    assert start.calls["openat"] < OPENED, start.calls


def test_it_imports_a_few_modules_of_python_and_of_its_own(start):
    tops = {name.partition(".")[0] for name in start.modules}
    assert tops <= sys.stdlib_module_names | {"launcher"}
    assert "launcher.singleuser.preflight" in start.modules
    assert len(start.modules) < MODULES, start.modules
