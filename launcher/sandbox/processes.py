"""Programs that the sandbox runs: each logs to a file and does not outlive the sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from launcher.errors import SandboxError

_TAIL_LINES = 20


class Program:
    """A child process.

    Args:
        name: For messages.
        command: Argument list; no secret may be in it.
        log: File that its output is added to.
        environment: All of its environment.
        directory: Its working directory.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str], directory: Path
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = dict(environment)
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None before the start."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it in a session of its own: a Ctrl-C at the terminal is the sandbox's to handle."""
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                # The kernel ends it if the sandbox is killed.
                *("setpriv", "--pdeathsig", "TERM", *self._command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                cwd=self._directory,
                start_new_session=True,
            )

    async def until(self, ready: Callable[[], Awaitable[bool]], *, timeout: float = 30.0) -> None:
        """Wait until `ready()` is true.

        Raises:
            SandboxError: If the program ends first, or it takes longer than `timeout` seconds.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        while not await ready():
            if not self.running or asyncio.get_running_loop().time() > deadline:
                raise SandboxError(
                    f"{self.name} {'did not come up in time' if self.running else 'ended while it started'}.",
                    why=self.tail(),
                    todo=f"Its log: {self.log}",
                )
            await asyncio.sleep(0.05)

    async def wait(self) -> int:
        """Wait for its end and return the exit code."""
        assert self._process
        return await self._process.wait()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self._process and self.running:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, *, patience: float = 20.0) -> None:
        """End it: SIGTERM, and SIGKILL after `patience` seconds."""
        if self._process is None:
            return
        self.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), patience)
        except TimeoutError:
            self.send_signal(signal.SIGKILL)
            await self._process.wait()

    def tail(self) -> str:
        """Return the last lines of its log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
        except OSError:
            return ""


def start_time(pid: int) -> str | None:
    """Return when a process started, in clock ticks (proc(5), field 22), or None if there is none.

    With the pid it names one process for good.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except OSError:
        return None


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def check_port(port: int) -> None:
    """Check that a port of 127.0.0.1 can be listened on.

    Raises:
        SandboxError: If it can't.
    """
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError as error:
            raise SandboxError(
                f"Port {port} can't be used: {error.strerror}.",
                todo="Name another --port, or none: a free one is found.",
            ) from None
