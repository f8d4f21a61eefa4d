"""A Slurm of our own: munged, slurmctld and two slurmd on this machine, apart from any Slurm that is there.

All that is theirs lies in one directory. They run under keepers, as whoever started us: as root with jobs of
any user, else with that user's.
"""

import asyncio
import os
import secrets
import shutil
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.errors import MissingPart, SandboxError
from launcher.sandbox.scheduler.kept import Kept
from launcher.sandbox.scheduler.model import PARTITIONS
from launcher.sandbox.scheduler.slurm_conf import KILL_WAIT, NODES, find_host, write_configuration
from launcher.sandbox.unix_users import program

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol", "sinfo", "squeue")
_START_TIME = 30.0
_SOCKET_PATH = 107
"""Characters that the path of a unix socket may have, unix(7)."""
_LONGEST_SOCKET = "spool/{0}/{0}_99999.4294967295".format(NODES[0])


def missing() -> str:
    """Which of Slurm's programs are not installed, in words; "" if all are."""
    absent = []
    for name in _PROGRAMS:
        try:
            program(name)
        except MissingPart:
            absent.append(name)
    return f"{', '.join(absent)} not installed" if absent else ""


class SlurmDaemons:
    """The daemons of one private Slurm.

    Args:
        directory: Where all that is theirs goes; the accounts can pass what it lies in.
        partitions: Their names, the default one first, and the longest job of each in seconds.

    Attributes:
        environment: What Slurm's commands need in theirs to find this Slurm.
    """

    def __init__(self, directory: Path, partitions: Mapping[str, int] = PARTITIONS) -> None:
        self._partitions = partitions
        self._directory = directory.absolute()
        self.environment: Mapping[str, str] = {"SLURM_CONF": str(self._directory / "etc/slurm.conf")}
        self._kept: dict[str, Kept] = {}

    async def start(self, ready: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        """Start the daemons.

        Args:
            ready: Asks Slurm whether all nodes are up.

        Raises:
            MissingPart: A program of Slurm is not installed.
            SandboxError: A daemon ended, or did not come up in 30 seconds; the message holds its log's tail.
        """
        if self._kept:
            return
        if absent := missing():
            raise MissingPart(
                f"Slurm is not complete: {absent}.",
                todo="On Debian: apt-get install slurmctld slurmd slurm-client munge",
            )
        host = await asyncio.to_thread(find_host)
        self._check_length()
        await asyncio.to_thread(self._make_directories)
        await asyncio.to_thread(write_configuration, self._directory, host, self._partitions)
        munge = self._directory / "munge"
        try:
            await self._run("munged", "--foreground", "--force", *_paths(munge))
            await self._until(lambda: asyncio.to_thread((munge / "socket").exists))
            await self._run("slurmctld", "-D", prefix=host.prefix)
            for node in NODES:
                await self._run("slurmd", "-D", "-N", node, prefix=host.prefix)
            await self._until(ready)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the daemons. No process of theirs is left, nor of a job that still was there."""
        for kept in reversed(self._kept.values()):
            kept.end()
            await kept.wait()
        self._kept.clear()

    def check(self) -> None:
        """Make sure that all daemons run.

        Raises:
            SandboxError: They were not started, or one has ended; then the message holds the tail of its log.
        """
        if not self._kept:
            raise SandboxError("The sandbox's Slurm is not running.")
        for name, kept in self._kept.items():
            if not kept.running:
                raise SandboxError(f"The sandbox's {name} has ended.", why=self._tail(name))

    async def _run(self, name: str, *arguments: str, prefix: Sequence[str] = ()) -> None:
        label = " ".join((name, *(argument for argument in arguments if argument in NODES)))
        path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        with self._log(label).open("wb") as log:
            self._kept[label] = await Kept.start(
                [*prefix, program(name), *arguments],
                environment={"PATH": path, **self.environment},
                kill_wait=KILL_WAIT,
                log=log,
            )

    async def _until(self, holds: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        until = time.monotonic() + _START_TIME
        while not await holds():
            self.check()
            if time.monotonic() > until:
                logs = "\n".join(self._tail(name) for name in self._kept)
                raise SandboxError(f"Slurm did not come up in {_START_TIME:.0f} seconds.", why=logs)
            await asyncio.sleep(0.1)

    def _log(self, name: str) -> Path:
        return self._directory / "log" / f"{name.replace(' ', '-')}.log"

    def _tail(self, name: str) -> str:
        return "\n".join(self._log(name).read_text(errors="replace").splitlines()[-10:])

    def _check_length(self) -> None:
        if len(str(self._directory / _LONGEST_SOCKET)) > _SOCKET_PATH:
            raise SandboxError(
                f"The path {self._directory} is too long for Slurm's sockets.",
                why=f"The path of a unix socket has at most {_SOCKET_PATH} characters.",
                todo="Give the sandbox a state directory with a shorter path.",
            )

    def _make_directories(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
        modes = {".": 0o711, "etc": 0o755, "munge": 0o711, "spool": 0o711, "state": 0o700, "log": 0o700}
        for name, mode in (modes | {f"spool/{node}": 0o755 for node in NODES}).items():
            made = self._directory / name
            made.mkdir()
            made.chmod(mode)
        key = self._directory / "munge/key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))


def _paths(munge: Path) -> list[str]:
    names = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
    return [f"--{option}={munge / name}" for option, name in names.items()]
