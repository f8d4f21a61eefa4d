"""A Slurm of our own: munged, slurmctld and two slurmd on this machine, apart from any Slurm that is there.

With accounting, slurmdbd and a mariadbd of its own are among them.

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
from launcher.sandbox.scheduler import slurm_database
from launcher.sandbox.scheduler.kept import Kept
from launcher.sandbox.scheduler.model import PARTITIONS
from launcher.sandbox.scheduler.slurm_conf import (
    KILL_WAIT,
    NODES,
    SLOTS,
    Host,
    find_host,
    write_configuration,
)
from launcher.sandbox.unix_users import program

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol", "sinfo", "squeue")
_ACCOUNTING_PROGRAMS = ("mariadbd", "slurmdbd", "sacct", "sacctmgr")
Condition = Callable[[], Coroutine[Any, Any, bool]]
_START_TIME = 30.0
_SOCKET_PATH = 107
"""Characters that the path of a unix socket may have, unix(7)."""
_LONGEST_SOCKET = "spool/{0}/{0}_99999.4294967295".format(NODES[0])


def missing(*, accounting: bool = False) -> str:
    """Which of Slurm's programs are not installed, in words; "" if all are."""
    absent = []
    for name in (*_PROGRAMS, *(_ACCOUNTING_PROGRAMS if accounting else ())):
        try:
            program(name)
        except MissingPart:
            absent.append(name)
    return f"{', '.join(absent)} not installed" if absent else ""


def packages(*, accounting: bool = False) -> list[str]:
    """Debian's packages of these programs."""
    plain = ["slurmctld", "slurmd", "slurm-client", "munge"]
    return plain + ["slurmdbd", "slurm-wlm-mysql-plugin", "mariadb-server-core"] * accounting


class SlurmDaemons:
    """The daemons of one private Slurm.

    Args:
        directory: Where all that is theirs goes; the accounts can pass what it lies in.
        partitions: Their names, the default one first, and the longest job of each in seconds.
        accounting: Whether there is accounting.
        slots: How many jobs run at once, at least.

    Attributes:
        environment: What Slurm's commands need in theirs to find this Slurm.
    """

    def __init__(
        self,
        directory: Path,
        partitions: Mapping[str, int] = PARTITIONS,
        *,
        accounting: bool = False,
        slots: int = SLOTS,
    ) -> None:
        self._partitions = partitions
        self._accounting = accounting
        self._slots = slots
        self._directory = directory.absolute()
        self.environment: Mapping[str, str] = {"SLURM_CONF": str(self._directory / "etc/slurm.conf")}
        self._commands: dict[str, tuple[Sequence[str], Mapping[str, str]]] = {}
        self._kept: dict[str, Kept] = {}
        self._ended: set[str] = set()

    @property
    def whole(self) -> bool:
        """Whether neither `end` nor `kill` took a daemon away that was not started again."""
        return not self._ended

    async def start(self, open_books: Condition, ready: Condition) -> None:
        """Start the daemons.

        Args:
            open_books: Tells slurmdbd who may use Slurm, and whether it answered; asked only with accounting.
            ready: Asks Slurm whether all nodes are up.

        Raises:
            MissingPart: A program of Slurm is not installed.
            SandboxError: A daemon ended, or did not come up in 30 seconds; the message holds its log's tail.
        """
        if self._kept:
            return
        if absent := missing(accounting=self._accounting):
            raise MissingPart(
                f"Slurm is not complete: {absent}.",
                todo=f"On Debian: apt-get install {' '.join(packages(accounting=self._accounting))}",
            )
        host = await asyncio.to_thread(find_host)
        self._check_length()
        await asyncio.to_thread(self._make_files, host)
        munge = self._directory / "munge"
        try:
            await self._run("munged", [program("munged"), "--foreground", "--force", *_paths(munge)])
            await self.until(lambda: asyncio.to_thread((munge / "socket").exists))
            if self._accounting:
                await self._start_accounting(host)
                await self.until(open_books)
            await self._run("slurmctld", [*host.prefix, program("slurmctld"), "-D"])
            for node in NODES:
                await self._run(f"slurmd {node}", [*host.prefix, program("slurmd"), "-D", "-N", node])
            await self.until(ready)
        except BaseException:
            await self.stop()
            raise

    async def _start_accounting(self, host: Host) -> None:
        socket = slurm_database.socket(self._database)
        await self._run("mariadbd", slurm_database.command(self._database))
        await self.until(lambda: asyncio.to_thread(socket.exists))
        # So the MariaDB library finds the server of "localhost".
        await self._run(
            "slurmdbd", [*host.prefix, program("slurmdbd"), "-D"], {"MYSQL_UNIX_PORT": str(socket)}
        )

    async def stop(self) -> None:
        """End the daemons. No process of theirs is left, nor of a job that still was there."""
        for kept in reversed(self._kept.values()):
            kept.end()
            await kept.wait()
        self._kept.clear()
        self._ended.clear()

    def check(self) -> None:
        """Make sure that all daemons run, but for those that `end` and `kill` took away.

        Raises:
            SandboxError: They were not started, or one has ended; then the message holds the tail of its log.
        """
        if not self._kept:
            raise SandboxError("The sandbox's Slurm is not running.")
        for name, kept in self._kept.items():
            if not kept.running and name not in self._ended:
                raise SandboxError(f"The sandbox's {name} has ended.", why=self._tail(name))

    async def end(self, name: str) -> None:
        """End one daemon as systemd would; what it keeps on disk stays.

        Args:
            name: "slurmctld", "slurmdbd", or "slurmd" and the node.
        """
        self._ended.add(name)
        self._kept[name].end()
        await self._kept[name].wait()

    async def kill(self, name: str) -> None:
        """End one daemon and all that came of it, such as a job's steps, with no time for last words."""
        self._ended.add(name)
        self._kept[name].kill()
        await self._kept[name].wait()

    async def start_again(self, name: str) -> None:
        """Start one daemon that was ended or killed."""
        await self._run(name, *self._commands[name])
        self._ended.discard(name)

    async def signal(self, name: str, signal: str) -> None:
        """Send one daemon a signal, such as "STOP"."""
        await self._kept[name].signal(signal)

    async def until(self, holds: Condition) -> None:
        """Wait until something holds.

        Raises:
            SandboxError: A daemon ended, or 30 seconds were over; the message holds the tail of the logs.
        """
        until = time.monotonic() + _START_TIME
        while not await holds():
            self.check()
            if time.monotonic() > until:
                logs = "\n".join(self._tail(name) for name in self._kept)
                raise SandboxError(f"Slurm did not come up in {_START_TIME:.0f} seconds.", why=logs)
            await asyncio.sleep(0.1)

    async def _run(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        environment = environment or {}
        self._commands[name] = command, environment
        path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        with self._log(name).open("ab") as log:
            self._kept[name] = await Kept.start(
                command,
                environment={"PATH": path, **self.environment, **environment},
                kill_wait=KILL_WAIT,
                log=log,
            )

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

    @property
    def _database(self) -> Path:
        return self._directory / "database"

    def _make_files(self, host: Host) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
        modes = {".": 0o711, "etc": 0o755, "munge": 0o711, "spool": 0o711, "state": 0o700, "log": 0o700}
        for name, mode in (modes | {f"spool/{node}": 0o755 for node in NODES}).items():
            made = self._directory / name
            made.mkdir()
            made.chmod(mode)
        key = self._directory / "munge/key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        write_configuration(
            self._directory, host, self._partitions, accounting=self._accounting, slots=self._slots
        )
        if self._accounting:
            slurm_database.make(self._database)


def _paths(munge: Path) -> list[str]:
    names = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
    return [f"--{option}={munge / name}" for option, name in names.items()]
