"""A spawner that does nothing: what is left is JupyterHub's own ceiling.

Its servers are there already, and answer whoever asks for any of them.
"""

from __future__ import annotations

from jupyterhub.spawner import Spawner
from traitlets import Unicode


class EmptySpawner(Spawner):
    """Names a server that is there."""

    url = Unicode(help="Where the servers of all users are.").tag(config=True)

    async def start(self) -> str:
        """Return the server's URL."""
        return str(self.url)

    async def stop(self, now: bool = False) -> None:  # noqa: FBT001, FBT002 - JupyterHub's signature
        """End nothing."""

    async def poll(self) -> int | None:
        """Return None: it is there."""
        return None
