"""A command that runs under a keeper: nothing of it outlives it, or us."""

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from launcher.sandbox.scheduler import keeper


class Kept:
    """One command under a keeper (see `keeper`). Start it with `start`, and await `wait` in the end.

    Attributes:
        pid: The keeper's process id.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        kill_wait: float,
        user: tuple[int, int, list[int]] | None = None,
        log: IO[bytes] | None = None,
    ) -> Self:
        """Start a command in a session of its own.

        Args:
            command: Absolute path and arguments.
            environment: All of its environment.
            kill_wait: Seconds between SIGTERM and SIGKILL.
            user: User id, group id and other groups' ids to run as; None for ours.
            log: Where its output goes; None for nowhere.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(Path(keeper.__file__))),
            stdin=asyncio.subprocess.PIPE,
            stdout=log or asyncio.subprocess.DEVNULL,
            stderr=log or asyncio.subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )
        kept = cls(process)
        uid, gid, groups = user or (None, None, None)
        order: keeper.Order = {
            "command": list(command),
            "environment": dict(environment),
            "uid": uid,
            "gid": gid,
            "groups": groups,
            "kill_wait": kill_wait,
        }
        await kept._tell(json.dumps(order))
        return kept

    async def signal(self, name: str) -> None:
        """Send the command itself a signal, such as "USR1"."""
        await self._tell(name)

    def end(self) -> None:
        """Have everything ended: SIGTERM, and SIGKILL after the kill wait."""
        if self._process.stdin:
            self._process.stdin.close()

    def kill(self) -> None:
        """Have everything killed at once, the command first, so that nothing of it runs on."""
        if self._process.stdin and not self._process.stdin.is_closing():
            self._process.stdin.write(b"KILL\n")

    async def wait(self) -> int:
        """Wait until nothing is left of the command; its exit status, or minus the signal that ended it."""
        return await self._process.wait()

    @property
    def running(self) -> bool:
        """Whether anything may be left of the command."""
        return self._process.returncode is None

    async def _tell(self, line: str) -> None:
        assert self._process.stdin
        with contextlib.suppress(ConnectionError):  # it has ended
            self._process.stdin.write(f"{line}\n".encode())
            await self._process.stdin.drain()
