"""What stands in, in a test's own event loop, for FirecREST with its Slurm, and for a hub's launches."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable
from copy import copy
from typing import Any

from jupyterhub import orm
from rendering import TINY
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from launcher.clusters import Cluster
from launcher.database.launch_record import LaunchRecord
from launcher.errors import FirecrestError
from launcher.firecrest import JobStatus, Verdict, Watcher
from launcher.firecrest.jobs import Jobs
from launcher.protocol import ticket_hash
from launcher.spawner.launches import Launch

LOG = logging.getLogger("test")
CLUSTER = Cluster.model_validate(TINY)
LATE = FirecrestError("FirecREST did not answer.", may_have_happened=True)
REFUSED = FirecrestError("FirecREST did not answer.", why="ConnectError")


class Person:
    """An identity."""

    def __init__(self, name: str = "alice", *, everybody: bool = False) -> None:
        self.key = self.name = name
        self.everybody = everybody

    async def token(self, refused: str = "") -> str:
        return f"token of {self.name}"


class Slurm:
    """A cluster as `launcher.firecrest.Firecrest` shows it.

    Attributes:
        jobs_by_id: What Slurm knows of each job.
        scripts: Each job's script.
        submits: What happens at each submit, in order: `done` (which is also what happens once all are used
            up), an error, or an error and the seconds after which the job is there all the same.
        errors: What a call raises, by its name, or by `all`.
        seconds: How long a call takes.
        calls: How often each was called.
        ends_on_cancel: Whether a job that is cancelled is so at once.
    """

    def __init__(self) -> None:
        self.jobs_by_id: dict[str, JobStatus] = {}
        self.scripts: dict[str, str] = {}
        self.submits: list[Any] = []
        self.errors: dict[str, Exception] = {}
        self.seconds = 0.1
        self.calls: Counter[str] = Counter()
        self.cancelled: list[tuple[str, str]] = []
        self.most_alive = 0
        self.ends_on_cancel = True
        self.log = ["the last line"]

    def add(self, script: str = "", user: str = "alice", state: str = "PENDING") -> str:
        """Have a job more; return its id."""
        job_id = str(len(self.jobs_by_id) + 1)
        self.jobs_by_id[job_id] = JobStatus(state, user=user)
        self.scripts[job_id] = script
        self.most_alive = max(self.most_alive, len(self.alive))
        return job_id

    @property
    def alive(self) -> list[str]:
        """Ids of the jobs that live."""
        return [job_id for job_id, status in self.jobs_by_id.items() if status.verdict is not Verdict.DEAD]

    def enters(self, job_id: str, state: str, **more: Any) -> None:
        """Have a job in another state."""
        self.jobs_by_id[job_id] = JobStatus(state, user=self.jobs_by_id[job_id].user, **more)

    async def _called(self, name: str) -> None:
        self.calls[name] += 1
        await asyncio.sleep(self.seconds)
        error = self.errors.get(name) or self.errors.get("all")
        if error:
            raise copy(error)

    async def submit(self, who: Person, script: str, working_directory: str) -> str:
        self.calls["submit"] += 1
        happens = self.submits.pop(0) if self.submits else "done"
        await asyncio.sleep(self.seconds)
        if happens == "done":
            return self.add(script, who.name)
        if isinstance(happens, Exception):
            raise copy(happens)
        error, later = happens
        asyncio.get_running_loop().call_later(later, self.add, script, who.name)
        raise copy(error)

    async def jobs(self, who: Person) -> dict[str, JobStatus]:
        await self._called("jobs")
        return {
            job_id: status
            for job_id, status in self.jobs_by_id.items()
            if who.everybody or status.user == who.name
        }

    async def status(self, who: Person, job_id: str) -> JobStatus | None:
        await self._called("status")
        return self.jobs_by_id.get(job_id)

    async def mark(self, who: Person, job_id: str) -> str:
        await self._called("mark")
        if self.jobs_by_id[job_id].user != who.name:
            return ""
        lines = self.scripts[job_id].splitlines()
        return lines[1] if len(lines) > 1 else ""

    async def cancel(self, who: Person, job_id: str, *, urgent: bool = True) -> bool:
        await self._called("cancel")
        if job_id not in self.alive:
            return False
        if not who.everybody and self.jobs_by_id[job_id].user != who.name:
            raise FirecrestError("No.", why="Access/permission denied", status=500)
        self.cancelled.append((who.name, job_id))
        if self.ends_on_cancel:
            self.enters(job_id, "CANCELLED")
        return True

    async def log_tail(self, who: Person, path: str, lines: int = 20) -> list[str]:
        await self._called("log_tail")
        return self.log


def jobs(
    slurm: Any,
    owner: Person | None = None,
    service: Person | None = None,
    *,
    watcher: Watcher | None = None,
    suspect: Callable[[], None] = lambda: None,
) -> Jobs:
    """Return a user's jobs, watched as in a hub."""
    owner = owner or Person()
    watcher = watcher or Watcher(slurm, service or owner, LOG)
    return Jobs(CLUSTER, owner, service=service, firecrest=slurm, watcher=watcher, suspect=suspect)


def script(launch: Launch) -> str:
    """Return as much of a launch's script as matters here."""
    return f"#!/bin/bash -l\n# launch {launch.record.launch_id}\n"


def database() -> Session:
    """Return a session of a hub's database, which is empty and in memory: `gone` ends both."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    orm.Base.metadata.create_all(engine)
    return Session(engine, expire_on_commit=False)  # as JupyterHub has it


def gone(session: Session) -> None:
    """End a session and its database."""
    session.close()
    session.get_bind().dispose()


def launch(user: str = "alice", server: str = "", *, taken: bool = True, **changes: Any) -> Launch:
    """Return a launch that a spawner has taken, unless told otherwise."""
    fields: dict[str, Any] = {
        "launch_id": secrets.token_hex(16),
        "ticket_hash": ticket_hash(secrets.token_hex(32)),
        "ticket_expires": time.time() + 4 * 3600,
        "cluster": "tiny",
        "script_hash": "f" * 64,
        "options": {},
    }
    made = Launch(LaunchRecord(**{**fields, **changes}), user, server)
    made.spawner = object() if taken else None  # type: ignore[assignment]
    return made
