"""JupyterLab itself, as JupyterHub's single-user server, on a socket that is already bound."""

from __future__ import annotations

import hmac
import os
import re
import signal
import sys
import warnings
from pathlib import PurePosixPath
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from launcher.errors import ServerFailed
from launcher.protocol import (
    PROBE_PATH,
    SIGNATURE_HEADER,
    STOP_PATH,
    ClaimAnswer,
    EventKind,
    ProtocolError,
    parse_stop,
    probe_proof,
    stop_proof,
)
from launcher.singleuser.listener import Listener
from launcher.singleuser.reporter import Reporter
from launcher.singleuser.tls import VARIABLES

try:
    import jupyterlab  # noqa: F401 - found missing here, not halfway through the start
    from jupyter_core.utils import ensure_event_loop
    from jupyter_server.serverapp import ServerApp
    from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
    from jupyterhub.singleuser.extension import JupyterHubSingleUser
    from tornado.web import HTTPError, RequestHandler, stream_request_body
    from traitlets import default
except ImportError as error:
    raise ServerFailed(
        "JupyterLab is not installed on this node, or not whole.",
        why=f"{error} ({sys.executable})",
        todo="Choose another environment, or tell the site's support. The node needs: pip install "
        "firecrest-launcher",
    ) from None

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

_BACKLOG = 128
_MAX_BODY = 1024


@stream_request_body
class _HubHandler(RequestHandler):
    """Answers the hub itself: without a log-in, a cookie, or being taken for its user's activity."""

    def initialize(self, launch_key: str, reporter: Reporter) -> None:
        self.launch_key = launch_key
        self.reporter = reporter
        self.body = b""

    def check_xsrf_cookie(self) -> None:
        """Cookies mean nothing here."""

    def prepare(self) -> None:
        """Look at the length before anything is read."""
        if int(self.request.headers.get("Content-Length") or 0) > _MAX_BODY:
            self.set_header("Connection", "close")
            raise HTTPError(413)

    def data_received(self, chunk: bytes) -> None:
        """Keep the body, and of one that is too long just enough to know that it is."""
        self.body = (self.body + chunk)[: _MAX_BODY + 1]

    def prove(self, nonce: str) -> Future[None]:
        """Answer with what only this launch can say."""
        self.set_header("Content-Type", "text/plain")
        return self.finish(probe_proof(self.launch_key, nonce))


class _Probe(_HubHandler):
    """Proves to the hub, which asks with a nonce of its own, that this server is its launch."""

    def get(self) -> None:
        """Answer with the proof; anyone may ask, only the hub can tell whether it is right."""
        self.prove(self.get_query_argument("nonce", "")[:64])


class _Stop(_HubHandler):
    """Ends the server when its hub, which alone knows the launch key, asks for that."""

    async def post(self) -> None:
        """Answer 202 with a proof, then end as at SIGTERM; or answer 403."""
        try:
            nonce = parse_stop(self.body).nonce
        except ProtocolError:
            raise HTTPError(403) from None
        signature = self.request.headers.get(SIGNATURE_HEADER, "")
        if not hmac.compare_digest(signature.encode(), stop_proof(self.launch_key, nonce).encode()):
            raise HTTPError(403)
        self.set_status(202)
        await self.prove(nonce)
        if self.reporter.reason == "exit":
            self.reporter.reason = "stopped"
        os.kill(os.getpid(), signal.SIGTERM)


def hub_handlers(base_url: str, launch_key: str, reporter: Reporter) -> list[Any]:
    """Return what answers the hub, as Tornado's applications take it.

    Args:
        base_url: The server's prefix, ending in `/`, as it stands in requests.
        launch_key: The launch key, 64 hexadecimal digits.
        reporter: Learns that the hub has ended the server.
    """
    facts = {"launch_key": launch_key, "reporter": reporter}
    return [
        (re.escape(f"{base_url}{path}"), handler, facts)
        for path, handler in ((PROBE_PATH, _Probe), (STOP_PATH, _Stop))
    ]


class _Kernels(AsyncMappingKernelManager):
    """Kernels; those of no directory begin where terminals do, not in the root of all directories."""

    def cwd_for_path(self, path: str, **kwargs: Any) -> str:
        """Return the directory in which the kernel of a document begins."""
        found: str = super().cwd_for_path(path, **kwargs)  # type: ignore[no-untyped-call]
        return os.getcwd() if found == "/" else found


class _Launch(NamedTuple):
    """What a server is started with."""

    answer: ClaimAnswer
    listener: Listener
    reporter: Reporter


class _NodeServer(ServerApp):
    """A server whose socket was bound before it started, and that opens in its launch's start directory.

    All other directories are in reach. A document has the same address whatever the start directory, so that
    tabs and links of one session are right in the next. A root, a preferred directory or a first page that
    an admin or a user has set stays.
    """

    launch: _Launch

    @default("root_dir")
    def _everything(self) -> str:
        # JupyterLab shows nothing that lies below a hidden directory.
        start = self.launch.answer.start_directory
        return start if "/." in start else "/"

    @default("kernel_manager_class")
    def _kernels(self) -> Any:
        usual = self._default_kernel_manager_class()
        return _Kernels if usual is AsyncMappingKernelManager else usual

    def init_ioloop(self) -> None:
        """Take the event loop that checks of the configuration will use: any other is replaced by it."""
        ensure_event_loop()
        super().init_ioloop()

    def init_configurables(self) -> None:
        """Open in the start directory, unless it lies outside of the root."""
        start, contents = PurePosixPath(self.launch.answer.start_directory), self.config.FileContentsManager
        if start.is_relative_to(self.root_dir) and "preferred_dir" not in contents:
            path = start.relative_to(self.root_dir)
            if path.parts:
                contents.preferred_dir = str(path)
            if path.parts and self.default_url == "/lab":
                # JupyterLab alone would go back to where its user was last.
                self.default_url = f"/lab/tree/{quote(str(path))}"
        super().init_configurables()

    def init_webapp(self) -> None:
        """Answer the hub's probes, and its wish that this server end."""
        super().init_webapp()
        handlers = hub_handlers(self.base_url, self.launch.answer.launch_key, self.launch.reporter)
        self.web_app.add_handlers(".*$", handlers)  # type: ignore[no-untyped-call]
        # JupyterHub and Tornado have taken them up; kernels would inherit them.
        for name in VARIABLES:
            os.environ.pop(name, None)

    def _find_http_port(self) -> None:
        """Find none: the port has been ours since before JupyterLab was imported."""

    def _bind_http_server_tcp(self) -> bool:
        listener = self.launch.listener
        listener.socket.listen(_BACKLOG)
        listener.socket.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self.http_server.add_socket(listener.socket)
        self.launch.reporter.send(EventKind.READY, address=listener.address, port=listener.port)
        return True

    def init_signal(self) -> None:
        """Note why the server ends when a signal ends it."""
        super().init_signal()
        for number, reason in ((signal.SIGTERM, "terminated"), (signal.SIGUSR1, "walltime")):
            signal.signal(number, _noting(reason, self.launch.reporter, self._signal_stop))

    def shutdown_no_activity(self) -> None:
        """End a server that nobody uses, and note that this is why."""
        super().shutdown_no_activity()
        reporter = self.launch.reporter
        if self._stopping and reporter.reason == "exit":
            reporter.reason = "idle"
            reporter.message = (
                f"Nobody used this server for {self.shutdown_no_activity_timeout / 60:g} minutes: "
                "no kernel, no terminal, no request."
            )


def serve(answer: ClaimAnswer, listener: Listener, reporter: Reporter) -> int:
    """Run the server until it ends; return its exit code.

    Args:
        answer: What the hub said that this launch is.
        listener: The bound socket.
        reporter: Hears of `ready` once the server accepts connections.
    """

    class NodeServer(_NodeServer):
        launch = _Launch(answer, listener, reporter)

    class SingleUser(JupyterHubSingleUser):
        serverapp_class = NodeServer

        @classmethod
        def get_extension_package(cls) -> str:
            return "jupyterhub"

    if not answer.vscode:
        _leave_out_vscode()
    try:
        SingleUser.launch_instance(answer.arguments)
    except SystemExit as end:
        if end.code:
            raise ServerFailed(
                "JupyterLab did not start.",
                why=f"Its exit code was {end.code}; the lines above say why.",
                todo="A broken file in ~/.jupyter is the usual cause.",
            ) from None
    return 0


def _leave_out_vscode() -> None:
    """Make jupyter-vscode-proxy a module that is not there: jupyter-server-proxy does without such."""
    sys.modules["jupyter_vscode_proxy"] = None  # type: ignore[assignment]
    warnings.filterwarnings("ignore", message="entry_point .* import of jupyter_vscode_proxy halted")


def _noting(
    reason: str, reporter: Reporter, stop: Callable[[int, FrameType | None], Any]
) -> Callable[[int, FrameType | None], None]:
    """Return a signal handler that notes why the server ends, then ends it gracefully."""

    def handle(number: int, frame: FrameType | None) -> None:
        if reporter.reason == "exit":
            reporter.reason = reason
        stop(number, frame)

    return handle
