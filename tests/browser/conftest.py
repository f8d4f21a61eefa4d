"""A real Chromium, a place for the pictures it takes, and who uses it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pages import another
from playwright.async_api import Browser, Page, async_playwright
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


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """The directory for pictures: the documentation's if `make screenshots` asks for them."""
    chosen = os.environ.get("SCREENSHOTS")
    directory = Path(chosen) if chosen else Path(__file__).parent / "screenshots"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    path = program("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, chromium_sandbox=os.geteuid() != 0, args=_ARGUMENTS
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(chromium: Browser) -> AsyncIterator[Page]:
    """A page of a fresh profile."""
    async with another(chromium) as fresh:
        yield fresh


@pytest.fixture
def alice(site: Site) -> str:
    """The name of the site's first user."""
    return next(iter(site.accounts)).name


@pytest.fixture
def bob(site: Site) -> str:
    """The name of its second."""
    return [account.name for account in site.accounts][1]
