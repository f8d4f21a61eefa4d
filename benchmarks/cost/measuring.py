"""What our launches and servers cost, on several sites at the same time, beside the peer's."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection

from benchmarks.cost import peer
from benchmarks.cost.figures import (
    PEER,
    PER_LAUNCH,
    PER_MINUTE,
    QUEUE,
    QUEUES,
    SIZES,
    Count,
    Seen,
    Spent,
    Who,
    alone,
    bounded,
    compared,
)
from benchmarks.people import Person, Town, town
from benchmarks.results import Result, rounded
from launcher.check.signals import ended_by_signals
from launcher.firecrest.tokens import RENEW_BEFORE

_FIRST = 30.0
"""Seconds after which a launch that still waits is past its first half minute."""
_SETTLING = 5.0
"""Seconds in which a look at a job ends that was under way when its server was ready."""
_TOKEN_LIFETIME = 125.0
_LOOKS = 12
"""How often a hub looks in an hour whether a server lives."""
_POLL_EVERY = 3
"""Seconds between two of these looks here, where otherwise it is 300."""
_LOOK_EVERY = 15.0
_WITH_BROWSERS = 100
"""Most people who have browsers."""


class Site:
    """Counts on one site.

    Args:
        town: The site.
        who: Whose tokens it has.
    """

    def __init__(self, town: Town, who: Who) -> None:
        self._town = town
        self._who = who

    async def alone(self, person: Person, queue: int, ready: int) -> Result:
        """Count from the form to a server that is ready, and goes on.

        Args:
            person: Who starts it.
            queue: Seconds for which the job waits.
            ready: How many servers there are already.
        """
        before, began = self._town.requests, time.monotonic()
        self._town.slots = ready + (not queue)
        starting = asyncio.create_task(person.press_start())
        while not await self._town.has_job(person):  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.1)
        await asyncio.sleep(queue)
        self._town.slots = ready + 1
        await starting
        await person.until_ready()
        # A machine that is too slow for the half minute has the further minutes that it took.
        further = math.ceil(max(0.0, time.monotonic() - began - 30) / 60)
        count = (self._town.requests - before).total()
        return Result.worst(
            alone(queue, self._who), [count], "FirecREST requests", PER_LAUNCH + PER_MINUTE * further
        )

    async def together(self, people: Sequence[Person], ready: int) -> Seen:
        """Count what people cost who press Start at once: while they wait, and while their servers run.

        Args:
            people: They.
            ready: How many servers there are already.
        """
        clock = asyncio.get_running_loop().time
        before, tokens, begin = self._town.requests, self._town.token_requests, clock()
        self._town.slots = ready
        await asyncio.gather(*(person.press_start() for person in people))
        began = clock()
        async with asyncio.TaskGroup() as group:
            looking = [group.create_task(_look(person)) for person in people]
            await asyncio.sleep(_FIRST)
            then, since = self._town.requests, clock()
            await asyncio.sleep(began + QUEUE - since)
            waiting, minutes = self._town.requests - then, (clock() - since) / 60
            for task in looking:
                task.cancel()
        self._town.slots = ready + len(people)
        await asyncio.gather(*(person.until_ready() for person in people))
        await asyncio.sleep(_SETTLING)
        asked, renewed = self._town.requests - before, self._town.token_requests - tokens
        lives = _lives(clock() - begin)
        hour, renewed_then = await self._hour(ready + len(people))
        spent = Spent(Count(asked.total(), renewed.total()), Count(hour.total(), renewed_then.total()))
        together = self._who is Who.SERVICE
        counts = [waiting.total()] if together else [waiting[person.name] for person in people]
        rates = [rounded(count / minutes) for count in counts]
        return Seen(spent, rates, [count / lives for count in renewed.values()])

    async def _hour(self, servers: int) -> tuple[Counter[str], Counter[str]]:
        """Count until the hub has looked at its servers as often as in an hour."""
        before, tokens, looks = self._town.requests, self._town.token_requests, await self._town.verdicts()
        while await self._town.verdicts() - looks < _LOOKS * servers:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(1)
        return self._town.requests - before, self._town.token_requests - tokens


def _lives(seconds: float) -> int:
    """Return how many tokens, one after the other, last so long; they tell their ends in whole seconds."""
    return math.ceil(seconds / (_TOKEN_LIFETIME - RENEW_BEFORE - 1))


async def _look(person: Person) -> None:
    while True:
        await person.look()
        await asyncio.sleep(_LOOK_EVERY)


async def _site(who: Who, size: int) -> tuple[list[Result], Seen]:
    """Return what so many cost on a site of their own; where it is one, what others cost that come before."""
    before = QUEUES if size == 1 else ()
    async with town(
        f"{who[0]}{size}p",
        len(before) + size,
        service_account=who is Who.SERVICE,
        token_lifetime=_TOKEN_LIFETIME,
        poll_interval=_POLL_EVERY,
        browsers=size <= _WITH_BROWSERS,
    ) as place:
        site, people = Site(place, who), iter(place.people)
        first = [
            await site.alone(next(people), seconds, ready=number) for number, seconds in enumerate(before)
        ]
        return first, await site.together([*people], ready=len(before))


@contextmanager
def _elsewhere() -> Iterator[Connection]:
    """Count the peer's requests in a process of its own; yield what tells them."""
    context = multiprocessing.get_context("spawn")
    telling, told = context.Pipe(duplex=False)
    process = context.Process(target=peer.tell, args=(told,), daemon=True)
    process.start()
    told.close()
    try:
        yield telling
    finally:
        process.terminate()
        process.join()


async def measured() -> list[Result]:
    """Return all results."""
    sizes = {Who.SERVICE: SIZES, Who.USERS: [size for size in SIZES if size <= _WITH_BROWSERS]}
    with ended_by_signals(), _elsewhere() as counting:
        async with asyncio.TaskGroup() as group:
            runs = {
                (who, size): group.create_task(_site(who, size))
                for who in Who
                for size in reversed(sizes[who])
            }
        launches, servers = await asyncio.to_thread(counting.recv)
    results: list[Result] = []
    for who in Who:
        found = {size: runs[who, size].result() for size in sizes[who]}
        for seconds, result in zip(QUEUES, found[min(found)][0], strict=True):
            results.append(replace(result, peers={PEER: launches[seconds].requests}))
        seen = {size: those for size, (_, those) in found.items()}
        minutes = [each for those in seen.values() for each in those.minutes]
        tokens = [each for those in seen.values() for each in those.tokens]
        results += bounded(who, minutes, tokens)
        results += compared(who, {size: those.spent for size, those in seen.items()}, servers)
    return results
