"""The arithmetic: from counts to results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from benchmarks.results import Result, at_least, at_most, rounded

SIZES = (1, 10, 100, 1000)
QUEUES = (0, 10, 25)
"""Seconds for which the job of a launch waits that starts within 30 s."""
QUEUE = 180.0
"""Seconds for which the jobs of all launch that press Start together."""

PEER = "FirecRESTSpawner's loop"
PER_LAUNCH, PER_MINUTE = 6, 2
FEWER = 50
"""How many times fewer requests there must be than the peer's, of so many servers:"""
FEWER_OF = 100
FLAT = 1.25
"""How many times as much as alone a launch may cost among most; who presses Start first waits longer."""


class Who(StrEnum):
    """With whose tokens the hub looks at jobs."""

    SERVICE = "service account"
    USERS = "users' tokens"


class Count(NamedTuple):
    """Requests.

    Attributes:
        requests: To FirecREST.
        tokens: To the identity provider, for tokens.
    """

    requests: float
    tokens: float

    def of(self, parts: float) -> Count:
        """Return one of so many equal parts."""
        return Count(self.requests / parts, self.tokens / parts)


class Spent(NamedTuple):
    """What a number of servers cost.

    Attributes:
        launches: From Start to ready, of all.
        hour: While they run for an hour, of all.
    """

    launches: Count
    hour: Count

    @property
    def requests(self) -> float:
        """All requests to FirecREST."""
        return self.launches.requests + self.hour.requests

    @property
    def tokens(self) -> float:
        """All requests for tokens."""
        return self.launches.tokens + self.hour.tokens


class Seen(NamedTuple):
    """What was counted of people who press Start together.

    Attributes:
        spent: What they cost.
        minutes: Requests to FirecREST a minute while all wait: of all, or of each user.
        tokens: Token requests in a token's life, of each identity.
    """

    spent: Spent
    minutes: list[float]
    tokens: list[float]


PARTS = {1: 1.0, 10: 1.0, 100: 1.0, 1000: 1 / 40}
"""Number of servers → for which part of their queue the peer's loop is counted: all are 430,000 requests."""


def whole(begun: Count, waiting: Count, ended: Count, part: float) -> Count:
    """Return what launches cost.

    Args:
        begun: Until all have submitted.
        waiting: While all wait for a part of the queue.
        ended: From when jobs run.
        part: Which part that is.
    """
    return Count(
        *(first + some / part + last for first, some, last in zip(begun, waiting, ended, strict=True))
    )


def alone(queue: float, who: Who) -> str:
    """Return what the result of a launch is called whose job waits so many seconds."""
    return f"A launch whose job waits {queue:g} s, {who}"


def waiting(who: Who) -> str:
    """Return what the result of launches is called that wait."""
    return f"Launches waiting, {who}"


def lives(who: Who) -> str:
    """Return what the result of tokens is called that launches need while they wait."""
    return f"Tokens of launches waiting, {who}"


def names(size: int, who: Who) -> dict[str, str]:
    """Return what the results of so many servers are called."""
    among = f"among {size:,}, {who}"
    return {
        "launch": f"A launch {among}",
        "tokens": f"Tokens for a launch and an hour {among}",
        "hour": f"An hour of a server {among}",
        "fewer": f"A launch and an hour {among}: times fewer than {PEER}",
    }


def bounded(who: Who, minutes: Sequence[float], tokens: Sequence[float]) -> Iterator[Result]:
    """Yield what must never be more, however many wait.

    Args:
        who: With whose tokens.
        minutes: Requests to FirecREST a minute: of all, or of each user.
        tokens: Token requests in a token's life, of each identity.
    """
    each = "" if who is Who.SERVICE else " and user"
    yield Result.worst(waiting(who), minutes, f"FirecREST requests a minute{each}", PER_MINUTE)
    yield Result.worst(lives(who), [rounded(count) for count in tokens], "token requests a token's life", 1)


def compared(who: Who, ours: Mapping[int, Spent], peer: Mapping[int, Spent]) -> Iterator[Result]:
    """Yield what launches and servers of each number cost, beside the peer's.

    Args:
        who: With whose tokens.
        ours: Number of servers → what they cost.
        peer: The same of the peer.
    """
    for size, spent in ours.items():
        called, other = names(size, who), peer[size]
        rows = [
            ("launch", spent.launches.requests, other.launches.requests, "FirecREST requests", None),
            ("tokens", spent.tokens, other.tokens, "token requests", None),
            ("hour", spent.hour.requests, other.hour.requests, "FirecREST requests", at_most(0)),
        ]
        for key, own, their, unit, target in rows:
            yield Result.of(called[key], [own / size], unit, target, peers={PEER: [their / size]})
        target = at_least(FEWER) if size == FEWER_OF else None
        yield Result.ratio(called["fewer"], [other.requests], [spent.requests], target)
    alone, most = (ours[size].launches.of(size).requests for size in (min(ours), max(ours)))
    yield Result.ratio(
        f"A launch among {max(ours):,} against one alone, {who}", [most], [alone], at_most(FLAT)
    )
