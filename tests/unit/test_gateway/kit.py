"""A gateway before a scheduler that exists in memory only, and what its tests share."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from firecrest.v2 import AsyncFirecrest

from launcher.sandbox.accounts import Account
from launcher.sandbox.gateway import Gateway
from launcher.sandbox.scheduler import CancelRefused, Job, Node, Partition, Submission

ISSUER = "http://127.0.0.1/realms/sandbox"
SCRIPT = "#!/bin/bash\n#SBATCH --job-name=first\nsleep 12\n"
OPERATOR = "service-account-hub"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)

FIRST = Job(
    id="3",
    name="first",
    account_name="alice",
    unix_user="alice",
    group="alice",
    project="proj1",
    partition="normal",
    state="PENDING",
    reason="None",
    exit_code=None,
    signal=None,
    nodes="",
    allocation_nodes=1,
    elapsed=0,
    start=None,
    end=None,
    limit=300,
    working_directory="/home/alice",
    priority=4294901757,
    submitted=1795261979,
    script=SCRIPT,
    standard_output="/home/alice/out-3.txt",
    standard_error="/home/alice/out-3.txt",
)
START = int(time.time()) - 100


def running(job: Job) -> Job:
    return replace(
        job, state="RUNNING", exit_code=0, signal=0, nodes="nid001", elapsed=4, start=START, end=START + 300
    )


def ended(job: Job, state: str, exit_code: int = 0, signal: int = 0) -> Job:
    return replace(running(job), state=state, exit_code=exit_code, signal=signal, elapsed=12, end=START + 12)


def cancelled_while_pending(job: Job) -> Job:
    return replace(
        job,
        state="CANCELLED by 1001",
        exit_code=0,
        signal=0,
        nodes="None assigned",
        allocation_nodes=0,
        end=START + 12,
    )


def not_cancelled(job_id: str, why: str, *, exit_status: int = 0) -> CancelRefused:
    words = f"scancel: Terminating job {job_id}\nscancel: error: Kill job error on job id {job_id}: {why}\n"
    return CancelRefused(words, exit_status=exit_status)


@dataclass
class Memory:
    """A scheduler whose jobs do what a test says."""

    kind: str = "memory"
    cluster_name: str = "cluster"
    version: str = "22.05.8"
    held: dict[str, Job] = field(default_factory=dict)
    submitted: list[dict[str, Any]] = field(default_factory=list)
    refusal: Exception | None = None
    stalled: asyncio.Event | None = None
    taken: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def _answering(self) -> None:
        if self.stalled:
            await self.stalled.wait()
        if self.refusal:
            raise self.refusal

    async def submit(self, account: Account, submission: Submission) -> str:
        await self._answering()
        job = replace(
            FIRST,
            id=str(len(self.held) + 3),
            account_name=account.name,
            name=submission.name or "first",
            project=submission.project or "proj1",
            script=submission.script,
        )
        self.submitted.append({"account": account, **asdict(submission)})
        self.held[job.id] = job
        self.taken.set()
        return job.id

    async def jobs(self) -> list[Job]:
        await self._answering()
        return list(self.held.values())

    async def job(self, job_id: str) -> Job | None:
        await self._answering()
        return self.held.get(job_id)

    async def queue(self) -> list[Job]:
        return await self.jobs()

    async def known(self, job_id: str) -> Job | None:
        return await self.job(job_id)

    async def projects(self, account: Account) -> list[str]:
        await self._answering()
        return []

    async def cancel(self, account: Account, job_id: str) -> None:
        await self._answering()
        if job_id not in self.held:
            raise not_cancelled(job_id, "Invalid job id specified")
        job = self.held[job_id]
        if job.account_name != account.name:
            raise not_cancelled(job_id, "Access/permission denied", exit_status=210)
        if job.state not in ("PENDING", "RUNNING"):
            raise not_cancelled(job_id, "Job/step already completing or completed")
        self.held[job_id] = cancelled_while_pending(job)

    async def nodes(self) -> list[Node]:
        await self._answering()
        return [
            Node(
                "nid001", ("IDLE",), 4, 0, 4, 4, 4, 3.04, 17819, 4000, ("normal", "debug"), "127.0.0.1", "vm"
            )
        ]

    async def partitions(self) -> list[Partition]:
        await self._answering()
        return [Partition("normal", 16, 4, "UP", default=True, limit=None)]


class Token:
    """Authorization as pyfirecrest wants it."""

    def __init__(self, token: str) -> None:
        self.token = token

    def get_access_token(self) -> str:
        return self.token


def mint(
    user: str | None,
    *,
    seconds: float = 300,
    key: Any = KEY,
    kid: str | None = "k1",
    algorithm: str = "RS256",
    **more: Any,
) -> str:
    claims = {"iss": ISSUER, "exp": time.time() + seconds, "preferred_username": user, **more}
    return jwt.encode(
        {name: value for name, value in claims.items() if value is not None},
        key,
        algorithm=algorithm,
        headers={"kid": kid} if kid else None,
    )


def jwks() -> dict[str, Any]:
    key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
    return {"keys": [{**key, "kid": "k1", "use": "sig", "alg": "RS256"}]}


@asynccontextmanager
async def serving(
    scheduler: Memory, accounts: Mapping[str, Account], **options: Any
) -> AsyncIterator[Gateway]:
    gateway = Gateway(
        scheduler=scheduler,
        accounts=accounts.values(),
        jwks=jwks,
        issuer=ISSUER,
        file_systems=[accounts["alice"].home.parent],
        operators=[OPERATOR],
        projects=("proj1", "proj2"),
        **options,
    )
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()


@asynccontextmanager
async def client(gateway: Gateway, user: str = "alice") -> AsyncIterator[AsyncFirecrest]:
    firecrest = AsyncFirecrest(gateway.url, Token(mint(user)), verify=False)
    firecrest.timeout = 10
    try:
        yield firecrest
    finally:
        await firecrest.close_session()


def error(message: str, *, user: str | None = "alice", caused_by: list[str] | None = None) -> dict[str, Any]:
    return {"errorType": "error", "message": message, "causedBy": caused_by, "data": None, "user": user}
