"""The provider as one object to start and stop."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tornado.httpserver import HTTPServer

from launcher.errors import SandboxError
from launcher.sandbox.identity.authority import REFRESH_LIFETIME, Authority
from launcher.sandbox.identity.clients import Client, Clients
from launcher.sandbox.identity.faults import Faults
from launcher.sandbox.identity.handlers import Parts, application
from launcher.sandbox.identity.keys import SigningKey
from launcher.sandbox.identity.sessions import Session, Sessions
from launcher.sandbox.serving import Handling, hang_up

_ADDRESS = "127.0.0.1"
_MAX_BODY_BYTES = 64 * 1024


class IdentityProvider:
    """An OpenID Connect provider on 127.0.0.1.

    Args:
        passwords: Account name → password, for the log-in page.
        clients: The programs that may ask for tokens.
        token_lifetime: Seconds for which an access token is good, cut to a whole number.
        refresh_lifetime: Seconds for which a refresh token is good when nobody uses it.
        clock: Gives the time in seconds since the epoch.

    Attributes:
        issuer: The provider's address, `http://127.0.0.1:PORT`; there once it has started.
        jwks: The public key set that tokens are verified with; there once it has started.
        requests: Path → number of requests so far.
        token_requests: (grant type, name in the token) → number of requests so far, each "" if the request
            does not tell.
        faults: What tests put into the token endpoint's answers.
    """

    issuer: str
    jwks: dict[str, Any]

    def __init__(
        self,
        *,
        passwords: Mapping[str, str],
        clients: Sequence[Client],
        token_lifetime: float = 300.0,
        refresh_lifetime: float = REFRESH_LIFETIME,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.requests: Counter[str] = Counter()
        self.token_requests: Counter[tuple[str, str]] = Counter()
        self.faults = Faults()
        self._sessions = Sessions(passwords, clock)
        self._clients = Clients(clients)
        self._lifetimes = (token_lifetime, refresh_lifetime)
        self._clock = clock
        self._port = 0
        self._authority: Authority | None = None
        self._handling: Handling = set()
        self._server: HTTPServer | None = None

    async def start(self, port: int = 0) -> None:
        """Serve, the first time with a new key pair; what was granted before a stop stays good on its port.

        Args:
            port: Where to listen; 0 takes a free one, and the same again after a stop.

        Raises:
            SandboxError: The port is taken or not allowed.
        """
        port = port or self._port
        try:
            listener = socket.create_server((_ADDRESS, port))
        except OSError as error:
            raise SandboxError(
                f"The identity provider can't listen on {_ADDRESS}:{port}.",
                why=error.strerror or str(error),
                todo="Choose another port, or 0 for any free one.",
            ) from error
        listener.settimeout(0)
        port = listener.getsockname()[1]
        if self._authority is None or port != self._port:
            self._authority = await self._made(port)
        parts = Parts(
            issuer=self.issuer,
            jwks=self.jwks,
            clients=self._clients,
            sessions=self._sessions,
            authority=self._authority,
            requests=self.requests,
            token_requests=self.token_requests,
            faults=self.faults,
            handling=self._handling,
            clock=self._clock,
        )
        self._server = HTTPServer(application(parts), max_body_size=_MAX_BODY_BYTES)
        self._server.add_socket(listener)

    async def _made(self, port: int) -> Authority:
        key = await asyncio.to_thread(SigningKey)
        self._port = port
        self.issuer = f"http://{_ADDRESS}:{port}"
        self.jwks = key.jwks
        token_lifetime, refresh_lifetime = self._lifetimes
        return Authority(
            issuer=self.issuer,
            key=key,
            clients=self._clients,
            token_lifetime=token_lifetime,
            refresh_lifetime=refresh_lifetime,
            clock=self._clock,
        )

    def log_in(self, user: str, client_id: str) -> dict[str, Any]:
        """Return the tokens that a client has of somebody who has just logged in, without their browser."""
        assert self._authority
        client = self._clients.named({"client_id": client_id}, "")
        assert client
        return self._authority.logged_in(client, Session(user, self._clock()))

    def expire_refresh_tokens(self, user: str | None = None) -> None:
        """End the time of the refresh tokens of a user, or of all; access tokens stay good."""
        if self._authority:
            self._authority.expire_refresh_tokens(user)

    async def stop(self) -> None:
        """Stop serving and close what is open; nothing happens if it doesn't serve."""
        if self._server is not None:
            self._server.stop()
            await hang_up(self._handling)
            await self._server.close_all_connections()
            self._server = None
