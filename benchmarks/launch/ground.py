"""One Slurm, and the hubs that launch on it: the launcher's, and those of peers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Self

from benchmarks.launch import hub_notes, node
from benchmarks.launch.notes import LAUNCHER, PEER, Moments, Notes, logged
from benchmarks.launch.person import Person
from benchmarks.peers import batch, polling, small_singleuser
from launcher.sandbox.accounts import Account
from launcher.sandbox.faults import Answer, Asked, Fault
from launcher.sandbox.gateway import Gateway
from launcher.sandbox.hub import CLIENT_ID, Hub
from launcher.sandbox.hub_options import HubOptions
from launcher.sandbox.identity import Client, IdentityProvider
from launcher.sandbox.processes import free_ports
from launcher.sandbox.scheduler.slurm import SlurmScheduler
from launcher.sandbox.site import Site
from launcher.sandbox.software import stage

OURS, BATCHSPAWNER, LOOP = "launcher", "batchspawner", "FirecRESTSpawner's loop"
SMALL = {"environment": "small"}
"""What is chosen in the launcher's form to get the small program in JupyterLab's place."""

_ROOT = Path(__file__).parents[2]
_SMALL = "small-singleuser"
_ENVIRONMENTS = [
    {"id": "host", "title": "This machine", "kind": "host"},
    {"id": "small", "title": "A small program", "kind": "host", "prologue": "export BENCH_SMALL=1"},
]
_LOOP_LOG = "loop_*.log"
_LOOP_SCRIPT = """\
#!/bin/bash
#SBATCH --output=loop_%j.log
{prologue}
{{environment}}
exec {{command}}
"""


@dataclass(frozen=True)
class Way:
    """A hub to launch at.

    Attributes:
        name: Of its spawner.
        hub: The hub.
        order: The phases of a launch there, and what ends each.
        job_log: The log of its jobs below their users' homes, if that tells more than the notes.
        options: What is chosen in its form; None if it has none.
    """

    name: str
    hub: Hub
    order: Sequence[tuple[str, str]] = PEER
    job_log: str = ""
    options: Mapping[str, str] | None = None

    @asynccontextmanager
    async def person(self, account: Account) -> AsyncIterator[Person]:
        """Have somebody logged in there."""
        person = Person(self.hub.url, account.name, account.password, form=self.options is not None)
        async with person:
            await person.log_in()
            yield person

    def told(self, account: Account, since: int) -> Moments:
        """Return what logs tell of a launch.

        Args:
            account: Whose it is.
            since: How many bytes the hub's log had before.
        """
        logs = [path.read_text() for path in account.home.glob(self.job_log)] if self.job_log else []
        return logged(self.hub.log_since(since), "\n".join(logs)) if logs else {}

    def forget(self, account: Account) -> None:
        """Remove the logs of somebody's jobs."""
        for path in account.home.glob(self.job_log) if self.job_log else ():
            path.unlink()


class Ground:
    """Where launches are measured; an asynchronous context manager.

    Args:
        state: An empty directory that other accounts may enter.
        people: How many there are.
    """

    def __init__(self, state: Path, people: int) -> None:
        self.notes = Notes(state / "notes")
        self._state = state
        self._program = self.notes.directory / "launcher-singleuser"
        self.site = Site(
            state,
            scheduler=lambda where, partitions: SlurmScheduler(
                where, self.site.accounts, partitions, slots=people
            ),
            people=[f"bench{number:02}" for number in range(1, people + 1)],
            changes={
                "launcher": str(self._program),
                "prologue": self.notes.first_line,
                "environments": _ENVIRONMENTS,
            },
            jupyterhub={"spawner_class": f"{hub_notes.__name__}.{hub_notes.NotedSpawner.__name__}"},
            environment={"PYTHONPATH": str(_ROOT), hub_notes.NOTES: str(self.notes.hub)},
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self.site.start()
            stack.push_async_callback(self.site.stop)
            _install(node, self._program, self._state / "software/bin/python")
            self._watch(self.site.gateway)
            await asyncio.to_thread(stage, self._state / "peers", [batch.DISTRIBUTION])
            _install(small_singleuser, self._bin / _SMALL, self._bin / "python")
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def accounts(self) -> list[Account]:
        """Those who launch."""
        return list(self.site.accounts)

    @property
    def _bin(self) -> Path:
        return self._state / "peers/bin"

    def launcher(self, *, small: bool = False) -> Way:
        """Return the launcher's hub, where jobs run JupyterLab or a small program."""
        return Way(OURS, self.site.hub, LAUNCHER, options=SMALL if small else {})

    @asynccontextmanager
    async def batchspawner(self, *, small: bool = False) -> AsyncIterator[Way]:
        """Run batchspawner's hub, where jobs run JupyterLab or a small program."""
        options = batch.options(
            self._state / "slurm/etc/slurm.conf",
            self._bin,
            server=_SMALL if small else "jupyterhub-singleuser",
            prologue=self.notes.first_line,
        )
        async with self._hub(f"batchspawner{small}", options) as (hub, _):
            yield Way(BATCHSPAWNER, hub, job_log=batch.LOG)

    @asynccontextmanager
    async def loop(self) -> AsyncIterator[Way]:
        """Run the hub of FirecRESTSpawner's loop, with a FirecREST of its own before the same Slurm."""
        identity_port, gateway_port = free_ports(2)
        name = polling.PollingSpawner.__name__
        traits = {
            "firecrest_url": f"http://127.0.0.1:{gateway_port}",
            "token_url": f"http://127.0.0.1:{identity_port}/token",
            "working_directory": f"{self._state}/home/{{username}}",
            "script": _LOOP_SCRIPT.format(prologue=self.notes.first_line),
            "server_address": "127.0.0.1",
            "cmd": [str(self._bin / "batchspawner-singleuser"), str(self._bin / "jupyterhub-singleuser")],
            "args": ["--ip=127.0.0.1"],
            "env_keep": ["LANG", "LC_ALL"],
        }
        options: HubOptions = {
            "jupyterhub": {"spawner_class": f"{polling.__name__}.{name}"},
            "classes": {name: traits},
            "environment": {"PYTHONPATH": str(_ROOT)},
        }
        async with self._hub("loop", options, identity_port) as (hub, identity):
            gateway = Gateway(
                scheduler=self.site.scheduler,
                accounts=self.site.accounts,
                jwks=lambda: identity.jwks,
                issuer=identity.issuer,
                file_systems=[self._state / "home"],
            )
            await gateway.start(gateway_port)
            try:
                self._watch(gateway)
                yield Way(LOOP, hub, job_log=_LOOP_LOG)
            finally:
                await gateway.stop()

    @asynccontextmanager
    async def _hub(
        self, name: str, options: HubOptions, identity_port: int = 0
    ) -> AsyncIterator[tuple[Hub, IdentityProvider]]:
        """Run another hub, with an identity provider of its own; everybody has the same password there."""
        directory = self._state / name
        directory.mkdir(mode=0o700)
        (port,) = free_ports(1)
        hub = Hub(directory, port, options)
        identity = IdentityProvider(
            passwords={account.name: account.password for account in self.accounts},
            clients=[Client(CLIENT_ID, hub.client_secret, redirect_uris=(hub.callback_url,))],
        )
        async with AsyncExitStack() as stack:
            await identity.start(identity_port)
            stack.push_async_callback(identity.stop)
            stack.push_async_callback(hub.stop)
            await hub.start(identity.issuer, [self.site.cluster_file], spawner={})
            yield hub, identity

    def _watch(self, gateway: Gateway) -> None:
        """Note when FirecREST has answered a submit."""

        async def act(_: Fault, call: Asked) -> Answer:
            answer = await call()
            self.notes.note("submitted")
            return answer

        gateway.faults.add(act, method="POST", path="/compute/{system}/jobs")


def _install(module: ModuleType, program: Path, python: Path) -> None:
    """Make a program of a module's file."""
    assert module.__file__
    program.write_text(f"#!{python}\n{Path(module.__file__).read_text()}")
    program.chmod(0o755)
