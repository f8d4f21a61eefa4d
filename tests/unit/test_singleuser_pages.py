"""What pages of a session are told, and whose answers are waited for at its end."""

from __future__ import annotations

import asyncio

import pytest

from launcher.singleuser.panel.pages import Pages

ENDING = {"kind": "ending", "reason": "walltime"}


class Page:
    """A page's connection; it notes what it is told."""

    def __init__(self, pages):
        self.pages, self.watches, self.told, self.closed = pages, False, [], None
        pages.opened(self)

    def tell(self, message):
        self.told.append(message)

    def close(self, code, reason):
        self.closed = code

    def say(self, **message):
        self.pages.said(self, message)


@pytest.fixture
def pages():
    return Pages()


async def is_over(pages):
    """Tell whether nobody is waited for any more."""
    waiting = asyncio.create_task(pages.saved(3600))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    over = waiting.done()
    waiting.cancel()
    return over


async def test_an_end_waits_for_all_pages(pages):
    first, second = Page(pages), Page(pages)
    pages.end("walltime")
    assert first.told == second.told == [ENDING]
    first.say(kind="saved", unsaved=[])
    assert not await is_over(pages)
    second.say(kind="saved", unsaved=["a.ipynb"])
    assert await is_over(pages)
    assert pages.unsaved == ["a.ipynb"]


async def test_what_was_saved_before_kernels_said_their_last_is_not_all(pages):
    page = Page(pages)
    pages.end("stopped")
    pages.end("stopped")
    page.say(kind="saved", unsaved=["a.ipynb"])
    assert not await is_over(pages)
    page.say(kind="saved", unsaved=[])
    assert await is_over(pages)
    assert pages.unsaved == []


async def test_a_page_that_goes_is_not_waited_for(pages):
    page = Page(pages)
    pages.end("stopped")
    pages.closed(page)
    assert await is_over(pages)


async def test_a_page_that_comes_meanwhile_is(pages):
    pages.end("stopped")
    page = Page(pages)
    assert not await is_over(pages)
    page.say(kind="saved", unsaved=[])
    assert await is_over(pages)


async def test_a_page_that_was_not_asked_says_nothing_that_counts(pages):
    page = Page(pages)
    page.say(kind="saved", unsaved=["a.ipynb"])
    assert pages.unsaved == []
    pages.end("stopped")
    assert not await is_over(pages)


async def test_a_page_that_does_not_answer_is_waited_for_so_long(pages, virtual_time):
    Page(pages)
    pages.end("stopped")
    await pages.saved(6)
    assert virtual_time.elapsed == pytest.approx(6)


def test_what_is_in_use_is_for_pages_that_show_it(pages):
    page, other = Page(pages), Page(pages)
    begun = []
    pages.watching = lambda: begun.append(True)
    assert not pages.watched
    page.say(kind="watch", on=True)
    page.say(kind="watch", on=True)
    assert (pages.watched, begun) == (True, [True])
    pages.tell({"kind": "use"}, watching=True)
    assert (page.told, other.told) == ([{"kind": "use"}], [])
    page.say(kind="watch", on=False)
    assert not pages.watched


def test_a_page_is_greeted_in_order(pages):
    pages.greetings = [lambda: [{"kind": "session"}], list, lambda: [{"kind": "warning"}]]
    assert Page(pages).told == [{"kind": "session"}, {"kind": "warning"}]


def test_that_a_page_is_open_is_no_use_but_what_is_done_in_it_is(pages):
    used = []
    pages.used = lambda: used.append(True)
    page = Page(pages)
    assert used == []
    page.say(kind="used")
    assert used == [True]


def test_there_is_a_limit_to_pages(pages):
    opened = [Page(pages) for _ in range(101)]
    assert [page.closed for page in opened] == [None] * 100 + [1013]
    assert len(pages) == 100
