"""Without a ticket: another spawner has put all that its server must know into the environment.

JupyterHub's own spawners give a port; batchspawner and FirecRESTSpawner may want to be told one:
`POST {api}/batchspawner` or `POST {api}/firecrestspawner` with `{"port": N}` and the server's token
(`batchspawner/api.py` of https://github.com/jupyterhub/batchspawner, `firecrestspawner/api.py` of
https://github.com/eth-cscs/firecrestspawner).
"""

from __future__ import annotations

import json
import os
import ssl
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from launcher.errors import HubUnreachable, LauncherError, LaunchRefused, PreflightFailed, UsageError
from launcher.protocol import ClaimAnswer, Event, EventKind
from launcher.singleuser.hub import PATIENCE, Hub, waited
from launcher.singleuser.reporter import Reporter
from launcher.singleuser.tls import VARIABLES

_PORT_APIS = ("batchspawner", "firecrestspawner")

_WRAPPED = ("jupyterhub-singleuser", "jupyter-labhub")
"""Programs that hubs name after a wrapper; this one is in their place."""

_TAKEN = {
    "ip": "host",
    "ServerApp.ip": "host",
    "port": "port",
    "ServerApp.port": "port",
    "notebook-dir": "root",
    "ServerApp.notebook_dir": "root",
    "ServerApp.root_dir": "root",
}
"""Arguments of the server that stand for a part of its environment, and win over it."""


class SpawnerHub(Hub):
    """A hub's API, asked in the name of a server that it has started.

    Args:
        api_url: Its base.
        token: The server's API token.
        give_up_after: Seconds to go on asking before the server has begun.
        context: Whom to trust with https, and what to prove this server with.

    Raises:
        UsageError: If that is not an http or https URL.
    """

    def __init__(
        self, api_url: str, token: str, *, give_up_after: float, context: ssl.SSLContext | None = None
    ) -> None:
        try:
            super().__init__(api_url, give_up_after=give_up_after, context=context)
        except UsageError:
            raise UsageError(
                "JUPYTERHUB_API_URL is not an http URL.", todo="Tell the site's support."
            ) from None
        self._headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}

    def version(self) -> str:
        """Return JupyterHub's version at the hub, from `GET {api}/`, which anybody may ask.

        Raises:
            HubUnreachable: If the hub gave no answer for `give_up_after` seconds, or something else did.
        """
        status, answer = self._ask("GET", "", None, self.give_up_after)
        version = answer.get("version")
        if not isinstance(version, str):
            raise HubUnreachable(
                f"What answers at {self.url} is not a JupyterHub.",
                why=f"It answered HTTP {status} without a version.",
                todo="Tell the site's support: JUPYTERHUB_API_URL must be the hub's API.",
            )
        return version

    def tell_port(self, port: int) -> None:
        """Tell the spawner where its server listens.

        Raises:
            HubUnreachable: If the hub gave no answer for `PATIENCE` seconds.
            LaunchRefused: If the hub refuses to be told.
            UsageError: If nothing at the hub wants to be told.
        """
        for path in _PORT_APIS:
            status, _ = self._ask("POST", path, json.dumps({"port": port}).encode(), PATIENCE)
            if status < 300:
                return
            if status != 404:
                raise LaunchRefused(
                    "The hub did not take this server's port.",
                    why=f"It answered HTTP {status} at {self.url}/{path}: it may have given this start up.",
                    todo="Start the server again; if it happens again, tell the site's support.",
                )
        raise UsageError(
            "This hub can't be told on which port the server listens.",
            why="Its spawner gave no port, and it has neither batchspawner's API nor FirecRESTSpawner's.",
            todo="Tell the site's support: jupyterhub_config.py needs c.Spawner.port or, with batchspawner, "
            "import batchspawner.",
        )

    def _ask(self, method: str, path: str, body: bytes | None, limit: float) -> tuple[int, dict[str, Any]]:
        """Return the hub's own answer, JSON below 500; what a proxy says in its place is none."""
        deadline = time.monotonic() + limit
        pause = 0.5
        while True:
            unanswered: OSError | HTTPException | None = None
            try:
                # Anybody may ask for the version: no token is sent where none is needed.
                status, text = self.request(method, path, body, self._headers if body else {})
            except ssl.SSLCertVerificationError as error:
                raise self._not_trusted(error) from None
            except (OSError, HTTPException) as error:
                unanswered, problem = error, f"{type(error).__name__}: {error}"
            else:
                answer = _object(text)
                if status < 500 and answer is not None:
                    return status, answer
                problem = f"HTTP {status}"
            if time.monotonic() + pause > deadline:
                raise self._unreachable(unanswered, problem, limit)
            pause = waited(problem, pause)

    def _not_trusted(self, error: ssl.SSLCertVerificationError) -> HubUnreachable:
        found = super()._not_trusted(error)
        found.todo = (
            "Tell the site's support: nodes must trust the hub's certificate, by SSL_CERT_FILE for example."
        )
        return found


class DropIn(NamedTuple):
    """What a hub's own spawner has asked for.

    Attributes:
        answer: The same in the form that a claim is answered with; without a launch key.
        host: Address or name to listen at; empty for all interfaces.
        port: The port that the hub has given, or 0 if it is to be told one.
        scheme: `http` or `https`.
        hub: The hub.
    """

    answer: ClaimAnswer
    host: str
    port: int
    scheme: str
    hub: SpawnerHub

    @classmethod
    def of(cls, environment: Mapping[str, str], arguments: Sequence[str], give_up_after: float) -> DropIn:
        """Read what the spawner has set, and ask the hub for its version.

        Args:
            environment: The job's environment.
            arguments: Those of the command line, as for `jupyterhub-singleuser`.
            give_up_after: Seconds to go on asking the hub where it does not answer.

        Raises:
            UsageError: If that is not what a spawner sets.
            PreflightFailed: If the certificates that it names can't be used.
            HubUnreachable: If there is no hub.
        """
        given, left = _sorted_out(arguments)
        host, port = _place(environment.get("JUPYTERHUB_SERVICE_URL", ""), given)
        hub = SpawnerHub(
            environment.get("JUPYTERHUB_API_URL", ""),
            environment["JUPYTERHUB_API_TOKEN"],
            give_up_after=give_up_after,
            context=_context(environment),
        )
        delivered = {name: value for name, value in environment.items() if name.startswith("JUPYTERHUB_")}
        root = given.get("root") or environment.get("JUPYTERHUB_ROOT_DIR", "")
        start = os.path.abspath(os.path.expanduser(root))
        if root:
            delivered["JUPYTERHUB_ROOT_DIR"] = start
        answer = ClaimAnswer(
            launch_id="",
            launch_key="",
            environment=delivered,
            arguments=left,
            networks=[],
            names=[],
            interface="",
            ports=None,
            start_directory=start,
            vscode=True,
            proxy=True,
            warnings=[30, 10, 2],
            jupyterhub_version=hub.version(),
        )
        scheme = "https" if environment.get("JUPYTERHUB_SSL_CERTFILE") else "http"
        return cls(answer, host, port, scheme, hub)


class PortReporter(Reporter):
    """Tells the hub one thing, once: the port, when the server accepts connections.

    At the end of its `with` block it raises what has kept it from that.

    Args:
        drop_in: What the hub has asked for.
    """

    def __init__(self, drop_in: DropIn) -> None:
        super().__init__(drop_in.hub, "", "")
        self._drop_in = drop_in
        self._failure: LauncherError | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raise why the server had to end, if that was it."""
        super().__exit__(kind, error, trace)
        if error is None and self._failure:
            raise self._failure

    def stopping(self, reason: str, message: str, exit_code: int) -> None:  # noqa: ARG002 - told to nobody
        """Say nothing: these hubs see for themselves that a server has ended."""
        self._ending = True

    def _deliver(self, event: Event) -> None:
        if event.kind is not EventKind.READY or self._drop_in.port:
            return
        try:
            self._drop_in.hub.tell_port(event.port)
        except LauncherError as error:
            if not self._ending:
                self._failure = error
            self._end("failed")


def _sorted_out(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return what arguments say of `_TAKEN`, and those that are the server's."""
    given: dict[str, str] = {}
    left: list[str] = []
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if not (left or given) and os.path.basename(word) in _WRAPPED:
            continue
        if word.startswith("--") and name[2:] in _TAKEN:
            given[_TAKEN[name[2:]]] = value if equals else next(words, "")
        else:
            left.append(word)
    return given, left


def _place(service_url: str, given: Mapping[str, str]) -> tuple[str, int]:
    """Return address and port to listen at; JupyterHub itself would take a port 0, or none, for 80."""
    try:
        url = urlsplit(service_url)
        host = given.get("host", url.hostname or "")
        port = int(given["port"]) if "port" in given else url.port or 0
        if not 0 <= port <= 65535:
            raise ValueError(f"{port} is no port")  # noqa: TRY301 - told as all others
    except ValueError as error:
        raise UsageError(
            "JUPYTERHUB_SERVICE_URL or --port does not say where to listen.",
            why=f"{error}.",
            todo="Tell the site's support.",
        ) from None
    return "" if host == "*" else host, port


def _context(environment: Mapping[str, str]) -> ssl.SSLContext | None:
    """Return what a hub with `internal_ssl` is asked with."""
    key, certificate, authority = (environment.get(name) or None for name in VARIABLES)
    if not certificate:
        return None
    try:
        context = ssl.create_default_context(cafile=authority)
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        raise PreflightFailed(
            "The certificates of this server can't be used on this node.",
            why=f"{error.strerror or error} ({certificate}).",
            todo="Tell the site's support: the files in JUPYTERHUB_SSL_* must be there on the nodes.",
        ) from None
    return context


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
