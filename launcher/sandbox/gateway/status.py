"""`/status/…`: the system, its health, its nodes, and who is asking."""

import asyncio
import grp
import time
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from launcher.errors import SandboxError
from launcher.sandbox.faults import Answer
from launcher.sandbox.gateway.answers import TIMED_OUT, Call, Refusal
from launcher.sandbox.gateway.shapes import node_status, partition_status
from launcher.sandbox.scheduler import Scheduler

_T = TypeVar("_T")

_TIMEOUT = 5.0


class Status:
    """What is known about the system.

    Args:
        system: Its name.
        scheduler: Its scheduler.
        file_systems: Directories that hold its files.
        projects: The Slurm accounts of everybody where the scheduler keeps none, the default first.
        interval: Seconds between two looks at the scheduler and the file systems.

    Attributes:
        healthy: Whether the scheduler answered at the last look.
    """

    def __init__(
        self,
        system: str,
        scheduler: Scheduler,
        file_systems: Sequence[Path],
        projects: Sequence[str],
        interval: float,
    ) -> None:
        self.healthy = True
        self._system = system
        self._scheduler = scheduler
        self._file_systems = file_systems
        self._projects = projects
        self._interval = interval
        self._health: list[dict[str, Any]] | None = None
        self._looked: str | None = None

    async def watch(self) -> None:
        """Look at the health of the system, again and again."""
        while True:
            scheduler = await _probe("scheduler", self._scheduler.partitions())
            # There is no ssh here, and nothing of it that could fail.
            ssh = await _probe("ssh", asyncio.sleep(0))
            files = [
                {**await _probe("filesystem", asyncio.to_thread(path.stat)), "path": str(path)}
                for path in self._file_systems
            ]
            self.healthy = scheduler["healthy"]
            self._health = [scheduler, ssh, *files]
            self._looked = _now()
            await asyncio.sleep(self._interval)

    async def systems(self, _: Call) -> Answer:
        """`GET /status/systems`."""
        timeouts = {"timeout": int(_TIMEOUT)}
        system: dict[str, Any] = {
            "name": self._system,
            "ssh": {
                "host": "127.0.0.1",
                "port": 22,
                "proxyHost": None,
                "proxyPort": None,
                "maxClients": 100,
                "timeout": {
                    "connection": 5,
                    "login": 5,
                    "commandExecution": 5,
                    "idleTimeout": 60,
                    "keepAlive": 5,
                },
            },
            "scheduler": {
                "type": "slurm",
                "connectionMode": "ssh",
                "version": self._scheduler.version,
                "apiUrl": None,
                "apiVersion": None,
                "timeout": 10,
            },
            "servicesHealth": self._health,
            "probing": {
                "services": {"scheduler": timeouts, "ssh": timeouts, "filesystem": timeouts},
                "intervalCheck": self._interval,
            },
            "lastHealthCheck": self._looked,
            "fileSystems": [
                {"path": str(path), "dataType": "users", "defaultWorkDir": path == self._file_systems[0]}
                for path in self._file_systems
            ],
            "dataOperation": {
                "datatransfer_jobs_directives": [],
                "max_ops_file_size": 5 * 1024 * 1024,
                "data_transfer": None,
            },
        }
        return Answer(200, {"systems": [system]})

    async def userinfo(self, call: Call) -> Answer:
        """`GET /status/{system}/userinfo`."""
        account = call.account
        projects = await _asked(self._scheduler.projects(account)) or self._projects
        group = {"id": str(account.gid), "name": _group_name(account.gid)}
        return Answer(
            200,
            {
                "user": {"id": str(account.uid), "name": account.name},
                "group": group,
                "groups": [group],
                "accounts": [{"name": name, "default": name == projects[0]} for name in projects],
            },
        )

    async def nodes(self, _: Call) -> Answer:
        """`GET /status/{system}/nodes`."""
        return Answer(200, {"nodes": [node_status(node) for node in await _asked(self._scheduler.nodes())]})

    async def partitions(self, _: Call) -> Answer:
        """`GET /status/{system}/partitions`."""
        partitions = await _asked(self._scheduler.partitions())
        return Answer(200, {"partitions": [partition_status(partition) for partition in partitions]})

    async def reservations(self, _: Call) -> Answer:
        """`GET /status/{system}/reservations`: the sandbox has none."""
        return Answer(200, {"reservations": []})


async def _probe(service: str, look: Coroutine[Any, Any, Any]) -> dict[str, Any]:
    began = time.perf_counter()
    message = None
    try:
        async with asyncio.timeout(_TIMEOUT):
            await look
    except (SandboxError, OSError) as error:
        message = str(error) or type(error).__name__
    return {
        "serviceType": service,
        "lastChecked": _now(),
        "latency": time.perf_counter() - began,
        "healthy": message is None,
        "message": message,
    }


async def _asked(question: Coroutine[Any, Any, _T]) -> _T:
    try:
        async with asyncio.timeout(_TIMEOUT):
            return await question
    except SandboxError as error:
        raise Refusal(500, error.what) from None
    except TimeoutError:
        raise Refusal(500, TIMED_OUT) from None


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
