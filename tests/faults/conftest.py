"""What each row of the fault matrix is made of: its users, its count, and its line in the table."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
import pytest_asyncio
from fault_matrix import COUNTS, PAGE, Row, all_rows, group_of, page, parts_of, row_of, table
from fault_site import Crowd, User, running

from launcher.sandbox.site import Site

_FOUND: dict[Row, Sequence[int] | None] = {}
_BROKEN = pytest.StashKey[bool]()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site() -> AsyncIterator[Site]:
    """The site of all modules that bring none of their own."""
    async with running(spawner={"http_timeout": 5, "stop_timeout": 5, "stray_grace": 3}) as site:
        yield site


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def crowd(site: Site) -> AsyncIterator[Crowd]:
    """The users of the site."""
    async with Crowd(site) as crowd:
        yield crowd


@pytest.fixture
def users() -> list[User]:
    """Those whom the row concerns."""
    return []


@pytest_asyncio.fixture(loop_scope="session")
async def user(crowd: Crowd, users: list[User]) -> Callable[..., Awaitable[User]]:
    """Get somebody whom the row concerns, by name."""

    async def get(name: str = "alice") -> User:
        found = await crowd.user(name)
        users.append(found)
        return found

    return get


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def counted(request: pytest.FixtureRequest, crowd: Crowd, users: list[User]) -> AsyncIterator[None]:
    """After each row, count what must be 0."""
    yield
    try:
        if not request.node.stash.get(_BROKEN, False):
            await crowd.settle([each for each in users if each.name not in crowd.counts])
            counts = [tuple(crowd.counts.pop(each.name)) for each in users]
            total = tuple(map(sum, zip(*counts, strict=True)))
            _FOUND[_row(request.node)] = total
            assert total == (0, 0, 0), COUNTS
    finally:
        await crowd.calm(users)


def _row(item: pytest.Item) -> Row:
    mark = item.get_closest_marker("fault")
    assert mark, "a row needs the mark `fault(what goes wrong, sees=what its users see)`"
    module: Any = item.module  # type: ignore[attr-defined]
    return row_of(group_of(module), parts_of(module), mark)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    """Note which rows fail, and at what."""
    report = yield
    row = _row(item)
    if report.failed:
        item.stash[_BROKEN] = True
        if call.when != "teardown" or sum(_FOUND.get(row) or ()) == 0:
            _FOUND[row] = None
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the matrix."""
    if _FOUND:
        terminalreporter.section("fault matrix")
        for line in table(_FOUND):
            terminalreporter.write_line(line)


def pytest_sessionfinish(exitstatus: int) -> None:
    """Write the page, if that was asked for and every row is green."""
    rows = all_rows()
    if os.environ.get("FAULT_MATRIX") and exitstatus == pytest.ExitCode.OK and set(rows) == set(_FOUND):
        PAGE.write_text(page(rows))
