"""A real Chromium, a place for the pictures it takes, and who uses it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pages import another, headless
from playwright.async_api import Browser, Page

from launcher.sandbox.site import Site


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
    async with headless() as browser:
        yield browser


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
