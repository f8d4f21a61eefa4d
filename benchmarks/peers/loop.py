"""What FirecRESTSpawner is published to ask FirecREST for, and when; written from that behaviour.

- Each call comes with a token request of its own: nothing is remembered from one call to the next.
- A start submits once, and looks at the job every 0.5 s until it runs.
- A pending page that is open looks at the job every second, besides, until it runs.
- A server that runs is looked at every 300 s.
- A stop cancels once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import aiohttp

STARTUP, PROGRESS, STEADY = 0.5, 1.0, 300.0
"""Seconds between two looks: of a start, of its open page, of the hub at a server that runs."""

RUNS = "RUNNING"
LIVE = frozenset({"", "PENDING", "CONFIGURING", "SUSPENDED", "COMPLETING", RUNS})

GetToken = Callable[[], Awaitable[str]]
Client = tuple[str, str]
"""Id and secret."""


class Job(NamedTuple):
    """What a look has told.

    Attributes:
        state: Slurm's word; empty where FirecREST did not tell.
        node: Where it runs.
    """

    state: str = ""
    node: str = ""


def session() -> aiohttp.ClientSession:
    """Return what requests are made with, as many at once as there are."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


async def granted(http: aiohttp.ClientSession, url: str, client: Client, **grant: str) -> dict[str, Any]:
    """Return the answer to a token request.

    Args:
        http: From `session`.
        url: The token endpoint.
        client: Who asks.
        **grant: The request's parameters, such as `grant_type`.
    """
    headers = {"Authorization": aiohttp.encode_basic_auth(*client)}
    async with http.post(url, data=grant, headers=headers, raise_for_status=True) as answer:
        return dict(await answer.json())


class Calls:
    """One user's calls to FirecREST.

    Args:
        http: From `session`.
        url: FirecREST's base.
        system: The cluster's name there.
        token: Requests a token; called before each call.
    """

    def __init__(self, http: aiohttp.ClientSession, url: str, system: str, token: GetToken) -> None:
        self._http = http
        self._jobs = f"{url.rstrip('/')}/compute/{system}/jobs"
        self._token = token

    async def submit(self, script: str, directory: str) -> str:
        """Submit a batch script; return the job's id."""
        job = {"workingDirectory": directory, "script": script}
        return str((await self._call("POST", "", json={"job": job}))["jobId"])

    async def look(self, job_id: str) -> Job:
        """Look at a job; an error tells nothing."""
        try:
            (told,) = (await self._call("GET", f"/{job_id}"))["jobs"]
        except (aiohttp.ClientError, TimeoutError):
            return Job()
        return Job(str(told["status"]["state"]).partition(" ")[0], str(told["nodes"]))

    async def cancel(self, job_id: str) -> None:
        """Cancel a job, unless it has ended."""
        with contextlib.suppress(aiohttp.ClientResponseError):
            await self._call("DELETE", f"/{job_id}")

    async def until_running(self, job_id: str, every: float) -> Job:
        """Look at a job until it runs.

        Raises:
            RuntimeError: If it ends.
        """
        while (job := await self.look(job_id)).state != RUNS:
            if job.state not in LIVE:
                raise RuntimeError(f"Job {job_id} is {job.state}.")
            await asyncio.sleep(every)
        return job

    async def watched(self, job_id: str, every: float) -> AsyncIterator[Job]:
        """Yield what looks at a job tell while it waits."""
        while (job := await self.look(job_id)).state in LIVE - {RUNS}:
            yield job
            await asyncio.sleep(every)

    async def _call(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {await self._token()}"}
        url = f"{self._jobs}{path}"
        async with self._http.request(
            method, url, headers=headers, raise_for_status=True, **content
        ) as answer:
            return dict(await answer.json()) if answer.status != 204 else {}


class Loop:
    """All that is asked about one user's server, without a hub.

    Args:
        calls: The user's.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def wait(self, job_id: str) -> None:
        """Wait until a job runs, with the pending page open."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._calls.until_running(job_id, STARTUP))
            async for _ in self._calls.watched(job_id, PROGRESS):
                pass

    async def look_on(self, job_id: str) -> None:
        """Look at a server that runs, from now on."""
        while True:
            await asyncio.sleep(STEADY)
            await self._calls.look(job_id)
