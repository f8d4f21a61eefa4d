"""What launches and servers cost at FirecREST: requests, counted where they arrive.

All figures are counts, and the same on a slow machine. `docs/performance.md` says what each means.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence

import click

from benchmarks.people import Person, Town, town
from benchmarks.results import Result, keep, table
from launcher.check.signals import ended_by_signals
from launcher.firecrest.tokens import RENEW_BEFORE

QUEUES = (0, 10, 25)
"""Seconds for which the job of a launch waits that starts within 30 s."""
FEW, MANY = 10, 50
"""Launches that wait at once; one alone comes before the few."""

_MINUTES = 2
_FIRST = 35.0
"""Seconds after which a launch that still waits is past its first half minute."""
_TOKEN_LIFETIME = 125.0
_LIVES = math.ceil(60 * _MINUTES / (_TOKEN_LIFETIME - RENEW_BEFORE - 1))
"""How many tokens, one after the other, last for these minutes; they count their lives in whole seconds."""
_POLL_EVERY = 10
_POLLS = 4
_LOOK_EVERY = 15.0
_PER_LAUNCH, _PER_MINUTE = 6, 2


class Cost:
    """Counts on one site.

    Args:
        site: The site.
        service_account: Whether one account watches everybody's jobs, or everybody's token their own.
    """

    def __init__(self, site: Town, *, service_account: bool) -> None:
        self._site = site
        self._together = service_account
        self._who = "service account" if service_account else "users' tokens"
        self._ready = 0
        self._waiting = 0

    async def launch(self, person: Person, queue: float) -> Result:
        """Count from the form to a server that is ready, and goes on."""
        before, began = self._site.requests, time.monotonic()
        self._site.slots = self._ready + (not queue)
        starting = asyncio.create_task(person.visit.submit_options([]))
        while not await self._site.has_job(person):  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.1)
        await asyncio.sleep(queue)
        self._site.slots = self._ready + 1
        await starting
        await person.visit.wait_for_start([])
        self._ready += 1
        # A machine that is too slow for the half minute has the further minutes that it took.
        further = math.ceil(max(0.0, time.monotonic() - began - 30) / 60)
        count = (self._site.requests - before).total()
        name = f"A launch whose job waits {queue} s, {self._who}"
        return Result.worst(name, [count], "FirecREST requests", _PER_LAUNCH + _PER_MINUTE * further)

    async def waiting(self, people: Sequence[Person]) -> AsyncIterator[Result]:
        """Count while these and those before them wait, and look at their pages."""
        self._site.slots = self._ready
        self._waiting += len(people)
        await asyncio.gather(*(person.visit.submit_options([]) for person in people))
        await asyncio.sleep(_FIRST)
        tokens, seen = self._site.token_requests, list[int]()
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(self._look(people))
            for _ in range(_MINUTES):
                before = self._site.requests
                await asyncio.sleep(60)
                asked = self._site.requests - before
                seen += [asked.total()] if self._together else asked.values()
            looking.cancel()
        what = f"{self._waiting} launch{'es' if self._waiting > 1 else ''} waiting, {self._who}"
        unit = f"FirecREST requests a minute{'' if self._together else ' and user'}"
        yield Result.worst(what, seen, unit, _PER_MINUTE)
        renewed = self._site.token_requests - tokens
        lives = [count / _LIVES for count in renewed.values()] or [0.0]
        yield Result.worst(f"Tokens, {what}", lives, "token requests a token's life", 1)

    async def _look(self, people: Sequence[Person]) -> None:
        while True:
            await asyncio.gather(*map(self._site.look, people))
            await asyncio.sleep(_LOOK_EVERY)

    async def steady(self) -> Result:
        """Let all that wait start; count what their servers cost from then on."""
        self._site.slots = len(self._site.people)
        await asyncio.gather(*(person.visit.wait_for_start([]) for person in self._site.people))
        await asyncio.sleep(_POLL_EVERY)
        verdicts, seen = await self._site.verdicts(), list[int]()
        for _ in range(_MINUTES):
            before = self._site.requests
            await asyncio.sleep(60)
            seen.append((self._site.requests - before).total())
        verdicts = await self._site.verdicts() - verdicts
        assert verdicts >= _POLLS * len(self._site.people), "the hub has hardly looked whether they live"
        name = f"{len(self._site.people)} healthy servers, {self._who}"
        return Result.worst(name, seen, "FirecREST requests a minute", 0)


async def _one_by_one(cost: Cost, site: Town) -> AsyncIterator[Result]:
    for person, queue in zip(site.people, QUEUES, strict=False):
        yield await cost.launch(person, queue)
    first, *others = site.people[len(QUEUES) :]
    for people in ([first], others):
        async for result in cost.waiting(people):
            yield result


async def _many(cost: Cost, site: Town) -> AsyncIterator[Result]:
    async for result in cost.waiting(site.people):
        yield result
    yield await cost.steady()


async def _measured(
    measure: Callable[[Cost, Town], AsyncIterator[Result]], size: int, *, service_account: bool
) -> list[Result]:
    async with town(
        f"{'s' if service_account else 'u'}{size}p",
        size,
        service_account=service_account,
        token_lifetime=_TOKEN_LIFETIME,
        poll_interval=_POLL_EVERY,
    ) as site:
        results = []
        async for result in measure(Cost(site, service_account=service_account), site):
            click.echo(f"{result.name}: {result.value:g} {result.unit}", err=True)
            results.append(result)
        return results


async def _all() -> list[Result]:
    with ended_by_signals():
        async with asyncio.TaskGroup() as group:
            runs = [
                group.create_task(_measured(measure, size, service_account=service_account))
                for service_account in (True, False)
                for measure, size in ((_one_by_one, len(QUEUES) + FEW), (_many, MANY))
            ]
    return [result for run in runs for result in run.result()]


def main() -> int:
    """Measure all at once; return 1 if a target does not hold, 130 after a signal."""
    click.echo("Four sites are measured at the same time; this takes some seven minutes.", err=True)
    try:
        results = asyncio.run(_all())
    except asyncio.CancelledError:
        return 130
    keep(results)
    click.echo(table(results))
    return 0 if all(result.holds for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
