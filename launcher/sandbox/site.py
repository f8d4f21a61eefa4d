"""A whole site on one machine: identity provider, FirecREST, scheduler, JupyterHub."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from launcher.errors import SandboxError
from launcher.sandbox.accounts import Accounts
from launcher.sandbox.cluster import SandboxCluster
from launcher.sandbox.gateway import Gateway
from launcher.sandbox.hub import CLIENT_ID, Hub
from launcher.sandbox.identity import Client, IdentityProvider
from launcher.sandbox.processes import free_ports
from launcher.sandbox.scheduler import JobState, Scheduler
from launcher.sandbox.scheduler.choice import choose
from launcher.sandbox.software import stage


class Site:
    """The sandbox.

    Args:
        state: An empty directory that other accounts may enter.
        scheduler: `slurm`, `process`, or `auto`: Slurm where it is installed and answers.
        port: The public port; 0 for any free one.
        token_lifetime: Seconds that an access token is good for.
        cluster: The cluster file; without one the sandbox's own.
        changes: Keys of the cluster file that get other values.
        with_admin: Whether the first account is an admin of the hub.

    Raises:
        InvalidFile: If the cluster file has mistakes.
    """

    def __init__(
        self,
        state: Path,
        *,
        scheduler: str = "auto",
        port: int = 0,
        token_lifetime: float = 300.0,
        cluster: Path | None = None,
        changes: dict[str, object] | None = None,
        with_admin: bool = False,
    ) -> None:
        self.state = state
        self._kind = scheduler
        self._port = port or free_ports(1)[0]
        self._token_lifetime = token_lifetime
        self.cluster = SandboxCluster(cluster, changes)
        self.cluster_file: Path
        self._with_admin = with_admin
        self.accounts: Accounts
        self.scheduler: Scheduler
        self.identity: IdentityProvider
        self.gateway: Gateway
        self.hub: Hub
        self._stops: list[Callable[[], Awaitable[object]]] = []

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
        making = asyncio.ensure_future(asyncio.to_thread(Accounts.create, self.state))
        self._stops.append(partial(_remove, making))
        self.accounts = await asyncio.shield(making)
        software = asyncio.ensure_future(asyncio.to_thread(stage, self.state / "software"))
        self._stops.append(partial(asyncio.wait, {software}))
        self.scheduler = await choose(self._kind, self.state, self.accounts, self.cluster.partitions)
        self._stops.append(self.scheduler.stop)
        say(self.scheduler.note or f"Starting the scheduler ({self.scheduler.kind})")
        await self.scheduler.start()
        directory = self.state / "hub"
        directory.mkdir(mode=0o700)
        self._stops.append(_log_to(directory / "gateway.log"))
        self.hub = Hub(directory, self._port)
        say("Starting the identity provider and FirecREST")
        self.identity = IdentityProvider(
            passwords={account.name: account.password for account in self.accounts},
            clients=[Client(CLIENT_ID, self.hub.client_secret, redirect_uris=(self.hub.callback_url,))],
            token_lifetime=self._token_lifetime,
        )
        self._stops.append(self.identity.stop)
        await self.identity.start()
        self.gateway = Gateway(
            scheduler=self.scheduler,
            accounts=self.accounts,
            jwks=lambda: self.identity.jwks,
            issuer=self.identity.issuer,
            projects=("sandbox", "training"),
            file_systems=[self.state / "home", self.state / "scratch"],
        )
        self._stops.append(self.gateway.stop)
        await self.gateway.start()
        say("Copying what jobs run to where every account can read it")
        self._make_scratch()
        self.cluster_file = self.cluster.write(
            directory,
            url=self.gateway.url,
            system="sandbox",
            state=self.state,
            launcher=await asyncio.shield(software),
        )
        say("Starting JupyterHub")
        self._stops.append(self.hub.stop)
        await self.hub.start(
            self.identity.issuer,
            self.cluster_file,
            admin=next(iter(self.accounts)).name if self._with_admin else "",
        )

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
        """Return the ids of an account's jobs that have not ended."""
        return [
            job.id
            for job in await self.scheduler.jobs()
            if job.account_name == name and not JobState(job.state.split()[0]).ended
        ]


def _log_to(path: Path) -> Callable[[], Awaitable[object]]:
    """Log what this process serves to a file; return what ends that."""
    logger = logging.getLogger("launcher.sandbox")
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    async def end() -> None:
        logger.removeHandler(handler)
        handler.close()

    return end


async def _remove(making: asyncio.Future[Accounts]) -> None:
    """Remove the accounts, if they were made."""
    await asyncio.wait({making})
    if making.exception() is None:
        await asyncio.to_thread(making.result().remove)
