"""Pages of a real browser, and the way to the options form."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, Page

from launcher.sandbox.site import Site


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
