"""A cluster's jobs, as one user may see and cancel them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import MutableMapping
from typing import Any

from jupyterhub.user import User

from launcher.clusters import Cluster, UserAccounts, log_path
from launcher.errors import FirecrestError
from launcher.spawner.firecrest import Firecrest, JobStatus, Verdict
from launcher.spawner.tokens import access_token


class UserJobs:
    """The jobs of one user on one cluster.

    Every method but `log_tail` raises `FirecrestError` when FirecREST refuses or does not answer, or when
    the user must log in again.
    """

    def __init__(self, cluster: Cluster, user: User) -> None:
        self._cluster = cluster
        self._user = user
        self._firecrest = _client(user.settings, cluster)

    async def accounts(self) -> UserAccounts:
        """Return the user's Slurm accounts."""
        return await self._firecrest.accounts(await access_token(self._user))

    async def submit(self, script: str) -> str:
        """Submit a batch script in the user's home directory; return the job id.

        Raises:
            JobRejected: If the scheduler refused the job.
        """
        home = self._cluster.home_of(self._user.name)
        return await self._firecrest.submit(await access_token(self._user), script, home)

    async def status(self, job_id: str) -> JobStatus | None:
        """Return a job's status, or None if FirecREST does not know it (yet, or any more)."""
        return await self._firecrest.status(await access_token(self._user), job_id)

    async def find(self, launch_id: str) -> str | None:
        """Return the id of the job that a launch's script runs in, if there is one that has not ended."""
        return await self._firecrest.find(await access_token(self._user), f"# launch {launch_id}")

    async def cancel(self, job_id: str) -> None:
        """Cancel a job; one that has already ended counts as cancelled."""
        await self._firecrest.cancel(await access_token(self._user), job_id)

    async def ended(self, job_id: str, within: float) -> bool:
        """Wait, at most so many seconds, for a job that should end soon; tell whether it has."""
        deadline = time.monotonic() + within
        pause = 0.3
        while time.monotonic() < deadline:
            status = await self.status(job_id)
            if status is None or status.verdict is Verdict.DEAD:
                return True
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 3.0)
        return False

    async def log_tail(self, job_id: str) -> list[str]:
        """Return the last lines of a job's log; none if it can't be read."""
        if not job_id:
            return []
        try:
            token = await access_token(self._user)
        except FirecrestError:
            return []
        return await self._firecrest.log_tail(token, log_path(self._cluster, self._user.name, job_id))


def _client(settings: MutableMapping[str, Any], cluster: Cluster) -> Firecrest:
    """Return the one client that all users of a hub share for a cluster."""
    clients: dict[str, Firecrest] = settings.setdefault("launcher_firecrest", {})
    key = f"{cluster.firecrest}"
    if key not in clients:
        clients[key] = Firecrest(cluster)
    return clients[key]
