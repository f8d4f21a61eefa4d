"""FirecREST v2 as a spawner needs it: submit, look, cancel, read a log's end."""

from __future__ import annotations

import asyncio
import logging
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import httpx
from firecrest.FirecrestException import FirecrestException
from firecrest.v2 import AsyncFirecrest

from launcher.clusters import JOB_NAME, Cluster, UserAccounts
from launcher.errors import FirecrestError, JobRejected

CALL_TIMEOUT = 30.0
"""Seconds that one call to FirecREST may take, from connecting to the last byte."""

_API_VERSION = "2.6.0"

# Slurm's terminal states: https://slurm.schedmd.com/job_state_codes.html
_DEAD = frozenset(
    "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED REVOKED TIMEOUT".split()
)
_ALIVE = frozenset(
    "COMPLETING CONFIGURING PENDING POWER_UP_NODE REQUEUED REQUEUE_FED REQUEUE_HOLD RESIZING RESV_DEL_HOLD "
    "RUNNING SIGNALING SPECIAL_EXIT STAGE_OUT STOPPED SUSPENDED".split()
)
# Other 404s speak of a wrong system, or come from a proxy whose FirecREST restarts.
_UNKNOWN_JOB = "Job not found"
# A 500 or a 408 may come although the job was submitted.
_NOT_CARRIED_OUT = frozenset({400, 401, 403, 404, 422, 429, 503})
_GONE_WORDS = (_UNKNOWN_JOB, "Invalid job id specified", "already completing or completed")

logging.getLogger("httpx").setLevel(logging.WARNING)


class Verdict(StrEnum):
    """What the scheduler's answer says about a job; an error never says `dead`."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class JobStatus:
    """One job, as FirecREST shows it.

    Attributes:
        state: Slurm's word, such as `PENDING`, without what may follow it.
        reason: Why it waits, or empty.
        exit_code: Exit code, or None while there is none.
        signal: The signal that ended it, or None.
        nodes: Slurm's host list; empty while it waits.
    """

    state: str
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    nodes: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether a job in this state is alive, dead, or something that Slurm does not document."""
        if self.state in _DEAD:
            return Verdict.DEAD
        return Verdict.ALIVE if self.state in _ALIVE else Verdict.UNKNOWN

    @property
    def waiting(self) -> bool:
        """Whether it waits in the queue; PENDING with nodes is an artefact of accounting."""
        return self.state == "PENDING" and not self.nodes


class _ContextToken:
    """Authorization for a client that all users share: each call brings its own token."""

    def __init__(self) -> None:
        self.current: ContextVar[str] = ContextVar("firecrest_token")

    async def auth_headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.current.get()}"}


class Firecrest:
    """One cluster's FirecREST; one client for all users.

    Every method takes the access token to act with and raises `FirecrestError` when FirecREST refuses or
    does not answer.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._system = cluster.firecrest.system
        self._token = _ContextToken()
        self._url = url = str(cluster.firecrest.url)
        # Reading the system's certificates takes 70 ms that plain http has no use for.
        self._client = AsyncFirecrest(url, authorization=self._token, verify=url.startswith("https:"))
        self._client.timeout = httpx.Timeout(20.0, connect=5.0)
        # A 429 comes back as an error: pyfirecrest would sleep for as long as the answer says.
        self._client.num_retries_rate_limit = 0
        # Else an older server's header makes pyfirecrest refuse some calls by itself.
        self._client.set_api_version(_API_VERSION)

    async def accounts(self, token: str) -> UserAccounts:
        """Return the user's Slurm accounts on the system, as `userinfo` tells them from FirecREST 2.6 on."""
        answer = await self._call(token, "userinfo")
        told = answer.get("accounts") if isinstance(answer, dict) else None
        if not isinstance(told, list):
            raise FirecrestError("FirecREST does not tell your Slurm accounts.", status=200)
        named = [each for each in _dicts(told) if _text(each.get("name"))]
        return UserAccounts(
            tuple(dict.fromkeys(_text(each["name"]) for each in named)),
            next((_text(each["name"]) for each in named if each.get("default") is True), None),
        )

    async def submit(self, token: str, script: str, working_directory: str) -> str:
        """Submit a batch script and return the job id.

        Raises:
            JobRejected: If the scheduler refused the job.
            FirecrestError: If there was no usable answer; the job may exist if `may_have_happened`.
        """
        try:
            answer = await self._call(token, "submit", working_dir=working_directory, script_str=script)
        except FirecrestError as error:
            if error.status in (403, 500) and ("sbatch" in error.why or error.status == 403):
                raise JobRejected(
                    "The scheduler refused the job.", why=error.why, status=error.status
                ) from None
            raise
        job_id = str(answer.get("jobId", "")) if isinstance(answer, dict) else ""
        if not (job_id.isascii() and job_id.isdecimal()):
            raise FirecrestError(
                "FirecREST took the job but did not tell its id.", status=201, may_have_happened=True
            )
        return job_id

    async def status(self, token: str, job_id: str) -> JobStatus | None:
        """Return a job's status, or None if FirecREST says that it knows no such job."""
        try:
            answer = await self._call(token, "job_info", jobid=job_id)
        except FirecrestError as error:
            if error.status == 404 and _UNKNOWN_JOB in error.why:
                return None
            raise
        job = next((each for each in _dicts(answer) if str(each.get("jobId")) == job_id), None)
        if job is None:
            # Only a plain 404 says that a job is not known.
            raise FirecrestError(f"FirecREST's answer does not speak of job {job_id}.", status=200)
        return _status(job)

    async def find(self, token: str, mark: str) -> str | None:
        """Return the id of a launch's job that has not ended, by the second line of its script."""
        jobs = _dicts(await self._call(token, "job_info", name=JOB_NAME))
        # A server that does not know the filter returns all jobs.
        named = [
            job for job in jobs if job.get("name") == JOB_NAME and _status(job).verdict is not Verdict.DEAD
        ]
        for job_id in (str(job.get("jobId")) for job in named):
            metadata = _dicts(await self._call(token, "job_metadata", jobid=job_id))
            if any(_text(each.get("script")).splitlines()[1:2] == [mark] for each in metadata):
                return job_id
        return None

    async def cancel(self, token: str, job_id: str) -> None:
        """Cancel a job; one that has already ended, or is not known, counts as cancelled."""
        try:
            await self._call(token, "cancel_job", jobid=job_id)
        except FirecrestError as error:
            if not any(words in error.why for words in _GONE_WORDS):
                raise

    async def log_tail(self, token: str, path: str, lines: int = 20) -> list[str]:
        """Return the last lines of a file on the cluster; none if it can't be read."""
        try:
            answer = await self._call(token, "tail", path=path, num_lines=lines)
        except FirecrestError:
            return []
        content = answer.get("content") if isinstance(answer, dict) else None
        return content.splitlines()[-lines:] if isinstance(content, str) else []

    async def _call(self, token: str, method: str, **arguments: Any) -> Any:
        self._token.current.set(token)
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                return await getattr(self._client, method)(system_name=self._system, **arguments)
        except FirecrestException as error:
            response = error.responses[-1]
            raise FirecrestError(
                "FirecREST refused the request.",
                why=_message(response),
                status=response.status_code,
                may_have_happened=response.status_code not in _NOT_CARRIED_OUT,
            ) from None
        except (httpx.HTTPError, TimeoutError, ValueError, TypeError, KeyError) as error:
            raise FirecrestError(
                "FirecREST did not answer.",
                why=f"{type(error).__name__} at {self._url}",
                todo="Try again in some minutes; if it stays so, tell the site's support.",
                may_have_happened=not isinstance(error, httpx.ConnectError),
            ) from None


def _message(response: httpx.Response) -> str:
    if response.status_code == 400:
        return "HTTP 400"  # a validation message may repeat what was sent, the script and its ticket included
    try:
        body = response.json()
    except ValueError:
        return f"HTTP {response.status_code}"
    text = body.get("message") if isinstance(body, dict) else None
    return text if isinstance(text, str) and text else f"HTTP {response.status_code}"


def _dicts(answer: Any) -> list[dict[str, Any]]:
    return [each for each in answer if isinstance(each, dict)] if isinstance(answer, list) else []


def _status(job: dict[str, Any]) -> JobStatus:
    """Read one job of an answer; whatever is not of the expected type is left out."""
    status = job["status"] if isinstance(job.get("status"), dict) else {}
    nodes = _text(job.get("nodes"))
    state = (_text(status.get("state")).split() or [""])[0]
    return JobStatus(
        state=state,
        reason="" if status.get("stateReason") == "None" else _text(status.get("stateReason")),
        exit_code=_number(status.get("exitCode")),
        signal=_number(status.get("interruptSignal")) or None,
        nodes="" if nodes == "None assigned" else nodes,
    )


def _text(value: Any) -> str:
    return value[:200] if isinstance(value, str) else ""


def _number(value: Any) -> int | None:
    return value if type(value) is int else None
