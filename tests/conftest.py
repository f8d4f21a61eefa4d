"""Fixtures that all tests share."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from images import TOOLS, USER, Images, make_images
from support import Person, localhost_names, missing, slurm

from launcher.check.browser import Browser
from launcher.sandbox.gateway import Faults
from launcher.sandbox.identity import Faults as TokenFaults
from launcher.sandbox.site import Site
from launcher.sandbox.state import state_directory

# What a shell starts in the background ignores it, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A running site.

    A module sets SCHEDULER, CLUSTER for other keys of the cluster file, CLUSTER_FILE for another file, SITE
    for whatever else a site can be told.
    """
    kind = getattr(request.module, "SCHEDULER", "process")
    options = getattr(request.module, "SITE", {})
    if kind == "slurm":
        slurm(accounting=options.get("accounting", False))
    with state_directory(None) as state:
        site = Site(
            state,
            scheduler=kind,
            cluster=getattr(request.module, "CLUSTER_FILE", None),
            changes=getattr(request.module, "CLUSTER", None),
            **options,
        )
        await site.start()
        try:
            with localhost_names():
                yield site
        finally:
            await site.stop()


@pytest.fixture(scope="session")
def mount_points() -> None:
    """Where nodes have images mounted; they stay, for removing one unmounts what another run has there."""
    if os.geteuid():
        missing("without root nothing can be mounted", "run the tests as root")
    if not Path("/dev/loop-control").exists():
        missing("there are no loop devices", "run the tests where /dev/loop-control is")
    for path in map(Path, (TOOLS, USER)):
        path.mkdir(exist_ok=True)


@pytest.fixture(scope="session")
def images(mount_points: None) -> Iterator[Images]:
    """Squashfs images of JupyterLab and of a programming environment, which every account can read."""
    with state_directory(None) as directory:
        yield make_images(directory)


@pytest.fixture
def faults(site: Site) -> Iterator[Faults]:
    """What FirecREST of the first cluster does wrong in one test."""
    yield site.gateway.faults
    site.gateway.faults.clear()


@pytest.fixture
def token_faults(site: Site) -> Iterator[TokenFaults]:
    """What the identity provider's token endpoint does wrong in one test."""
    yield site.identity.faults
    site.identity.faults.clear()


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
    """Change keys of the site's cluster file for one test; the hub has seen it when this returns."""
    path = site.cluster_file
    before = path.read_text()

    def write(text: str) -> None:
        if text == path.read_text():
            return
        said = len(site.hub.log.read_text())
        path.write_text(text)
        deadline = time.monotonic() + 30
        while f"Cluster file {path} " not in site.hub.log.read_text()[said:]:
            assert time.monotonic() < deadline, "the hub did not see the edit"
            time.sleep(0.1)

    yield lambda **keys: write(yaml.safe_dump(yaml.safe_load(before) | keys, sort_keys=False))
    write(before)
