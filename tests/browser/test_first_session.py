"""What a scientist does first: log in, press Start, run a cell, stop."""

from __future__ import annotations

import re

import pytest
from pages import land, log_in, notebook_tiles, press_stop, run_cell
from playwright.async_api import expect
from support import eventually

SCHEDULER = "slurm"

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_alice_logs_in_starts_runs_a_cell_and_stops(site, page, screenshots):
    alice = next(iter(site.accounts)).name
    await log_in(page, site, alice)

    await page.get_by_label("Partition").select_option("debug")
    await page.get_by_label("Time").select_option("30")
    await page.screenshot(path=screenshots / "form.png")
    await page.get_by_role("button", name="Start").click()

    await page.wait_for_url(re.compile(r"/spawn-pending/"))
    await page.get_by_text("Event log").click()
    await expect(page.locator("#progress-log")).to_contain_text("Submitted as job", timeout=30_000)
    await page.screenshot(path=screenshots / "pending.png")

    await land(page, alice)
    await page.locator(".jp-Launcher").first.wait_for()
    assert await run_cell(page, notebook_tiles(page).first, "print(6*7)") == "42"
    await page.screenshot(path=screenshots / "jupyterlab.png")

    await press_stop(page, site)

    async def no_jobs():
        return not await site.live_jobs(alice)

    await eventually(no_jobs)


async def test_a_failed_start_says_why_on_the_page(site, page, screenshots, cluster_file):
    cluster_file(launcher="/nonexistent/launcher-singleuser")
    bob = [account.name for account in site.accounts][1]
    await log_in(page, site, bob)
    await page.get_by_role("button", name="Start").click()
    said = page.get_by_text("No such file or directory").first
    await expect(said).to_be_visible(timeout=60_000)
    await page.screenshot(path=screenshots / "failed.png")
