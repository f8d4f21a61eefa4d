"""How a session ended by itself: on the page of the stopped server, on the form, and in the hub's log."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from html import unescape
from pathlib import Path

import pytest
from support import eventually, node_says, saved_record, signal_jobs

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCHEDULER = "process"
SITE = {"stand_in": True, "with_admin": True}
CLUSTER = {"memory": ["16G", "64G"], "idle": {"server": 30}}
MARKUP = "<img src=x onerror=alert(1)>"


def servers(account) -> list[int]:
    """The processes of somebody's server."""
    home, found = f"HOME={account.home}".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            command = (path.parent / "cmdline").read_bytes()
            if home in path.read_bytes().split(b"\0") and b"launcher-stand-in" in command:
                found.append(int(path.parent.name))
    return found


def signalled(number):
    async def end(site, someone):
        # The batch script has the program's name in its text, not in its arguments.
        for pid in servers(site.accounts[someone.name]):
            os.kill(pid, number)

    return end


def told(reason, **facts):
    return lambda site, someone: node_says(site, someone.name, reason, **facts)


async def shown(someone, url) -> str:
    """Return a page as a browser gets it."""
    # What asks for no HTML is taken for a program.
    answer = await someone.browser._client.get(url, headers={"Accept": "text/html"})
    return answer.text


def notice(page: str) -> str:
    """What a page says of the last session, as text, or nothing."""
    found = re.search(r'role="note">\s*(Your last session[^<]*)<', page)
    return unescape(found[1]).strip() if found else ""


async def notices(someone) -> list[str]:
    """What the page of the stopped server, the progress page and the form say."""
    urls = (f"{someone.server}lab", f"{someone.hub}spawn-pending/{someone.name}", f"{someone.hub}spawn")
    return [notice(await shown(someone, url)) for url in urls]


@pytest.mark.parametrize(
    ("end", "state", "why"),
    [
        pytest.param(signalled(signal.SIGUSR1), "COMPLETED", "its time was over.", id="walltime"),
        pytest.param(told("idle"), "COMPLETED", "nobody used it for 30 minutes.", id="idle"),
        pytest.param(
            signalled(signal.SIGKILL),
            "OUT_OF_MEMORY",
            "it used more memory than it had (64 GiB). Ask for more memory, or a node of your own.",
            id="out of memory",
        ),
        pytest.param(
            signalled(signal.SIGKILL),
            "FAILED",
            "something killed it; running out of memory is the usual cause. "
            "Ask for more memory if it happens again.",
            id="killed",
        ),
        pytest.param(signalled(signal.SIGTERM), "PREEMPTED", "a job of higher priority took", id="preempted"),
        pytest.param(
            signalled(signal.SIGTERM),
            "CANCELLED by 0",
            "it was cancelled by an administrator.",
            id="cancelled",
        ),
    ],
)
async def test_its_user_reads_why_until_the_next_start(person, faults, end, state, why):
    alice = await person()
    site = alice.site
    assert (await alice.start(memory="64G"))[-1].get("ready")
    record, before = saved_record(site, alice.name), len(site.hub.log.read_text())

    def when_it_is_over(job):
        over = "status" in job and job["status"]["state"] not in ("RUNNING", "PENDING", "COMPLETING")
        return {**job, "status": {**job["status"], "state": state}} if over else job

    faults.jobs(when_it_is_over)
    await end(site, alice)
    await eventually(alice.is_stopped)
    await eventually(alice.no_jobs)
    who = f"Your last session (job {record['job_id']} on {record['node']}) ended at "
    await eventually(lambda: asyncio.sleep(0, who in site.hub.log.read_text()[before:]))
    for said in await notices(alice):
        assert said.startswith(who)
        assert why in said
    faults.clear()
    assert (await alice.start())[-1].get("ready")
    await alice.stop()
    assert await notices(alice) == ["", "", ""]


async def test_a_start_that_gets_no_job_takes_nothing_away(site, person, faults):
    alice = await person()
    await alice.start()
    await node_says(site, alice.name, "walltime")
    await eventually(alice.is_stopped)
    await eventually(alice.no_jobs)
    faults.controller_down(noticed=True)
    assert (await alice.start())[-1].get("failed")
    faults.clear()
    assert notice(await shown(alice, f"{alice.hub}spawn")).endswith(": its time was over.")


async def test_an_admin_is_told_nothing_of_somebody_elses(site, person):
    admin, bob = await person(), await person()
    await bob.start()
    await node_says(site, bob.name, "walltime")
    await eventually(bob.is_stopped)
    page = await shown(admin, f"{bob.server}lab")
    assert "is not running" in page
    assert notice(page) == ""
    assert notice(await shown(bob, f"{bob.server}lab")).endswith(": its time was over.")


async def test_the_hub_logs_the_reason_at_once(site, person):
    alice = await person()
    await alice.start()
    before = len(site.hub.log.read_text())
    await node_says(site, alice.name, "walltime")
    await eventually(alice.is_stopped)
    lines = site.hub.log.read_text()[before:].splitlines()
    assert any("[I " in line and "says that it ends: 'walltime'" in line for line in lines)


async def test_what_a_node_says_is_text_and_its_log_is_at_hand(site, person):
    alice = await person()
    await alice.start()
    await node_says(site, alice.name, "failed", message=f"{MARKUP} broke", exit_code=1)
    await eventually(alice.is_stopped)
    await eventually(alice.no_jobs)
    for said in await notices(alice):
        assert said.endswith(f": JupyterLab broke down (exit code 1). It said: {MARKUP} broke")
    assert MARKUP not in await shown(alice, f"{alice.hub}spawn")


@pytest.mark.parametrize("reason", ["stopped", "exit"])
async def test_who_stops_a_session_in_it_is_told_nothing(site, person, reason):
    alice = await person()
    await alice.start()
    await node_says(site, alice.name, reason, exit_code=0)
    await eventually(alice.is_stopped)
    assert await notices(alice) == ["", "", ""]


async def test_of_a_session_that_was_gone_without_a_word_its_user_reads_it_too(site, person, faults):
    """Its node failed while the hub was away: nobody said anything, and Slurm alone knows."""
    alice = await person()
    await alice.start()
    record = saved_record(site, alice.name)
    await site.hub.kill_hub()
    signal_jobs(site.accounts[alice.name], signal.SIGKILL)
    await eventually(alice.no_jobs)
    faults.state("NODE_FAIL")
    await site.hub.start_hub()
    await eventually(alice.is_stopped)
    who = f"Your last session (job {record['job_id']} on {record['node']}) has ended, as was seen at "
    for said in await notices(alice):
        assert said.startswith(who)
        assert said.endswith(": a node failed.")
    faults.clear()
