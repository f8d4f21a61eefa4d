"""A whole site on one machine: identity provider, FirecREST, scheduler, JupyterHub."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Unpack

from launcher.errors import SandboxError
from launcher.sandbox.accounts import Accounts
from launcher.sandbox.cluster import SandboxCluster
from launcher.sandbox.credentials import Credentials
from launcher.sandbox.gateway import Gateway
from launcher.sandbox.hub import CLIENT_ID, Hub
from launcher.sandbox.hub_options import HubOptions
from launcher.sandbox.identity import REFRESH_LIFETIME, Client, IdentityProvider
from launcher.sandbox.processes import free_ports
from launcher.sandbox.scheduler import JobState, Scheduler
from launcher.sandbox.scheduler.choice import SchedulerMaker, choose
from launcher.sandbox.scheduler.process import ProcessScheduler
from launcher.sandbox.serving import log_to
from launcher.sandbox.software import STAND_IN, stage


@dataclass(frozen=True)
class System:
    """One cluster of a site.

    Attributes:
        scheduler: Runs its jobs.
        gateway: FirecREST before it.
        cluster_file: Its cluster file.
    """

    scheduler: Scheduler
    gateway: Gateway
    cluster_file: Path


class Site:
    """The sandbox.

    Args:
        state: An empty directory that other accounts may enter.
        scheduler: `slurm`, `process`, or `auto`: Slurm where it is installed and answers; or what makes
            another one.
        accounting: Whether Slurm has accounting.
        port: The public port; 0 for any free one.
        token_lifetime: Seconds that an access token is good for.
        refresh_lifetime: Seconds that a refresh token is good for when nobody uses it.
        health_interval: Seconds between two looks of FirecREST at the scheduler's health.
        cluster: The cluster file; without one the sandbox's own.
        changes: Keys of the cluster file that get other values.
        more_clusters: Names of further clusters, with the keys in which their files differ from the first.
            Each has a FirecREST of its own, and a scheduler of its own unless that is Slurm.
        people: Who has an account.
        own_users: Whether everybody is a unix user of their own, where this is root; else all are the caller.
        with_admin: Whether the first account is an admin of the hub.
        service_account: Whether the hub has credentials of its own for FirecREST, which may cancel any job.
        service_token_lifetime: Seconds that its access tokens are good for; None for as long as others'.
        user_accounts: Name of a hub's user without a log-in → whose account is theirs; the hub has
            credentials for it.
        stand_in: Whether jobs run a small program in JupyterLab's place, so that there can be many.
        **hub: What the hub does otherwise than the demo's.

    Attributes:
        systems: The clusters by their names, the first one first.

    Raises:
        InvalidFile: If the cluster file has mistakes.
    """

    def __init__(
        self,
        state: Path,
        *,
        scheduler: str | SchedulerMaker = "auto",
        accounting: bool = False,
        port: int = 0,
        token_lifetime: float = 300.0,
        refresh_lifetime: float = REFRESH_LIFETIME,
        health_interval: float = 10.0,
        cluster: Path | None = None,
        changes: Mapping[str, object] | None = None,
        more_clusters: Mapping[str, Mapping[str, object]] | None = None,
        people: Sequence[str] = ("alice", "bob"),
        own_users: bool = True,
        with_admin: bool = False,
        service_account: bool = False,
        service_token_lifetime: float | None = None,
        user_accounts: Mapping[str, str] | None = None,
        stand_in: bool = False,
        **hub: Unpack[HubOptions],
    ) -> None:
        self.state = state
        self._kind = scheduler
        self._accounting = accounting
        self._port = port or free_ports(1)[0]
        self._identity = partial(
            IdentityProvider, token_lifetime=token_lifetime, refresh_lifetime=refresh_lifetime
        )
        self._health_interval = health_interval
        self.cluster = SandboxCluster(cluster, changes)
        self._more_clusters = [
            SandboxCluster(cluster, {**(changes or {}), "name": name, "title": name.title(), **others})
            for name, others in (more_clusters or {}).items()
        ]
        self._people = people
        self._own_users = own_users
        self._with_admin = with_admin
        self._credentials = partial(
            Credentials,
            service_account=service_account,
            user_accounts=user_accounts or {},
            token_lifetime=service_token_lifetime,
        )
        self._stand_in = stand_in
        self._hub_options = hub
        self.accounts: Accounts
        self.systems: dict[str, System] = {}
        self.identity: IdentityProvider
        self.hub: Hub
        self._stops: list[Callable[[], Awaitable[object]]] = []

    @property
    def _first(self) -> System:
        return next(iter(self.systems.values()))

    @property
    def scheduler(self) -> Scheduler:
        """The first cluster's scheduler."""
        return self._first.scheduler

    @property
    def gateway(self) -> Gateway:
        """The first cluster's FirecREST."""
        return self._first.gateway

    @property
    def cluster_file(self) -> Path:
        """The first cluster's file."""
        return self._first.cluster_file

    @property
    def url(self) -> str:
        """The public URL."""
        return self.hub.url

    async def start(self, say: Callable[[str], None] = lambda _: None) -> None:
        """Start everything; what was started is stopped again if a part fails.

        Args:
            say: Takes a line for people at each step.

        Raises:
            LauncherError: If a part is missing or does not come up.
        """
        try:
            await self._start(say)
        except BaseException:
            # What went wrong first is what people must read.
            with contextlib.suppress(SandboxError):
                await self.stop()
            raise

    async def _start(self, say: Callable[[str], None]) -> None:
        # A thread can't be cancelled: what it makes is waited for, then removed.
        making = asyncio.ensure_future(
            asyncio.to_thread(Accounts.create, self.state, self._people, own_users=self._own_users)
        )
        self._stops.append(partial(_remove, making))
        self.accounts = await asyncio.shield(making)
        self._make_scratch()
        software = asyncio.ensure_future(asyncio.to_thread(stage, self.state / "software"))
        self._stops.append(partial(asyncio.wait, {software}))
        scheduler = await choose(
            self._kind, self.state, self.accounts, self.cluster.partitions, accounting=self._accounting
        )
        self._stops.append(scheduler.stop)
        say(scheduler.note or f"Starting the scheduler ({scheduler.kind})")
        await scheduler.start()
        directory = self.state / "hub"
        directory.mkdir(mode=0o700)
        self._stops.append(log_to(directory / "gateway.log"))
        self.hub = Hub(directory, self._port, self._hub_options)
        say("Starting the identity provider and FirecREST")
        credentials = self._credentials(accounts=dict(zip(self._people, self.accounts, strict=True)))
        await self._start_identity(credentials)
        say("Copying what jobs run to where every account can read it")
        launcher = await asyncio.shield(software)
        await self._add(self.cluster, "sandbox", scheduler, credentials, launcher)
        for cluster in self._more_clusters:
            own = await self._another(scheduler, cluster)
            await self._add(cluster, cluster.name, own, credentials, launcher)
        say("Starting JupyterHub")
        self._stops.append(self.hub.stop)
        await self.hub.start(
            self.identity.issuer,
            [system.cluster_file for system in self.systems.values()],
            admin=next(iter(self.accounts)).name if self._with_admin else "",
            spawner=credentials.spawner(f"{self.identity.issuer}/token"),
        )

    async def _start_identity(self, credentials: Credentials) -> None:
        hub = Client(CLIENT_ID, self.hub.client_secret, redirect_uris=(self.hub.callback_url,))
        self.identity = self._identity(
            passwords={account.name: account.password for account in self.accounts},
            clients=[hub, *credentials.clients],
        )
        self._stops.append(self.identity.stop)
        await self.identity.start()

    async def _another(self, first: Scheduler, cluster: SandboxCluster) -> Scheduler:
        """Return the scheduler of a further cluster; of Slurm there is one."""
        if first.kind == "slurm":
            return first
        directory = self.state / cluster.name
        directory.mkdir(mode=0o711)
        scheduler = ProcessScheduler(directory, partitions=cluster.partitions)
        self._stops.append(scheduler.stop)
        await scheduler.start()
        return scheduler

    async def _add(
        self,
        cluster: SandboxCluster,
        system: str,
        scheduler: Scheduler,
        credentials: Credentials,
        launcher: Path,
    ) -> None:
        """Start FirecREST before a scheduler, and write the cluster file that leads to it."""
        gateway = Gateway(
            scheduler=scheduler,
            accounts=self.accounts,
            jwks=lambda: self.identity.jwks,
            issuer=self.identity.issuer,
            system=system,
            operators=credentials.operators,
            projects=("sandbox", "training"),
            file_systems=[self.state / "home", self.state / "scratch"],
            health_interval=self._health_interval,
        )
        self._stops.append(gateway.stop)
        await gateway.start()
        file = cluster.write(
            self.state / "hub",
            url=gateway.url,
            system=system,
            state=self.state,
            launcher=launcher.with_name(STAND_IN) if self._stand_in else launcher,
        )
        self.systems[cluster.name] = System(scheduler, gateway, file)

    def _make_scratch(self) -> None:
        scratch = self.state / "scratch"
        scratch.mkdir(mode=0o711)
        for account in self.accounts:
            directory = scratch / account.name
            directory.mkdir(mode=0o700)
            os.chown(directory, account.uid, account.gid)

    async def stop(self) -> None:
        """Stop everything, last first: servers, hub, gateway, scheduler, accounts.

        Raises:
            SandboxError: If a part did not stop cleanly; all others are stopped all the same.
        """
        problems = []
        while self._stops:
            try:
                await self._stops.pop()()
            except Exception as error:  # noqa: BLE001 - the rest must be stopped, too
                problems.append(str(error) or type(error).__name__)
        if problems:
            raise SandboxError("A part of the site did not stop cleanly.", why="\n".join(problems))

    async def live_jobs(self, name: str) -> list[str]:
        """Return the ids of an account's jobs that have not ended, on all clusters."""
        schedulers = {id(system.scheduler): system.scheduler for system in self.systems.values()}
        return [
            job.id
            for scheduler in schedulers.values()
            for job in await scheduler.queue()
            if job.account_name == name and not JobState(job.state.split()[0]).ended
        ]


async def _remove(making: asyncio.Future[Accounts]) -> None:
    """Remove the accounts, if they were made."""
    await asyncio.wait({making})
    if making.exception() is None:
        await asyncio.to_thread(making.result().remove)
