"""A cluster's jobs, as one user may see and cancel them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from logging import Logger, LoggerAdapter
from typing import Any, Self

from jupyterhub.user import User

from launcher.clusters import Cluster, UserAccounts, log_path
from launcher.errors import FirecrestError
from launcher.firecrest import Firecrest, JobStatus, Known, Verdict, Watcher
from launcher.firecrest.identity import Identity
from launcher.firecrest.login import ClientCredentials, UserLogin
from launcher.firecrest.tokens import has_fresh_token
from launcher.firecrest.watcher import ENDING, Follower
from launcher.metrics import FIRECREST_SECONDS

_LOG_WITHIN = 4.0
"""Seconds: a failure is told without its log rather than late."""

Listed = Callable[[Cluster, Identity, dict[str, JobStatus]], None]


class Jobs:
    """The jobs of one user on one cluster.

    Methods that ask raise `FirecrestError` when FirecREST refuses or does not answer, or when the user must
    log in again; those that watch tell it as a problem of what is known.

    Attributes:
        cluster: The cluster.
        owner: As whom the user launches.
        suspect: Called when there may be a job that nobody knows of.
    """

    def __init__(
        self,
        cluster: Cluster,
        owner: Identity,
        *,
        service: Identity | None,
        firecrest: Firecrest,
        watcher: Watcher,
        suspect: Callable[[], None] = lambda: None,
    ) -> None:
        self.suspect = suspect
        self.cluster = cluster
        self.owner = owner
        self._service = service
        self._firecrest = firecrest
        self._watcher = watcher

    async def accounts(self) -> UserAccounts:
        """Return the user's Slurm accounts."""
        return await self._firecrest.accounts(self.owner)

    async def submit(self, script: str) -> str:
        """Submit a batch script in the user's home directory; return the job id.

        Raises:
            JobRejected: If the scheduler refused the job.
        """
        job_id = await self._firecrest.submit(self.owner, script, self.cluster.home_of(self.owner.name))
        self._watcher.answered()
        return job_id

    async def find(self, launch_id: str) -> str:
        """Return the id of the job that runs a launch's script; empty if there is none, or it has ended."""
        for job_id, status in (await self._firecrest.jobs(self.owner)).items():
            if status.verdict is not Verdict.DEAD and await self.mark(job_id) == launch_id:
                return job_id
        return ""

    async def mark(self, job_id: str) -> str:
        """Return the launch id that a job's script names; empty if it names none."""
        word, _, launch_id = (await self._firecrest.mark(self.owner, job_id)).rpartition(" ")
        return launch_id if word == "# launch" else ""

    async def cancel(self, job_id: str, *, urgent: bool = True) -> bool:
        """Cancel a job, as its owner or else by the service account; return False if it has already ended.

        Args:
            job_id: The job. It may be what a node said, which anybody can make it say.
            urgent: Whether to try though FirecREST is taken for down.
        """
        try:
            return await self._firecrest.cancel(self.owner, job_id, urgent=urgent)
        except FirecrestError:
            if self._service is None:
                raise
            status = await self._firecrest.status(self._service, job_id)
            if status is None or status.user != self.owner.name:
                raise
            return await self._firecrest.cancel(self._service, job_id, urgent=urgent)

    async def dead(self, job_id: str, within: float) -> JobStatus | None:
        """Wait, at most so many seconds, for a job that should end soon; return its last state if it has."""
        if not job_id or not within:
            return None
        with contextlib.suppress(TimeoutError), self.follow(job_id, ENDING) as follower:
            async with asyncio.timeout(within):
                while (await follower.next_look()).verdict is not Verdict.DEAD:
                    pass
        return follower.known.final

    def follow(
        self, job_id: str, pace: Sequence[float], told: Callable[[], None] = lambda: None
    ) -> AbstractContextManager[Follower]:
        """Look at a job from time to time, see `Watcher.follow`."""
        return self._watcher.follow(job_id, pace, owner=self._seen_by_owner, told=told)

    async def look(self, job_id: str) -> Known:
        """Look at a job now."""
        return await self._watcher.look(job_id, self._seen_by_owner)

    @property
    def _seen_by_owner(self) -> Identity | None:
        return self.owner if self.owner is not self._watcher.who else None

    async def log_tail(self, job_id: str) -> list[str]:
        """Return the last lines of a job's log; none if it can't be read."""
        if not job_id:
            return []
        with contextlib.suppress(FirecrestError, TimeoutError):
            async with asyncio.timeout(_LOG_WITHIN):
                path = log_path(self.cluster, self.owner.name, job_id)
                return await self._firecrest.log_tail(self.owner, path)
        return []


class Access:
    """How a hub reaches its clusters' FirecREST: one client a cluster, one watcher a cluster and identity.

    Use `Access.of`: there is one a hub.

    Args:
        service: Client credentials that watch and cancel everybody's jobs, or nothing.
        accounts: Hub user → client credentials that this user launches with.
        log: The hub's.

    Attributes:
        service: As whom everybody's jobs are watched, or None.
        listed: Hears what every list of jobs holds.
        suspect: Called with somebody who may have a job that nobody knows of.

    Raises:
        UsageError: If client credentials are not whole.
    """

    def __init__(
        self,
        service: Mapping[str, str],
        accounts: Mapping[str, Mapping[str, str]],
        log: Logger | LoggerAdapter[Any],
    ) -> None:
        self.service = ClientCredentials("service account", service, everybody=True) if service else None
        self.listed: Listed = lambda *_: None
        self.suspect: Callable[[Identity], None] = lambda _: None
        self._accounts = {
            name: ClientCredentials(f"account of {name}", values, everybody=False)
            for name, values in accounts.items()
        }
        self._log = log
        self._firecrest: dict[str, Firecrest] = {}
        self._watchers: dict[tuple[str, str], Watcher] = {}
        self._logins: dict[str, UserLogin] = {}

    @classmethod
    def of(cls, settings: MutableMapping[str, Any]) -> Self:
        """Return the one of a hub."""
        access: Self = settings["launcher_access"]
        return access

    def keep(self, settings: MutableMapping[str, Any]) -> None:
        """Be the one of a hub."""
        settings["launcher_access"] = self

    def jobs(self, cluster: Cluster, user: User) -> Jobs:
        """Return the jobs of a user on a cluster."""
        owner = self.identity(user)
        return Jobs(
            cluster,
            owner,
            service=self.service,
            firecrest=self.firecrest(cluster),
            watcher=self.watcher(cluster, owner),
            suspect=lambda: self.suspect(owner),
        )

    def identity(self, user: User) -> Identity:
        """Return as whom a user launches."""
        name = str(user.name)
        if name in self._accounts:
            return self._accounts[name]
        login = self._logins.get(name)
        if login is None or login.user is not user:  # a user may be deleted, and made anew
            login = self._logins[name] = UserLogin(user)
        return login

    def firecrest(self, cluster: Cluster) -> Firecrest:
        """Return the one client of a cluster."""
        key = f"{cluster.firecrest}"
        if key not in self._firecrest:
            self._firecrest[key] = Firecrest(cluster, partial(_observe, cluster.name))
        return self._firecrest[key]

    def watcher(self, cluster: Cluster, owner: Identity) -> Watcher:
        """Return who watches the jobs of a user: the service account, else the user."""
        who = self.service or owner
        key = f"{cluster.firecrest}", who.key
        watcher = self._watchers.get(key)
        if watcher is None or watcher.who is not who:
            listed = partial(self._heard, cluster, who)
            watcher = self._watchers[key] = Watcher(self.firecrest(cluster), who, self._log, listed)
        return watcher

    async def is_fresh(self, user: User) -> bool:
        """Tell whether a user can act without a log-in or a refresh token being spent."""
        return str(user.name) in self._accounts or await has_fresh_token(user)

    def hub_user(self, name: str) -> str:
        """Return the hub's name of the user whom a cluster knows by a name."""
        return next((user for user, account in self._accounts.items() if account.name == name), name)

    def _heard(self, cluster: Cluster, who: Identity, jobs: dict[str, JobStatus]) -> None:
        try:
            self.listed(cluster, who, jobs)
        except Exception:  # noqa: BLE001 - whoever waits for the list has it all the same
            self._log.exception("Jobs of %s on %s: can't look for strays", who.key, cluster.name)


def _observe(cluster: str, call: str, outcome: str, seconds: float) -> None:
    FIRECREST_SECONDS.labels(cluster, call, outcome).observe(seconds)
