"""What a JupyterLab page and its session tell each other, with a real hub, proxy and JupyterLab."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from panel import Page
from support import eventually

from launcher.errors import CheckFailed

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def started(person):
    """Return a function that starts somebody's server, and opens JupyterLab."""

    async def start():
        someone = await person()
        assert (await someone.start())[-1].get("ready")
        assert (await someone.browser.open(f"{someone.server}lab")).status == 200
        return someone

    return start


@pytest.fixture
def opened():
    """Return a function that opens somebody's page."""
    pages = []

    async def open_page(*where, **how):
        pages.append(await Page.open(*where, **how))
        return pages[-1]

    yield open_page
    for page in pages:
        page.close()


async def gone(person):
    await eventually(person.is_stopped)
    await eventually(person.no_jobs)


async def test_a_page_hears_what_the_session_is_and_its_log_can_be_opened(started, opened, site):
    alice = await started()
    (job_id,) = await site.live_jobs(alice.name)
    facts = await (await opened(alice)).hear("session")
    told = facts["session"]
    assert told["job"]["id"] == job_id
    assert told["cluster"] == "Sandbox"
    assert abs(facts["ends"] - (told["job"]["end"] - told["end_warning"])) <= 1
    log = await alice.browser.fetch("GET", f"{alice.server}api/contents/{facts['log']}")
    assert "JupyterLab" in log["content"]


async def test_stop_ends_the_job_once_pages_have_saved(started, opened, site):
    alice = await started()
    page, other = await opened(alice), await opened(alice)
    before = len(site.hub.log.read_text())
    await page.say(kind="stop")
    assert (await page.hear("ending"))["reason"] == "stopped"
    assert (await other.hear("ending"))["reason"] == "stopped"
    await page.say(kind="saved", unsaved=[])
    await other.say(kind="saved", unsaved=["users/alice/of another.ipynb"])
    assert await page.hear("nothing") is None
    await gone(alice)
    assert "says that it ends: 'stopped'" in site.hub.log.read_text()[before:]


async def test_a_page_that_does_not_answer_does_not_hold_up_the_end(started, opened):
    alice = await started()
    page = await opened(alice)
    await page.say(kind="stop")
    assert await page.hear("ending")
    assert await page.hear("nothing") is None
    await gone(alice)


async def test_a_page_that_comes_while_the_session_ends_saves_too(started, opened):
    alice = await started()
    page = await opened(alice)
    await page.say(kind="stop")
    await page.hear("ending")
    assert (await (await opened(alice)).hear("ending"))["reason"] == "stopped"
    await gone(alice)


async def test_slurms_signal_has_pages_save(started, opened, site):
    alice = await started()
    page = await opened(alice)
    terminal = (await alice.compute("import os; print(os.getppid())")).strip()
    os.kill(int(terminal), signal.SIGUSR1)
    assert (await page.hear("ending"))["reason"] == "walltime"
    await gone(alice)


async def test_what_is_no_message_changes_nothing(started, opened):
    alice = await started()
    page = await opened(alice)
    for nonsense in (
        *("", "[", "[]", "1", '"stop"', "{}", "[" * 9999),
        *('{"kind": ["stop"]}', '{"kind": "saved", "unsaved": 1}', '{"kind": "watch", "on": "yes"}'),
    ):
        await page.socket.write_message(nonsense)
    assert await page.hear("session")
    assert await (await opened(alice)).hear("session")
    await page.say(kind="stop")
    assert await page.hear("ending")
    await gone(alice)


async def test_nobody_else_gets_a_connection(started, opened, person):
    alice, stranger = await started(), await person()
    await opened(alice)
    with pytest.raises(CheckFailed, match="HTTP 403"):
        await opened(stranger, alice.server)
    with pytest.raises(CheckFailed, match="HTTP 403"):
        await opened(alice, alice.server, origin="https://elsewhere.example.org")


async def test_a_document_that_was_saved_does_not_hold_up_the_end(started, opened, site):
    alice = await started()
    page = await opened(alice)
    (job_id,) = await site.live_jobs(alice.name)
    log = Path((await site.scheduler.job(job_id)).standard_output)
    home = str(site.state / "home" / alice.name).lstrip("/")
    body = {"type": "file", "format": "text", "content": "saved"}
    for number in range(20):
        await alice.browser.fetch("PUT", f"{alice.server}api/contents/{home}/{number}.txt", body)
    await page.say(kind="stop")
    assert await page.hear("ending")
    await page.say(kind="saved", unsaved=[])
    assert await page.hear("nothing") is None
    await gone(alice)
    assert "is still being saved" not in log.read_text()
