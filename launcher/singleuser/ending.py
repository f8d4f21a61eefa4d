"""How a server ends: its users and their programs are told first, and heard out.

Slurm's own limits stand behind this: SIGKILL follows SIGTERM after `KillWait`, 30 seconds by default.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any
from weakref import WeakSet

from jupyter_core.utils import ensure_async
from jupyter_server.serverapp import ServerApp
from traitlets import Integer

from launcher.job_end import asked
from launcher.singleuser.activity import Activity
from launcher.singleuser.aside import aside
from launcher.singleuser.countdown import Countdown
from launcher.singleuser.idle import Idle
from launcher.singleuser.panel.facts import facts
from launcher.singleuser.panel.pages import Pages
from launcher.singleuser.reporter import ENDING
from launcher.singleuser.session import Session, record

_HEARD_OUT = 5.0
"""Seconds for interrupted kernels to say their last words, and for saves to finish."""

_PING = 30

_SAVED = 6.0
"""Seconds for pages to save what they have."""

_LATEST = 12.0
"""Seconds from then on, after which the server ends whatever still holds it up."""


class EndingServer(ServerApp):
    """A server that ends gracefully, and notes why.

    Kernels at work are interrupted, so that what they do at their end is done and seen, and open pages save
    their documents; then kernels, terminals and programs behind the proxy end. More signals meanwhile change
    nothing: Slurm, the batch script and the hub may all send one.
    """

    session: Session

    # Else a laptop that is gone would hold its connections to programs behind the proxy, and the node.
    websocket_ping_interval = Integer(_PING, config=True, help="Seconds between two pings; 0 for none.")
    websocket_ping_timeout = Integer(_PING, config=True, help="Seconds to wait for the answer to one.")

    def init_webapp(self) -> None:
        """Answer pages, and know when the session ends."""
        super().init_webapp()
        self.pages = Pages()
        self.pages.stop = lambda: self._over("stopped")
        self.web_app.add_handlers(".*$", [self.pages.handler(re.escape(self.base_url))])  # type: ignore[no-untyped-call]
        self.countdown = self._countdown()
        self.pages.greetings += [lambda: [self._facts()], self.countdown.greeting]

    def _countdown(self) -> Countdown:
        job, answer = record(self.session.answer, self.session.environments)["job"], self.session.answer

        def warn(warning: dict[str, Any]) -> bool:
            self.pages.tell(warning)
            return bool(self.pages)

        return Countdown(
            end=job["end"],
            early=answer.end_warning,
            warnings=answer.warnings,
            ask=lambda: aside(asked, job["id"], self.session.environments.user),
            moved=lambda: self.pages.tell(self._facts()),
            warn=warn,
            over=self._over,
            log=self.log,
        )

    def _facts(self) -> dict[str, Any]:
        return facts(
            self.session,
            root=self.root_dir,
            ends=self.countdown.ends,
            idle=self.shutdown_no_activity_timeout,
        )

    def init_signal(self) -> None:
        """End gracefully at the signals of Slurm and of the batch script."""
        super().init_signal()
        _proxied()
        for number in ENDING:
            signal.signal(number, self._signalled)

    def load_server_extensions(self) -> None:
        """Have terminals end with the server: their extension forgets to say that they are there."""
        super().load_server_extensions()
        for app in self.extension_manager.extension_apps.get("jupyter_server_terminals", ()):
            app.terminals_available = app.settings.get("terminals_available", False)
        # JupyterHub's extension has put a log of its own in the place of Jupyter's by now.
        self._hear_saves()

    def _hear_saves(self) -> None:
        """Know which documents are being saved."""
        self.saves: WeakSet[Any] = WeakSet()
        application, settings = self.web_app, self.web_app.settings
        find, log = application.find_handler, settings["log_function"]

        def find_handler(request: Any, **kwargs: Any) -> Any:
            if request.method in ("PUT", "POST", "PATCH") and "/api/contents" in request.path:
                self.saves.add(request)
            return find(request, **kwargs)

        def log_function(handler: Any, **kwargs: Any) -> None:
            self.saves.discard(handler.request)
            log(handler, **kwargs)

        application.find_handler = find_handler  # type: ignore[method-assign]
        settings["log_function"] = log_function

    def init_shutdown_no_activity(self) -> None:
        """End a server that nobody uses; jupyter-server would keep one for a kernel that does nothing."""
        activity = Activity(self.kernel_manager, self.web_app)
        self.pages.used = activity.touch
        if self.shutdown_no_activity_timeout > 0:
            self.idle = Idle(
                self.shutdown_no_activity_timeout,
                activity,
                tell=self.pages.tell,
                end=self._over,
                log=self.log,
            )
            self.pages.greetings.append(self.idle.greeting)
            self.io_loop.add_callback(self.idle.run)

    def stop(self, from_signal: bool = False) -> None:  # noqa: FBT001, FBT002 - jupyter-server's signature
        """Begin to end, or go on with it."""
        del from_signal
        if not self._stopping:
            self._stopping = True
            self._awake(self._end)

    async def cleanup_extensions(self) -> None:
        """End terminals and the like; what fails there must not keep kernels from ending."""
        with contextlib.suppress(SystemExit, ProcessLookupError):
            _proxied()(signal.SIGTERM, None)
        try:
            await super().cleanup_extensions()
        except Exception:
            self.log.exception("An extension did not end")

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        # Nothing is logged here: it may have come in the middle of that.
        if number == signal.SIGUSR1:
            # The session may go on: what it is for is looked at first.
            self._awake(self.countdown.signalled)
            return
        self.session.reporter.note(ENDING[signal.Signals(number)])
        self.stop()

    def _awake(self, callback: Callable[[], Any]) -> None:
        # A signal's handler runs between two steps of a loop that sleeps on, unless it is woken.
        loop = self.io_loop.asyncio_loop  # type: ignore[attr-defined] # it is one of asyncio's
        loop.call_soon_threadsafe(self.io_loop.add_callback, callback)

    def _over(self, reason: str, message: str = "") -> None:
        self.session.reporter.note(reason, message)
        self.stop()

    async def _end(self) -> None:
        reason = self.session.reporter.reason
        self.log.warning("The server ends: %s", reason)
        try:
            async with asyncio.timeout(_HEARD_OUT):
                await self._hear_out()
        except TimeoutError:
            self.log.warning(
                "A kernel works on in spite of its interrupt, or a document is still being saved"
            )
        except Exception:
            self.log.exception("Kernels could not be interrupted")
        # Again, if there were any: what kernels have just said is to be saved, too.
        self.pages.end(reason)
        await self.pages.saved(_SAVED)
        for name in self.pages.unsaved:
            self.log.warning("A page could not save %r", name)
        self.pages.close()
        self.io_loop.call_later(_LATEST, self.io_loop.stop)
        super().stop()

    async def _hear_out(self) -> None:
        for kernel in self.kernel_manager.list_kernel_ids():
            # Slurm's own SIGTERM reaches kernels, too: those that it ends are not begun anew.
            self.kernel_manager.get_kernel(kernel).stop_restarter()
        if busy := await self._busy():
            self.pages.end(self.session.reporter.reason)
        for kernel in busy:
            await ensure_async(self.kernel_manager.interrupt_kernel(kernel))  # type: ignore[func-returns-value]
        while self.saves or await self._busy():  # noqa: ASYNC110 - nothing tells when they are done
            await asyncio.sleep(0.05)
        if busy:
            # What a kernel says reaches browsers on another way than this server.
            await asyncio.sleep(0.25)

    async def _busy(self) -> list[str]:
        kernels = await ensure_async(self.kernel_manager.list_kernels())  # type: ignore[no-untyped-call]
        return [
            kernel["id"]
            for kernel in kernels
            if kernel["execution_state"] == "busy"
            and await ensure_async(self.kernel_manager.is_alive(kernel["id"]))
        ]


@functools.cache
def _proxied() -> Callable[[int, FrameType | None], Any]:
    """Return what ends the programs behind jupyter-server-proxy, and then this one.

    The library that runs them takes SIGINT and SIGTERM for that when the first one starts: it may do so now,
    and never again.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        from simpervisor import atexitasync  # type: ignore[import-untyped] # noqa: PLC0415 - may be missing
    except ImportError:
        return lambda *_: None
    atexitasync.add_handler(before)
    atexitasync.remove_handler(before)
    signal.signal(signal.SIGINT, before)
    found = signal.getsignal(signal.SIGTERM)
    return found if callable(found) else lambda *_: None
