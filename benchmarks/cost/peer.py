"""What FirecRESTSpawner's loop costs, counted at a gateway of its own.

The loop is nothing but sleeps and requests. The requests are real, and come to a gateway that takes as long
for an answer as a real FirecREST; the clock that both sleep by jumps, so that a slow machine counts the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp

from benchmarks.cost import clock
from benchmarks.cost.figures import PARTS, QUEUE, QUEUES, Count, Spent, whole
from benchmarks.peers.loop import STEADY, Calls, Loop, granted, session
from launcher.sandbox.accounts import Accounts
from launcher.sandbox.faults import Answer, Asked, Fault
from launcher.sandbox.gateway import Gateway
from launcher.sandbox.identity import Client, IdentityProvider
from launcher.sandbox.scheduler.process import ProcessScheduler
from launcher.sandbox.state import state_directory

_LATENCY = 0.15
"""Seconds: a real FirecREST was seen to take 0.13 to 0.2 for one job, most of it ssh and Slurm."""
_HOUR = 3600.0
_SCRIPT = "#!/bin/bash\n"
_JOB = "/compute/{system}/jobs/{job}"


class Queue:
    """Jobs that all wait until all run, behind a gateway.

    Args:
        directory: An empty one.
        size: How many users there are.
    """

    def __init__(self, directory: Path, size: int) -> None:
        self.directory = directory
        self.running = False
        accounts = Accounts.create(directory, [f"user{number}" for number in range(size)], own_users=False)
        grants = frozenset({"client_credentials"})
        self._clients = [
            Client(each.name, each.password, grants=grants, account=each.name) for each in accounts
        ]
        self._identity = IdentityProvider(passwords={}, clients=self._clients)
        self._scheduler = ProcessScheduler(directory, slots=0)
        self._accounts = accounts

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[list[Calls]]:
        """Run it; yield everybody's calls."""
        async with contextlib.AsyncExitStack() as stack:
            for part in (self._identity, self._scheduler):
                await part.start()
                stack.push_async_callback(part.stop)
            self._gateway = Gateway(
                scheduler=self._scheduler,
                accounts=self._accounts,
                jwks=lambda: self._identity.jwks,
                issuer=self._identity.issuer,
                file_systems=[self.directory],
            )
            await self._gateway.start()
            stack.push_async_callback(self._gateway.stop)
            self._gateway.faults.add(self._late, method="GET", path=_JOB)
            http = await stack.enter_async_context(session())
            yield [self._calls(http, client) for client in self._clients]

    @property
    def count(self) -> Count:
        """What has come so far."""
        return Count(self._gateway.requests.total(), self._identity.token_requests.total())

    def since(self, before: Count) -> Count:
        """Return what has come since."""
        return Count(self.count.requests - before.requests, self.count.tokens - before.tokens)

    def _calls(self, http: aiohttp.ClientSession, client: Client) -> Calls:
        async def token() -> str:
            url, who = f"{self._identity.issuer}/token", (client.id, client.secret)
            answer = await granted(http, url, who, grant_type="client_credentials")
            return str(answer["access_token"])

        return Calls(http, self._gateway.url, "sandbox", token)

    async def _late(self, _: Fault, call: Asked) -> Answer:
        await asyncio.sleep(_LATENCY)
        answer = await call()
        if self.running:
            assert isinstance(answer.body, dict)
            answer.body["jobs"][0]["status"]["state"] = "RUNNING"
        return answer


async def alone(seconds: float) -> Count:
    """Return what a launch costs whose job waits so long."""
    with state_directory(None) as directory:
        queue = Queue(directory, 1)
        async with queue.open() as users:
            queue.running = not seconds
            return (await _launches(queue, users, seconds, 1))[0]


async def cost(size: int, part: float) -> Spent:
    """Return what so many servers cost: a launch of each, all at once, and an hour.

    Args:
        size: How many they are.
        part: Which part of the queue is counted.
    """
    with state_directory(None) as directory:
        queue = Queue(directory, size)
        async with queue.open() as users:
            launches, jobs = await _launches(queue, users, QUEUE, part)
            return Spent(launches, await _hour(queue, jobs))


async def _launches(
    queue: Queue, users: list[Calls], seconds: float, part: float
) -> tuple[Count, list[tuple[Calls, str]]]:
    """Return what launches cost, and everybody's job."""
    jobs: list[tuple[Calls, str]] = []
    submitted = asyncio.Event()

    async def launch(calls: Calls, pause: float) -> None:
        await asyncio.sleep(pause)
        job_id = await calls.submit(_SCRIPT, str(queue.directory))
        jobs.append((calls, job_id))
        if len(jobs) == len(users):
            submitted.set()
        await Loop(calls).wait(job_id)

    before = queue.count
    async with asyncio.TaskGroup() as group:
        for number, calls in enumerate(users):
            # Within a second, so that their looks do not all come at the same moments.
            group.create_task(launch(calls, number / len(users)))
        await submitted.wait()
        begun, before = queue.since(before), queue.count
        await asyncio.sleep(seconds * part)
        waited, before = queue.since(before), queue.count
        queue.running = True
    return whole(begun, waited, queue.since(before), part), jobs


async def _hour(queue: Queue, jobs: list[tuple[Calls, str]]) -> Count:
    async def look(calls: Calls, job_id: str, pause: float) -> None:
        await asyncio.sleep(pause)
        await Loop(calls).look_on(job_id)

    async with asyncio.TaskGroup() as group:
        looking = [
            group.create_task(look(calls, job_id, STEADY * number / len(jobs)))
            for number, (calls, job_id) in enumerate(jobs)
        ]
        # Between two looks of the first: else a moment decides whether there are eleven or twelve.
        await asyncio.sleep(STEADY * 1.5)
        before = queue.count
        await asyncio.sleep(_HOUR)
        hour = queue.since(before)
        for task in looking:
            task.cancel()
    return hour


def tell(asker: Connection) -> None:
    """Tell what a launch costs by the seconds that its job waits, and what each number of servers costs."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    launches = {seconds: clock.run(alone(seconds)) for seconds in QUEUES}
    servers = {size: clock.run(cost(size, part)) for size, part in PARTS.items()}
    asker.send((launches, servers))
