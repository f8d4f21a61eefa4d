"""Fixtures that all tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
import yaml
from support import Person, program

from launcher.sandbox.check.browser import Browser
from launcher.sandbox.site import Site
from launcher.sandbox.state import state_directory


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A running site; a module sets SCHEDULER, and CLUSTER for other keys of the cluster file."""
    kind = getattr(request.module, "SCHEDULER", "process")
    if kind == "slurm":
        program("sbatch")
    with state_directory(None) as state:
        site = Site(state, scheduler=kind, cluster=getattr(request.module, "CLUSTER", None))
        await site.start()
        try:
            yield site
        finally:
            await site.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def person(site: Site) -> AsyncIterator[Callable[[str], Any]]:
    """Log people in; what they have running at the end is stopped."""
    people: list[Person] = []
    async with Browser() as first, Browser() as second:
        browsers = [first, second]

        async def log_in(name: str = "") -> Person:
            names = [account.name for account in site.accounts]
            someone = await Person.log_in(site, name or names[len(people)], browsers[len(people)])
            people.append(someone)
            return someone

        yield log_in
        for someone in people:
            await someone.stop()


@pytest.fixture
def cluster_file(site: Site) -> Iterator[Callable[..., None]]:
    """Change keys of the site's cluster file for one test."""
    path = site.state / "hub/sandbox.yaml"
    before = path.read_text()

    def change(**keys: Any) -> None:
        path.write_text(yaml.safe_dump(yaml.safe_load(before) | keys, sort_keys=False))

    yield change
    path.write_text(before)
