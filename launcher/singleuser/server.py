"""JupyterLab itself, as JupyterHub's single-user server, on a socket that is already bound."""

from __future__ import annotations

import functools
import os
import re
import signal
import sys
import traceback
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from launcher.errors import LauncherError, NoPort, ServerFailed
from launcher.protocol import (
    PROBE_PATH,
    SIGNATURE_HEADER,
    STOP_PATH,
    EventKind,
    asked_to_stop,
    probe_proof,
)
from launcher.singleuser import vscode
from launcher.singleuser.cgroup import Cgroup
from launcher.singleuser.reporter import Reporter
from launcher.singleuser.session import Session
from launcher.singleuser.shortcuts import START
from launcher.singleuser.tls import VARIABLES

START.jupyterlab()
try:
    import jupyterlab
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_core.utils import ensure_event_loop
    from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
    from jupyterhub.singleuser.extension import JupyterHubSingleUser
    from tornado.web import HTTPError, RequestHandler, stream_request_body
    from traitlets import default

    from launcher.singleuser import proxy
    from launcher.singleuser.ending import EndingServer
    from launcher.singleuser.kernels.manager import Kernels, KernelSpecs
    from launcher.singleuser.panel.usage import Usage
    from launcher.singleuser.terminals import Terminals, shell
except Exception as error:
    if isinstance(error, MemoryError):
        raise
    raise ServerFailed(
        "JupyterLab is not installed on this node, or not whole.",
        why=f"{error} ({sys.executable})",
        todo="Choose another environment, or tell the site's support. The node needs: pip install "
        "firecrest-launcher",
    ) from None

if TYPE_CHECKING:
    from asyncio import Future

_BACKLOG = 128
_LABEXTENSIONS = f"{os.path.dirname(__file__)}/labextensions"
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
        nonce = asked_to_stop(self.launch_key, self.body, self.request.headers.get(SIGNATURE_HEADER, ""))
        if nonce is None:
            raise HTTPError(403)
        self.set_status(202)
        await self.prove(nonce)
        self.reporter.note("stopped")
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


class _NodeServer(EndingServer):
    """A server whose socket was bound before it started, and that opens in its launch's start directory.

    All other directories are in reach. A document has the same address whatever the start directory, so that
    tabs and links of one session are right in the next. A root, a preferred directory or a first page that
    an admin or a user has set stays.
    """

    session: Session

    @functools.cached_property
    def cgroup(self) -> Cgroup:
        """What the kernel of the node accounts to the job."""
        return Cgroup()

    @default("root_dir")
    def _everything(self) -> str:
        # JupyterLab shows nothing that lies below a hidden directory; other spawners name the root itself.
        answer = self.session.answer
        start = answer.start_directory
        return start if "/." in start or not answer.launch_key else "/"

    @default("kernel_manager_class")
    def _kernels(self) -> Any:
        usual = self._default_kernel_manager_class()
        if usual is not AsyncMappingKernelManager:
            return usual
        facts = {"environments": self.session.environments, "cgroup": self.cgroup, "tell": self._tell}
        return type("Kernels", (Kernels,), facts)

    def _tell(self, message: dict[str, Any]) -> None:
        self.pages.tell(message)

    @default("kernel_spec_manager_class")
    def _kernel_specs(self) -> Any:
        usual = self._default_kernel_spec_manager_class()
        if usual is not KernelSpecManager:
            return usual
        return type("KernelSpecs", (KernelSpecs,), {"session": self.session})

    def init_ioloop(self) -> None:
        """Take the event loop that checks of the configuration will use: any other is replaced by it."""
        ensure_event_loop()
        super().init_ioloop()

    def init_server_extensions(self) -> None:
        """Have the user's environment in terminals; an extension takes its configuration as it is linked."""
        self.config.TerminalsExtensionApp.setdefault(
            "terminal_manager_class",
            type("Terminals", (Terminals,), {"environments": self.session.environments}),
        )
        # The session panel, which only sessions have.
        self.config.LabServerApp.setdefault("extra_labextensions_path", []).append(_LABEXTENSIONS)
        super().init_server_extensions()
        for app in self.extension_manager.extension_apps.get("jupyterlab", ()):
            if "extension_manager" not in app.config.LabApp and not _can_install():
                # It would ask PyPI for extensions, and offer them.
                app.extension_manager = "readonly"

    def init_configurables(self) -> None:
        """Set up kernels and terminals; open in the start directory, unless it lies outside of the root."""
        environments = self.session.environments
        # Sockets in the session's directory, where nobody else on this node reaches them.
        self.config.ConnectionFileMixin.setdefault("transport", "ipc")
        # By itself it would be a login shell, whose profiles set PATH anew.
        self.terminado_settings = {"shell_command": [shell(environments.user)], **self.terminado_settings}
        start, contents = PurePosixPath(self.session.answer.start_directory), self.config.FileContentsManager
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
        usage = Usage(self.cgroup, self.session.environments)
        self.pages.watching = lambda: self.io_loop.add_callback(usage.watch, self.pages)
        if key := self.session.answer.launch_key:
            handlers = hub_handlers(self.base_url, key, self.session.reporter)
            self.web_app.add_handlers(".*$", handlers)  # type: ignore[no-untyped-call]
        # JupyterHub and Tornado have taken them up; kernels would inherit them.
        for name in VARIABLES:
            os.environ.pop(name, None)

    def _find_http_port(self) -> None:
        """Find none: the port has been ours since before JupyterLab was imported."""
        try:
            self.session.listener.socket.listen(_BACKLOG)
        except OSError as error:
            raise NoPort(
                f"Nothing can listen on port {self.session.listener.port} of this node any more.",
                why=f"{error}.",
                todo="Press Start again to get another node, or tell the site's support.",
            ) from None

    def _bind_http_server_tcp(self) -> bool:
        listener = self.session.listener
        listener.socket.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self.http_server.add_socket(listener.socket)
        self.io_loop.add_callback(self.countdown.run)
        START.over()
        self.session.reporter.send(EventKind.READY, address=listener.address, port=listener.port)
        return True


def serve(session: Session) -> None:
    """Run the server until it ends.

    Raises:
        ServerFailed: If it does not start.
        NoPort: If it can't listen any more.
    """

    class SingleUser(JupyterHubSingleUser):
        serverapp_class = type("NodeServer", (_NodeServer,), {"session": session})

        @classmethod
        def get_extension_package(cls) -> str:
            return "jupyterhub"

    vscode.use(session)
    proxy.guard(allowed=session.answer.proxy)
    try:
        SingleUser.launch_instance(session.answer.arguments)
    except LauncherError:
        raise
    except SystemExit as end:
        if session.reporter.reason != "exit":
            raise
        if end.code:
            raise _not_started(f"Its exit code was {end.code}; the lines above say why.") from None
    except MemoryError:
        raise ServerFailed(
            "JupyterLab did not start: the job is out of memory.",
            todo="Ask for more memory, then press Start again.",
        ) from None
    except Exception as error:  # noqa: BLE001 - whatever an extension or a configuration raises
        traceback.print_exc()
        raise _not_started(f"{type(error).__name__}: {error}") from None


def _can_install() -> bool:
    """Tell whether packages can be installed where JupyterLab is, as they can't in an image."""
    return os.access(os.path.dirname(os.path.dirname(jupyterlab.__file__)), os.W_OK)


def _not_started(why: str) -> ServerFailed:
    return ServerFailed(
        "JupyterLab did not start.", why=why, todo="A broken file in ~/.jupyter is the usual cause."
    )
