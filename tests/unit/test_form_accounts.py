"""A user's Slurm accounts: asked for with patience that ends, kept, and served again."""

import asyncio
import gc

import pytest

from launcher.clusters import Cluster, UserAccounts
from launcher.errors import FirecrestError
from launcher.form import accounts as module
from launcher.form.accounts import FRESH_FOR, RETRY_AFTER, AccountBook

FACTS = {
    "name": "tiny",
    "firecrest": {"url": "https://firecrest.example.org/v2", "system": "tiny"},
    "home": "/home/{user}",
    "launcher": "/opt/launcher/bin/launcher-singleuser",
    "partitions": [{"name": "normal", "time_limit": 480}],
    "node_addresses": ["10.0.0.0/8"],
    "accounts": "firecrest",
}
CLUSTER = Cluster.model_validate(FACTS)
OTHER = Cluster.model_validate(FACTS | {"firecrest": {"url": "https://firecrest.example.org", "system": "o"}})
TOLD = UserAccounts(("proj1", "proj2"), "proj1")


class User:
    """Somebody."""


class Firecrest:
    """Tells accounts, or fails."""

    def __init__(self):
        self.answer = TOLD
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self):
        self.asked += 1
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def firecrest():
    return Firecrest()


@pytest.fixture
def book(clock):
    return AccountBook(clock.monotonic)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.02)


FAILURE = FirecrestError("FirecREST did not answer.", why="ConnectError at …", todo="Try again.")


async def test_they_are_asked_for_once_in_a_while(book, firecrest, clock):
    user = User()
    assert await book.ask(user, CLUSTER, firecrest) == (TOLD, "")
    clock.now += FRESH_FOR - 1
    assert await book.ask(user, CLUSTER, firecrest) == (TOLD, "")
    assert firecrest.asked == 1
    clock.now += 1
    firecrest.answer = UserAccounts(("proj3",))
    assert await book.ask(user, CLUSTER, firecrest) == (UserAccounts(("proj3",)), "")
    assert firecrest.asked == 2


async def test_a_check_takes_what_is_known_and_asks_nobody(book, firecrest):
    user = User()
    assert book.known(user, CLUSTER) is None
    await book.ask(user, CLUSTER, firecrest)
    assert book.known(user, CLUSTER) == TOLD


async def test_each_user_and_each_cluster_has_its_own(book, firecrest):
    one, two = User(), User()
    await book.ask(one, CLUSTER, firecrest)
    assert book.known(two, CLUSTER) is None
    assert book.known(one, OTHER) is None


async def test_a_cluster_that_names_its_accounts_itself_needs_no_answer(book, firecrest):
    named = Cluster.model_validate(FACTS | {"accounts": ["proj1"]})
    assert await book.ask(User(), named, firecrest) == (None, "")
    assert firecrest.asked == 0


async def test_an_edit_of_the_cluster_file_makes_an_old_answer_count_no_more(book, firecrest):
    user = User()
    await book.ask(user, CLUSTER, firecrest)
    assert book.known(user, Cluster.model_validate(FACTS | {"accounts": ["proj9"]})) is None


async def test_if_firecrest_fails_it_says_why_in_words_for_people(book, firecrest):
    firecrest.answer = FAILURE
    assert await book.ask(User(), CLUSTER, firecrest) == (None, "FirecREST did not answer. Try again.")


async def test_a_failure_is_not_asked_for_again_at_once(book, firecrest, clock):
    user = User()
    firecrest.answer = FAILURE
    await book.ask(user, CLUSTER, firecrest)
    await book.ask(user, CLUSTER, firecrest)
    assert firecrest.asked == 1
    clock.now += RETRY_AFTER
    firecrest.answer = TOLD
    assert await book.ask(user, CLUSTER, firecrest) == (TOLD, "")


async def test_the_last_answer_outlives_a_failure_but_refuses_nothing_then(book, firecrest, clock):
    user = User()
    await book.ask(user, CLUSTER, firecrest)
    clock.now += 10 * FRESH_FOR
    firecrest.answer = FAILURE
    assert await book.ask(user, CLUSTER, firecrest) == (TOLD, "")
    assert book.known(user, CLUSTER) is None


async def test_patience_ends_but_a_late_answer_is_kept(book, firecrest, impatient):
    user = User()
    firecrest.gate.clear()
    assert await book.ask(user, CLUSTER, firecrest) == (
        None,
        "FirecREST did not tell your Slurm accounts in time.",
    )
    firecrest.gate.set()
    assert await book.ask(user, CLUSTER, firecrest) == (TOLD, "")
    assert firecrest.asked == 1


async def test_a_page_that_is_closed_cuts_off_no_log_in_that_is_being_renewed(book, firecrest):
    user = User()
    firecrest.gate.clear()
    page = asyncio.create_task(book.ask(user, CLUSTER, firecrest))
    await asyncio.sleep(0)
    page.cancel()
    await asyncio.wait({page})
    firecrest.gate.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert book.known(user, CLUSTER) == TOLD


async def test_many_pages_ask_once(book, firecrest):
    user = User()
    firecrest.gate.clear()
    pages = [asyncio.create_task(book.ask(user, CLUSTER, firecrest)) for _ in range(5)]
    await asyncio.sleep(0)
    firecrest.gate.set()
    assert await asyncio.gather(*pages) == [(TOLD, "")] * 5
    assert firecrest.asked == 1


async def test_somebody_without_an_account_is_told_so(book, firecrest):
    firecrest.answer = UserAccounts(())
    assert await book.ask(User(), CLUSTER, firecrest) == (
        UserAccounts(()),
        "FirecREST names no Slurm account of yours.",
    )


async def test_nothing_is_kept_of_a_user_who_is_deleted(book, firecrest):
    user = User()
    await book.ask(user, CLUSTER, firecrest)
    del user
    gc.collect()
    assert len(book._kept) == 0


def test_all_spawners_of_a_hub_share_one():
    settings = {}
    assert AccountBook.of(settings) is AccountBook.of(settings)
