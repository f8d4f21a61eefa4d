"""A program of another user of the same node, at a port where somebody may take it for their own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

STOLEN = "what a stranger answers"
"""What a program of another user says to whoever talks to it."""
_LISTENS = f"""
import contextlib, socket, sys, threading
def serve(peer):
    with contextlib.suppress(OSError):
        while said := peer.recv(65536):
            sys.stderr.buffer.write(said)
            sys.stderr.flush()
            peer.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: {len(STOLEN)}\\r\\n\\r\\n{STOLEN}")
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print(server.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""


class Listener(NamedTuple):
    """A program of another user.

    Attributes:
        port: Where it listens, at 127.0.0.1.
        log: What it was told.
    """

    port: int
    log: IO[bytes]

    def heard(self) -> str:
        """Return all that it was told so far."""
        return os.pread(self.log.fileno(), 1 << 20, 0).decode(errors="replace")


@contextlib.contextmanager
def listening(python: str, account: Any, port: int = 0) -> Iterator[Listener]:
    """Have a user listen, as long as this lasts, to whatever anybody says.

    Args:
        python: A Python that the user can run.
        account: The user, with `uid` and `gid`.
        port: Where; 0 for anywhere.
    """
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            [python, "-I", "-c", _LISTENS, str(port)],
            stdout=subprocess.PIPE,
            stderr=log,
            cwd="/",
            user=account.uid,
            group=account.gid,
            extra_groups=[],
        ) as process,
    ):
        try:
            yield Listener(int(process.stdout.readline()), log)
        finally:
            process.kill()
