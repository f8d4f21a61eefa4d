"""JupyterLab itself, as JupyterHub's single-user server, on a socket that is already bound."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

from launcher.errors import ServerFailed
from launcher.protocol import PROBE_PATH, EventKind, probe_proof
from launcher.singleuser.listener import Listener
from launcher.singleuser.reporter import Reporter

try:
    import jupyterlab  # noqa: F401 - found missing here, not halfway through the start
    from jupyter_server.serverapp import ServerApp
    from jupyterhub.singleuser.extension import JupyterHubSingleUser
    from tornado.web import RequestHandler
except ImportError as error:
    raise ServerFailed(
        "JupyterLab is not installed on this node, or not whole.",
        why=f"{error} ({sys.executable})",
        todo="Choose another environment, or tell the site's support. The node needs: pip install "
        "firecrest-launcher",
    ) from None

if TYPE_CHECKING:
    from collections.abc import Callable

_BACKLOG = 128


class _Probe(RequestHandler):
    """Proves to the hub, which asks with a nonce of its own, that this server is its launch."""

    def initialize(self, launch_key: str) -> None:
        self.launch_key = launch_key

    def get(self) -> None:
        """Answer with the proof; anyone may ask, only the hub can tell whether it is right."""
        self.set_header("Content-Type", "text/plain")
        self.finish(probe_proof(self.launch_key, self.get_query_argument("nonce", "")[:64]))


def serve(arguments: list[str], listener: Listener, reporter: Reporter, launch_key: str) -> int:
    """Run the server until it ends; return its exit code.

    Args:
        arguments: Command-line arguments of `jupyterhub-singleuser`.
        listener: The bound socket.
        reporter: Hears of `ready` once the server accepts connections.
        launch_key: Proves this server to the hub's probes.
    """

    class NodeServer(ServerApp):
        """A server whose socket was bound before it started."""

        def init_webapp(self) -> None:
            super().init_webapp()
            pattern = f"{self.base_url}{PROBE_PATH}"
            handlers: list[Any] = [(pattern, _Probe, {"launch_key": launch_key})]
            self.web_app.add_handlers(".*$", handlers)  # type: ignore[no-untyped-call]

        def _find_http_port(self) -> None:
            """Find none: the port has been ours since before JupyterLab was imported."""

        def _bind_http_server_tcp(self) -> bool:
            listener.socket.listen(_BACKLOG)
            listener.socket.setblocking(False)  # noqa: FBT003 - the standard library's signature
            self.http_server.add_socket(listener.socket)
            reporter.send(EventKind.READY, address=listener.address, port=listener.port)
            return True

        def init_signal(self) -> None:
            super().init_signal()
            for number, reason in ((signal.SIGTERM, "terminated"), (signal.SIGUSR1, "walltime")):
                signal.signal(number, _noting(reason, reporter, self._signal_stop))

    class SingleUser(JupyterHubSingleUser):
        serverapp_class = NodeServer

        @classmethod
        def get_extension_package(cls) -> str:
            return "jupyterhub"

    try:
        SingleUser.launch_instance(arguments)
    except SystemExit as end:
        if end.code:
            raise ServerFailed(
                "JupyterLab did not start.",
                why=f"Its exit code was {end.code}; the lines above say why.",
                todo="A broken file in ~/.jupyter is the usual cause.",
            ) from None
    return 0


def _noting(
    reason: str, reporter: Reporter, stop: Callable[[int, FrameType | None], Any]
) -> Callable[[int, FrameType | None], None]:
    """Return a signal handler that notes why the server ends, then ends it gracefully."""

    def handle(number: int, frame: FrameType | None) -> None:
        if reporter.reason == "exit":
            reporter.reason = reason
        stop(number, frame)

    return handle
