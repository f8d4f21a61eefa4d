"""What a scientist does first: log in, press Start, run a cell, stop."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect
from support import eventually

SCHEDULER = "slurm"

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def log_in(page: Page, site, name: str) -> None:
    await page.goto(site.url)
    await page.get_by_role("button", name=re.compile("sign in", re.IGNORECASE)).click()
    await page.locator("[name=username]").fill(name)
    await page.locator("[name=password]").fill(site.accounts[name].password)
    await page.get_by_role("button").click()


async def run_cell(page: Page, code: str) -> str:
    """Run a cell in a fresh notebook; return its output."""
    await page.locator('.jp-LauncherCard[data-category="Notebook"]').first.click()
    await page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()
    # Idle shows before the kernel's websocket is up.
    await page.wait_for_timeout(1500)
    await page.locator(".jp-Notebook .cm-content").first.click()
    await page.keyboard.type(code)
    await page.keyboard.press("Shift+Enter")
    output = page.locator(".jp-OutputArea-output pre").first
    await output.wait_for()
    return (await output.inner_text()).strip()


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

    await page.wait_for_url(re.compile(rf"/user/{alice}/lab"), timeout=120_000)
    await page.locator(".jp-Launcher").first.wait_for()
    assert await run_cell(page, "print(6*7)") == "42"
    await page.screenshot(path=screenshots / "jupyterlab.png")

    await page.goto(f"{site.url}hub/home")
    await page.get_by_role("button", name="Stop My Server").click()
    await expect(page.get_by_role("button", name="Start My Server")).to_be_visible()

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
