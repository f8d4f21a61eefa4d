"""What `launcher` imports before it does anything: people wait for it, on file systems that others share."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

# As the program does it, and at its end the names of all modules.
LAUNCHER = """\
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
from launcher.cli import main
sys.exit(main())
"""
CLICK = "import click, json, sys; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"

HELP, ANYTHING, COMMAND = 95, 25, 45
"""Fewer modules than so many, besides click with what it imports: for help, for any command, for one."""

SHELL = {"_LAUNCHER_COMPLETE": "bash_complete"}
TAB = {**SHELL, "COMP_WORDS": "launcher ", "COMP_CWORD": "1"}
TAB_OF_A_COMMAND = {**SHELL, "COMP_WORDS": "launcher session --", "COMP_CWORD": "2"}


def imported(code, *arguments, **variables):
    """Run a Python that tells on standard error what it has imported; return that, and what it printed."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/", **variables}
    command = [sys.executable, "-I", "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr)), done.stdout


@pytest.mark.parametrize(
    ("arguments", "variables", "says", "budget"),
    [
        (["--version"], {}, "launcher ", ANYTHING),
        (["--help"], {}, "Commands:", HELP),
        (["session", "--help"], {}, "Examples:", COMMAND),
        ([], TAB, "plain,session", HELP),
        ([], TAB_OF_A_COMMAND, "plain,--json", COMMAND),
    ],
    ids=["--version", "--help", "session --help", "TAB", "session TAB"],
)
def test_it_imports_a_few_modules_of_python_and_of_its_own(arguments, variables, says, budget):
    usual, _ = imported(CLICK)
    whole, said = imported(LAUNCHER, *arguments, **variables)
    more = whole - usual
    assert says in said
    # No pydantic, no Jinja2, no YAML, nothing that speaks to a hub: the base install has none of them.
    assert {name.partition(".")[0] for name in more} <= sys.stdlib_module_names | {"launcher", "click"}
    assert "launcher.cli" in more
    assert len(more) < budget, sorted(more)
