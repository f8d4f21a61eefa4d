"""The calls to FirecREST v2: submit, look, cancel, read a log's end."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import httpx
from firecrest.FirecrestException import FirecrestException
from firecrest.v2 import AsyncFirecrest

from launcher.clusters import JOB_NAME, Cluster, UserAccounts
from launcher.errors import FirecrestError, JobRejected
from launcher.firecrest.circuit import Circuit
from launcher.firecrest.identity import Identity
from launcher.firecrest.job import JobStatus, text

CALL_TIMEOUT = 30.0
"""Seconds that one call to FirecREST may take, from connecting to the last byte."""

AT_ONCE = 4
"""Calls of one identity at the same time: each may take two of the ten sessions that sshd allows."""
_AT_ONCE_OF_ALL = 16
_KEPT = 4
"""Connections that are kept while nothing is sent."""
_TRIES = 4
_API_VERSION = "2.6.0"

Observer = Callable[[str, str, float], None]
"""Hears of each request: the call's name, its outcome (an HTTP status, or `no answer`), and its seconds."""

# Other 404s speak of a wrong system, or come from a proxy whose FirecREST restarts.
_UNKNOWN_JOB = "Job not found"
# A 500 or a 408 may come although the job was submitted.
_NOT_CARRIED_OUT = frozenset({400, 401, 403, 404, 422, 429, 503})
# These come before a request is on its way.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
# sshd's MaxSessions: the command was not begun, and there is room again in a moment.
_BUSY = "Unable to open a new SSH channel"
# What sbatch says when the controller did not answer it: the job may be there all the same.
_UNSURE = (
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Message receive failure",
    "Message send failure",
    "Communication connection failure",
    "Unexpected message received",
    "Unable to contact slurm controller",
)
_LATER = "Try again in some minutes; if it stays so, tell the site's support."
_WINDOW = "1h"
_MARKED = 4096
_GONE_WORDS = (_UNKNOWN_JOB, "Invalid job id specified", "already completing or completed")

logging.getLogger("httpx").setLevel(logging.WARNING)


class _ContextToken:
    """Authorization for a client that all users share: each call brings its own token."""

    def __init__(self) -> None:
        self.current: ContextVar[str] = ContextVar("firecrest_token")

    async def auth_headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.current.get()}"}


class Firecrest:
    """One cluster's FirecREST; one client for all users.

    Every method takes the identity to act as and raises `FirecrestError` when FirecREST refuses or does not
    answer. Few calls are made at once, one that FirecREST was too busy for is made again, and while FirecREST
    is down most are not made at all.

    Args:
        cluster: Whose FirecREST.
        observe: Hears of each request.

    Attributes:
        circuit: Whether FirecREST is taken for down.
    """

    def __init__(self, cluster: Cluster, observe: Observer = lambda *_: None) -> None:
        self.circuit = Circuit()
        self._observe = observe
        self._limit = asyncio.Semaphore(_AT_ONCE_OF_ALL)
        self._limits: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
        self._system = cluster.firecrest.system
        self._token = _ContextToken()
        self._url = url = str(cluster.firecrest.url)
        verify = _certificates() if url.startswith("https:") else False
        self._client = AsyncFirecrest(url, authorization=self._token, verify=verify)
        # It takes no limits itself. httpx looks at every idle connection before and after each request, which
        # with the twenty that it keeps takes the hub's event loop longer than all the rest.
        limits = httpx.Limits(max_keepalive_connections=_KEPT)
        self._client._session = httpx.AsyncClient(verify=verify, limits=limits)  # noqa: SLF001
        self._client.timeout = httpx.Timeout(20.0, connect=10.0)
        # A 429 comes back as an error: pyfirecrest would sleep for as long as the answer says.
        self._client.num_retries_rate_limit = 0
        # Else an older server's header makes pyfirecrest refuse some calls by itself.
        self._client.set_api_version(_API_VERSION)

    async def accounts(self, who: Identity) -> UserAccounts:
        """Return the user's Slurm accounts on the system, as `userinfo` tells them from FirecREST 2.6 on."""
        answer = await self._call(who, "userinfo")
        told = answer.get("accounts") if isinstance(answer, dict) else None
        if not isinstance(told, list):
            raise FirecrestError("FirecREST does not tell your Slurm accounts.", status=200)
        named = [each for each in _dicts(told) if text(each.get("name"))]
        return UserAccounts(
            tuple(dict.fromkeys(text(each["name"]) for each in named)),
            next((text(each["name"]) for each in named if each.get("default") is True), None),
        )

    async def submit(self, who: Identity, script: str, working_directory: str) -> str:
        """Submit a batch script and return the job id.

        Raises:
            JobRejected: If the scheduler refused the job.
            FirecrestError: If there was no usable answer; the job may exist if `may_have_happened`.
        """
        try:
            answer = await self._call(
                who, "submit", urgent=True, working_dir=working_directory, script_str=script
            )
        except FirecrestError as error:
            told = error.status == 403 or (error.status == 500 and "sbatch" in error.why)
            if told and not any(words in error.why for words in _UNSURE):
                raise JobRejected(
                    "The scheduler refused the job.", why=error.why, status=error.status
                ) from None
            raise
        job_id = str(answer.get("jobId", "")) if isinstance(answer, dict) else ""
        if not _is_id(job_id):
            raise FirecrestError(
                "FirecREST took the job but did not tell its id.", status=201, may_have_happened=True
            )
        return job_id

    async def status(self, who: Identity, job_id: str) -> JobStatus | None:
        """Return a job's status, or None if FirecREST says that it knows no such job."""
        try:
            answer = await self._call(who, "job_info", jobid=job_id)
        except FirecrestError as error:
            if error.status == 404 and _UNKNOWN_JOB in error.why:
                return None
            raise
        job = next((each for each in _dicts(answer) if str(each.get("jobId")) == job_id), None)
        if job is None:
            # Only a plain 404 says that a job is not known.
            raise FirecrestError(f"FirecREST's answer does not speak of job {job_id}.", status=200)
        return JobStatus.read(job)

    async def jobs(self, who: Identity) -> dict[str, JobStatus]:
        """Return the launches' jobs that an identity sees and that live or ended of late, by id."""
        answer = await self._call(who, "job_info", name=JOB_NAME, allusers=who.everybody, time_window=_WINDOW)
        # A server that does not know the filter returns all jobs.
        return {
            str(job["jobId"]): JobStatus.read(job)
            for job in _dicts(answer)
            if job.get("name") == JOB_NAME and _is_id(str(job.get("jobId")))
        }

    async def mark(self, who: Identity, job_id: str) -> str:
        """Return the second line of a job's script, which names its launch; empty for all but its owner.

        Empty, too, for a job that only accounting still takes for alive.
        """
        try:
            answer = await self._call(who, "job_metadata", jobid=job_id)
        except FirecrestError as error:
            if error.status == 404 and _UNKNOWN_JOB in error.why:
                return ""
            raise
        for each in _dicts(answer):
            script = each.get("script")
            lines = script[:_MARKED].splitlines() if isinstance(script, str) else []
            return lines[1] if len(lines) > 1 else ""
        return ""

    async def cancel(self, who: Identity, job_id: str, *, urgent: bool = True) -> bool:
        """Cancel a job; return False if it has already ended, or the scheduler knows no such job."""
        try:
            await self._call(who, "cancel_job", urgent=urgent, jobid=job_id)
        except FirecrestError as error:
            if not any(words in error.why for words in _GONE_WORDS):
                raise
            return False
        return True

    async def log_tail(self, who: Identity, path: str, lines: int = 20) -> list[str]:
        """Return the last lines of a file on the cluster; none if it can't be read."""
        try:
            answer = await self._call(who, "tail", path=path, num_lines=lines)
        except FirecrestError:
            return []
        content = answer.get("content") if isinstance(answer, dict) else None
        return content.splitlines()[-lines:] if isinstance(content, str) else []

    async def _call(self, who: Identity, method: str, *, urgent: bool = False, **arguments: Any) -> Any:
        """Make a call; an urgent one is made though FirecREST is taken for down."""
        refused = ""
        for attempt in range(1, _TRIES + 1):
            if not self.circuit.lets_through() and not urgent:
                raise FirecrestError("FirecREST is down.", why=f"No answer from {self._url}", todo=_LATER)
            token = await who.token(refused)
            try:
                async with self._slot(who):
                    return await self._request(token, method, arguments)
            except FirecrestError as error:
                busy = error.status == 429 or _BUSY in error.why
                # A hub whose clock is slow takes a token for good that is not.
                expired = error.status == 401 and not refused
                if attempt == _TRIES or not (expired or (busy and method != "submit")):
                    raise
                refused = token if expired else ""
                await asyncio.sleep(0 if expired else 0.5 * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load
        raise AssertionError

    @asynccontextmanager
    async def _slot(self, who: Identity) -> AsyncIterator[None]:
        async with self._limits[who.key], self._limit:
            yield

    async def _request(self, token: str, method: str, arguments: dict[str, Any]) -> Any:
        self._token.current.set(token)
        began, status = time.monotonic(), None
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                answer = await getattr(self._client, method)(system_name=self._system, **arguments)
            status = 200
        except FirecrestException as error:
            response = error.responses[-1]
            status = response.status_code
            raise FirecrestError(
                "FirecREST refused the request.",
                why=_message(response),
                status=status,
                may_have_happened=status not in _NOT_CARRIED_OUT,
            ) from None
        except (httpx.HTTPError, TimeoutError, ValueError, TypeError, KeyError) as error:
            raise FirecrestError(
                "FirecREST did not answer.",
                why=f"{type(error).__name__} at {self._url}",
                todo=_LATER,
                may_have_happened=not isinstance(error, _NOT_SENT),
            ) from None
        finally:
            # A call that its caller has given up says nothing of FirecREST.
            if not isinstance(sys.exception(), asyncio.CancelledError):
                self.circuit.answered(status)
                self._observe(method, str(status or "no answer"), time.monotonic() - began)
        return answer


@cache
def _certificates() -> ssl.SSLContext:
    """Return trust in the usual authorities; reading them takes so long that it is done once."""
    return httpx.create_ssl_context()


def _message(response: httpx.Response) -> str:
    if response.status_code == 400:
        return "HTTP 400"  # a validation message may repeat what was sent, the script and its ticket included
    try:
        body = response.json()
    except ValueError:
        return f"HTTP {response.status_code}"
    message = body.get("message") if isinstance(body, dict) else None
    return message if isinstance(message, str) and message else f"HTTP {response.status_code}"


def _is_id(job_id: str) -> bool:
    return job_id.isascii() and job_id.isdecimal() and len(job_id) <= 20


def _dicts(answer: Any) -> list[dict[str, Any]]:
    return [each for each in answer if isinstance(each, dict)] if isinstance(answer, list) else []
