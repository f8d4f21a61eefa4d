"""The provider as one object to start and stop."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tornado.httpserver import HTTPServer

from launcher.errors import SandboxError
from launcher.sandbox.identity.authority import Authority
from launcher.sandbox.identity.clients import Client, Clients
from launcher.sandbox.identity.handlers import Parts, application
from launcher.sandbox.identity.keys import SigningKey
from launcher.sandbox.identity.sessions import Sessions

_ADDRESS = "127.0.0.1"
_MAX_BODY_BYTES = 64 * 1024


class IdentityProvider:
    """An OpenID Connect provider on 127.0.0.1.

    Args:
        passwords: Account name → password, for the log-in page.
        clients: The programs that may ask for tokens.
        token_lifetime: Seconds for which an access token is good, cut to a whole number.
        clock: Gives the time in seconds since the epoch.

    Attributes:
        issuer: The provider's address, `http://127.0.0.1:PORT`; there once it has started.
        jwks: The public key set that tokens are verified with; there once it has started.
        requests: Path → number of requests so far.
    """

    issuer: str
    jwks: dict[str, Any]

    def __init__(
        self,
        *,
        passwords: Mapping[str, str],
        clients: Sequence[Client],
        token_lifetime: float = 300.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.requests: Counter[str] = Counter()
        self._sessions = Sessions(passwords, clock)
        self._clients = Clients(clients)
        self._token_lifetime = token_lifetime
        self._clock = clock
        self._server: HTTPServer | None = None

    async def start(self, port: int = 0) -> None:
        """Make a key pair and serve.

        Args:
            port: Where to listen; 0 takes a free one.

        Raises:
            SandboxError: The port is taken or not allowed.
        """
        key = await asyncio.to_thread(SigningKey)
        try:
            listener = socket.create_server((_ADDRESS, port))
        except OSError as error:
            raise SandboxError(
                f"The identity provider can't listen on {_ADDRESS}:{port}.",
                why=error.strerror or str(error),
                todo="Choose another port, or 0 for any free one.",
            ) from error
        listener.settimeout(0)
        self.issuer = f"http://{_ADDRESS}:{listener.getsockname()[1]}"
        self.jwks = key.jwks
        authority = Authority(
            issuer=self.issuer,
            key=key,
            clients=self._clients,
            token_lifetime=self._token_lifetime,
            clock=self._clock,
        )
        parts = Parts(
            issuer=self.issuer,
            jwks=self.jwks,
            clients=self._clients,
            sessions=self._sessions,
            authority=authority,
            requests=self.requests,
            clock=self._clock,
        )
        self._server = HTTPServer(application(parts), max_body_size=_MAX_BODY_BYTES)
        self._server.add_socket(listener)

    async def stop(self) -> None:
        """Stop serving and close what is open; nothing happens if it doesn't serve."""
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()
            self._server = None
