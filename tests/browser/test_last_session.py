"""How the last session ended, on the form and on the page before it, in a browser."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from pages import open_form
from playwright.async_api import expect
from support import eventually, node_says

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCHEDULER = "process"
SITE = {"stand_in": True}
MARKUP = "<img src=x onerror=\"document.title='taken'\"><b>broke</b>"


async def test_a_quiet_notice_in_which_nothing_is_markup(site, page, screenshots, alice):
    await open_form(page, site, alice)
    await expect(page.get_by_text("Your last session")).to_have_count(0)
    await page.get_by_role("button", name="Start").click()
    await page.wait_for_url(f"**/user/{alice}/**")

    (job_id,) = await site.live_jobs(alice)
    with Path((await site.scheduler.job(job_id)).standard_output).open("a") as log:
        log.write(f"{MARKUP}\nlast words\n")
    await node_says(site, alice, "failed", message=MARKUP, exit_code=1)
    await eventually(lambda: asyncio.sleep(0, "It said: <img" in site.hub.log.read_text()))
    await page.goto(f"{site.url}user/{alice}/lab")
    words = re.compile(
        r"Your last session \(job \d+ on .+\) ended at .+: JupyterLab broke down \(exit code 1\)"
    )
    notice = page.get_by_role("note")
    await expect(notice).to_have_text(words)
    await expect(notice).to_contain_text(MARKUP)
    await expect(notice.locator("img, b")).to_have_count(0)
    await page.screenshot(path=screenshots / "last-session-stopped.png")

    await page.get_by_role("button", name="Launch Server").click()
    await page.get_by_role("heading", name="Server Options").wait_for()
    notice = page.get_by_role("note").first
    await expect(notice).to_have_text(words)
    await expect(notice.locator("img, b")).to_have_count(0)
    assert await page.title() != "taken"
    await expect(notice.locator("pre")).to_be_hidden()
    await notice.locator("summary").press("Enter")
    await expect(notice.locator("pre")).to_be_visible()
    await expect(notice.locator("pre")).to_have_text(f"{MARKUP}\nlast words")
    await page.screenshot(path=screenshots / "last-session.png")

    await page.get_by_role("button", name="Start").click()
    await page.wait_for_url(f"**/user/{alice}/**")
