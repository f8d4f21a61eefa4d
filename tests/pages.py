"""Pages of a real browser, and what people do on them: log in, start a server, run a cell, stop."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, Locator, Page, async_playwright, expect
from support import program

from launcher.sandbox.site import Site

_ARGUMENTS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Nothing but this machine is asked for anything.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]


@asynccontextmanager
async def headless() -> AsyncIterator[Browser]:
    """Run a Chromium without a window."""
    path = program("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, chromium_sandbox=os.geteuid() != 0, args=_ARGUMENTS
        )
        yield browser
        await browser.close()


@asynccontextmanager
async def another(chromium: Browser, **settings: Any) -> AsyncIterator[Page]:
    """A page of a fresh profile, with settings of its own."""
    context = await chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **settings})
    context.set_default_timeout(30_000)
    try:
        yield await context.new_page()
    finally:
        await context.close()


async def log_in(page: Page, site: Site, name: str, path: str = "") -> None:
    """Log in, on the way to a page of the site."""
    await page.goto(f"{site.url}{path}")
    await page.get_by_role("button", name=re.compile("sign in", re.IGNORECASE)).click()
    await page.locator("[name=username]").fill(name)
    await page.locator("[name=password]").fill(site.accounts[name].password)
    await page.get_by_role("button").click()


async def open_form(page: Page, site: Site, name: str) -> None:
    """Log in and go to the form."""
    await log_in(page, site, name)
    await page.get_by_role("heading", name="Server Options").wait_for()


async def press_start(page: Page, name: str) -> None:
    """Press Start on the form, and wait for JupyterLab."""
    await page.get_by_role("button", name="Start").click()
    await land(page, name)


async def land(page: Page, name: str) -> None:
    """Wait for somebody's JupyterLab."""
    await page.wait_for_url(re.compile(rf"/user/{name}/lab"), timeout=120_000)


def notebook_tiles(page: Page) -> Locator:
    """Return the tiles of JupyterLab's launcher that open a notebook."""
    return page.locator('.jp-LauncherCard[data-category="Notebook"]')


async def run_cell(page: Page, tile: Locator, code: str) -> str:
    """Run a cell in a fresh notebook, which a tile opens; return its output."""
    await tile.click()
    await page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()
    # Idle shows before the kernel's websocket is up.
    await page.wait_for_timeout(1500)
    await page.locator(".jp-Notebook .cm-content").first.click()
    await page.keyboard.type(code)
    await page.keyboard.press("Shift+Enter")
    output = page.locator(".jp-OutputArea-output pre").first
    await output.wait_for()
    return (await output.inner_text()).strip()


async def press_stop(page: Page, site: Site) -> None:
    """Stop the server on the hub's page."""
    await page.goto(f"{site.url}hub/home")
    await page.get_by_role("button", name="Stop My Server").click()
    await expect(page.get_by_role("button", name="Start My Server")).to_be_visible()
