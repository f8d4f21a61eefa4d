"""Starts of single-user servers, up to their first answer."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum, auto
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

from benchmarks.node import processes
from benchmarks.node.hub import PREFIX, Hub, hub
from launcher.protocol import new_ticket

NOBODY = 65534
"""User and group that servers run as: as root, some of them would be other programs."""
AS_NOBODY = ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--")

PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
_PATIENCE = 120.0
"""Seconds after which a server is taken for one that never answers."""
_STEP = 0.01
"""Seconds between two questions to a server."""


class Given(Enum):
    """What a server has in its environment when it starts."""

    TICKET = auto()
    """A ticket, by which it claims the rest; the hub hears of its port."""
    ALL = auto()
    """All that JupyterHub gives, and a port."""
    NO_PORT = auto()
    """All that JupyterHub gives but for a port; the hub hears of that."""


class Start(NamedTuple):
    """What one start took.

    Attributes:
        seconds: From the command's first instruction until the hub knew a URL that works.
        cpu: Processor seconds of the server until then, with those of children that have ended.
        read: Bytes that it had to have read from a disk.
        memory: The most that its processes have had, in MB.
    """

    seconds: float
    cpu: float
    read: int
    memory: float


class Server:
    """A server that answers.

    Attributes:
        start: What its start took.
    """

    def __init__(self, start: Start, port: int, token: str, log: Path) -> None:
        self.start = start
        self._port = port
        self._token = token
        self._log = log

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text(errors="replace")

    def ask(self, path: str) -> tuple[int, bytes]:
        """Return status and body of what it answers its user."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE)
        connection.request("GET", f"{PREFIX}{path}", headers={"Authorization": f"token {self._token}"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body


class Node:
    """A place where servers start, as nobody. Use `node`.

    Attributes:
        home: The home of who starts them.
    """

    def __init__(self, home: Path, there: Hub) -> None:
        self.home = home
        self._hub = there

    def start(self, command: Sequence[str], given: Given = Given.TICKET, path: str = PATH) -> Start:
        """Start a server, wait for its first answer, and kill it.

        Args:
            command: What starts it, in whatever place.
            given: What is in its environment.
            path: Its search path.
        """
        with self.running(command, given, path) as server:
            return server.start

    @contextmanager
    def running(self, command: Sequence[str], given: Given, path: str = PATH) -> Iterator[Server]:
        """Lend a server that has given its first answer.

        Args:
            command: What starts it, in whatever place.
            given: What is in its environment.
            path: Its search path.

        Raises:
            RuntimeError: If it does not start.
        """
        port = _free_port() if given is Given.ALL else None
        with tempfile.NamedTemporaryFile(dir=self.home) as log:
            began = time.monotonic()
            process = self._begun(command, given, port, path, log.fileno())
            try:
                port = self._answered(process, port, began + _PATIENCE)
                seconds = time.monotonic() - began
                known = processes.stats()
                members = processes.family(process.pid, known)
                if port:
                    start = Start(
                        seconds,
                        processes.cpu(members, known),
                        processes.read_bytes(process.pid),
                        processes.peak(members),
                    )
                    yield Server(start, port, self._hub.token, Path(log.name))
            finally:
                _kill(process)
            if not port:
                said = Path(log.name).read_text(errors="replace")
                raise RuntimeError(f"The server did not start:\n{said}")

    def ended(self, command: Sequence[str], given: Given, path: str = PATH) -> float:
        """Wait for a program that ends by itself; return its processor seconds, with those of its children.

        Args:
            command: What starts it, in whatever place.
            given: What is in its environment.
            path: Its search path.

        Raises:
            RuntimeError: If its exit code is not 0.
        """
        with tempfile.TemporaryFile(dir=self.home) as log:
            process = self._begun(command, given, None, path, log.fileno())
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                log.seek(0)
                raise RuntimeError(f"The program failed:\n{log.read().decode(errors='replace')}")
        return usage.ru_utime + usage.ru_stime

    def _begun(
        self, command: Sequence[str], given: Given, port: int | None, path: str, log: int
    ) -> subprocess.Popen[bytes]:
        home = str(self.home)
        environment = {"HOME": home, "JUPYTER_RUNTIME_DIR": home, "SLURM_JOB_ID": "1", "TMPDIR": home}
        if given is Given.TICKET:
            environment |= {"LAUNCHER_HUB_URL": self._hub.url, "LAUNCHER_TICKET": new_ticket()}
        else:
            environment |= self._hub.variables(port)
        self._hub.forget()
        return subprocess.Popen(
            command,
            env={**environment, "PATH": path},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def _answered(self, process: subprocess.Popen[bytes], port: int | None, until: float) -> int:
        """Wait for the port, then for an answer there; return the port, or 0."""
        while time.monotonic() < until and process.poll() is None:
            if port is None:
                port = self._hub.port if self._hub.told.wait(_STEP) else None
            elif _answers(port):
                return port
            else:
                time.sleep(_STEP)
        return 0


@contextmanager
def node(home: Path) -> Iterator[Node]:
    """Lend a place where servers start.

    Args:
        home: A directory that is not there, for their home.
    """
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    with hub(str(home)) as there:
        yield Node(home, there)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    try:
        connection.request("GET", f"{PREFIX}api")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with all that it has started."""
    for pid in processes.family(process.pid, processes.stats()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
