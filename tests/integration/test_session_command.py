"""`launcher session` in a terminal and a notebook of a real session, with a view that is in its way."""

from __future__ import annotations

import json

import pytest
import pytest_asyncio

import launcher
from launcher.check.session import run_in_terminal

CLUSTER = {"prologue": "export PYTHONPATH=~/broken\nexport LD_LIBRARY_PATH=~/broken"}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def alice(site, person):
    """Somebody with a session, and packages that no Python likes."""
    alice = await person()
    broken = site.state / "home" / alice.name / "broken"
    broken.mkdir(exist_ok=True)
    (broken / "click.py").write_text("raise SystemExit('broken')\n")
    assert (await alice.start())[-1].get("ready")
    return alice


async def in_terminal(site, alice, command):
    """Run a command in a terminal; return what it printed."""
    await alice.browser.open(f"{alice.server}lab")
    path = site.state / "home" / alice.name / "printed"
    await run_in_terminal(
        alice.browser, alice.server, f"{command} >{path} 2>&1; echo ended=$((40+2))", "ended=42"
    )
    return path.read_text()


async def test_a_terminal_tells_programs_what_its_session_is(site, alice):
    told = json.loads(await in_terminal(site, alice, "launcher session --json"))
    (job_id,) = await site.live_jobs(alice.name)
    assert told["job"]["id"] == job_id
    assert told["launcher"] == launcher.__version__
    assert told["hub"] == f"{site.url}hub"
    assert told["environment"]["kind"] == "host"
    assert told["start_directory"] == str(site.state / "home" / alice.name)
    assert told["images"] == []


async def test_a_terminal_tells_people_what_its_session_is(site, alice):
    printed = await in_terminal(site, alice, "launcher session")
    (job_id,) = await site.live_jobs(alice.name)
    assert f"\njob          {job_id}\n" in printed
    assert "\ntime left    " in printed
    assert "\nKernels\n" in printed


async def test_a_shell_completes_its_options(site, alice):
    command = "_LAUNCHER_COMPLETE=bash_complete COMP_WORDS='launcher session --j' COMP_CWORD=2 launcher"
    assert "plain,--json" in (await in_terminal(site, alice, command)).splitlines()


async def test_a_notebook_may_ask_too(alice):
    assert '"cluster": ' in await alice.compute(
        "import os; print(os.popen('launcher session --json').read())"
    )
