"""A hub for storms, and what happens in one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from benchmarks.crowd import Crowd, Pace, port
from benchmarks.crowd.residents import settle
from benchmarks.storm.cores import Cores
from benchmarks.storm.figures import Seen, Start, Storm
from benchmarks.storm.press import Person
from launcher.sandbox.site import Site
from launcher.sandbox.state import state_directory

_Result = TypeVar("_Result")

WARM_UP = 4
"""Launches before each storm: a hub that has just started imports what it needs at the first."""

_AT_ONCE = 16
_LIFETIME = 24 * 3600.0
_PATIENCE = 600.0
# As the documentation recommends them for the launcher.
_SPAWNER = {"poll_interval": 300, "poll_jitter": 0.5, "http_timeout": 600, "start_timeout": 3600}


class Ground:
    """A site with a hub that can be put back to how it was. Use `ground`."""

    def __init__(self, site: Site, crowd: Crowd, cores: Cores, *, proving: bool) -> None:
        self.site = site
        self.crowd = crowd
        self.cores = cores
        self._proving = proving
        self._copy = site.state / "hub/before.sqlite"
        self._port = urlsplit(site.url).port or 80
        self.people: list[Person] = []

    async def prepare(self) -> None:
        """Have the hub know everybody, and keep its database as it is then."""
        tokens = await settle(self.site)
        self.people = [Person(self._port, name, token) for name, token in tokens.items()]
        await self.site.hub.kill_hub()
        self.site.hub.save_database(self._copy)

    async def begin(self) -> None:
        """Start the hub as it was before the first storm, and warm it up."""
        self.site.hub.restore_database(self._copy)
        await self.start_hub()
        await self._starts(self.people[:WARM_UP], [0.0] * WARM_UP)

    async def start_hub(self) -> None:
        """Start the hub, on its own core."""
        await self.site.hub.start_hub()
        assert self.site.hub.process
        assert self.site.hub.process.pid
        self.cores.give(self.site.hub.process.pid)

    async def end(self) -> None:
        """Kill the hub, and all jobs."""
        await self.site.hub.kill_hub()
        await self.crowd.clear()

    async def storm(self, delays: Sequence[float]) -> Storm:
        """Have people press Start, and wait until everybody has a server or has given up.

        Args:
            delays: How many seconds from now each of them presses.
        """
        people = self.people[WARM_UP : WARM_UP + len(delays)]
        before, look = await self.figures(), self.cores.look()
        starts = await self._starts(people, delays)
        hub_busy, others_busy = self.cores.look().busy_since(look)
        seen = Seen.between(before, await self.figures())
        return Storm(starts, seen, hub_busy, others_busy)

    async def figures(self) -> dict[str, Any]:
        """Return what the hub tells of itself since it was last asked."""
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            answer = await client.get(f"{self.site.url}hub/bench")
            return dict(answer.raise_for_status().json())

    async def _starts(self, people: Sequence[Person], delays: Sequence[float]) -> dict[str, Start]:
        patience = _PATIENCE + max(delays)
        pressed = await asyncio.gather(
            *(_later(delay, person.press(patience)) for person, delay in zip(people, delays, strict=True))
        )
        proofs = await self.proofs(people)
        return {
            person.name: replace(start, proven=proven)
            for person, start, proven in zip(people, pressed, proofs, strict=True)
        }

    async def proofs(self, people: Iterable[Person]) -> list[bool]:
        """Tell of everybody whether the hub's proxy leads to their server."""
        return await _few(self._proves(person) for person in people)

    async def _proves(self, person: Person) -> bool:
        if not self._proving:
            return await person.proves(None)
        launched = self.crowd.launched(person.name)
        return launched is not None and await person.proves(launched.launch_key)


@contextlib.asynccontextmanager
async def ground(
    prefix: str, size: int, cores: Cores, *, empty: bool = False, pace: Pace | None = None
) -> AsyncIterator[Ground]:
    """Run a site of so many people, whose hub is down.

    Args:
        prefix: What their names begin with.
        size: How many take part in a storm.
        cores: Where all runs.
        empty: Whether its hub has the empty spawner.
        pace: How long things take on a node.
    """
    crowd = Crowd(pace)
    server = await port.listen(port.Bare())
    url = f"http://{port.ADDRESS}:{port.port_of(server)}"
    jupyterhub: dict[str, object] = {
        "extra_handlers": [["/bench", "benchmarks.watch.figures.Figures"]],
        # The page answers so soon; a program may wait longer.
        "tornado_settings": {"slow_spawn_timeout": 1},
    }
    if empty:
        jupyterhub["spawner_class"] = "benchmarks.peers.empty.EmptySpawner"
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(server.close)
        site = Site(
            stack.enter_context(state_directory(None)),
            scheduler=lambda _state, _partitions: crowd,
            people=[f"{prefix}{number:05}" for number in range(size + WARM_UP)],
            own_users=False,
            service_account=True,
            token_lifetime=_LIFETIME,
            cleanup_servers=False,
            jupyterhub=jupyterhub,
            spawner=_SPAWNER,
            classes={"EmptySpawner": {**_SPAWNER, "url": url}},
        )
        await site.start()
        stack.push_async_callback(site.stop)
        standing = Ground(site, crowd, cores, proving=not empty)
        await standing.prepare()
        yield standing


async def _later(delay: float, work: Awaitable[_Result]) -> _Result:
    await asyncio.sleep(delay)
    return await work


async def _few(work: Iterable[Awaitable[_Result]]) -> list[_Result]:
    """Do some at a time."""
    some = asyncio.Semaphore(_AT_ONCE)

    async def one(each: Awaitable[_Result]) -> _Result:
        async with some:
            return await each

    return await asyncio.gather(*map(one, work))
