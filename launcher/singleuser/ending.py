"""How a server ends: its user's programs are told first, and heard out.

Slurm's own limits stand behind this: SIGKILL follows SIGTERM after `KillWait`, 30 seconds by default.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any
from weakref import WeakSet

from jupyter_core.utils import ensure_async
from jupyter_server.serverapp import ServerApp

from launcher.singleuser.reporter import ENDING
from launcher.singleuser.session import Session

_HEARD_OUT = 5.0
"""Seconds for interrupted kernels to say their last words, and for saves to finish."""

_LATEST = 12.0
"""Seconds from then on, after which the server ends whatever still holds it up."""


class EndingServer(ServerApp):
    """A server that ends gracefully, and notes why.

    Kernels at work are interrupted, so that what they do at their end is done and seen, and documents that
    are being saved are saved; then kernels, terminals and programs behind the proxy end. More signals
    meanwhile change nothing: Slurm, the batch script and the hub may all send one.
    """

    session: Session

    def init_webapp(self) -> None:
        """Know which documents are being saved."""
        super().init_webapp()
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

    def init_signal(self) -> None:
        """End gracefully at the signals of Slurm and of the batch script."""
        super().init_signal()
        _proxied()
        for number in ENDING:
            signal.signal(number, self._signalled)

    def load_server_extensions(self) -> None:
        """Have terminals count: their extension forgets to say that they are there."""
        super().load_server_extensions()
        for app in self.extension_manager.extension_apps.get("jupyter_server_terminals", ()):
            app.terminals_available = app.settings.get("terminals_available", False)

    def shutdown_no_activity(self) -> None:
        """End a server that nobody uses, and note that this is why."""
        before = self._stopping
        super().shutdown_no_activity()
        if self._stopping and not before:
            self.session.reporter.note(
                "idle",
                f"Nobody used this server for {self.shutdown_no_activity_timeout / 60:g} minutes: "
                "no kernel, no terminal, no request.",
            )

    def stop(self, from_signal: bool = False) -> None:  # noqa: FBT001, FBT002 - jupyter-server's signature
        """Begin to end, or go on with it."""
        del from_signal
        if not self._stopping:
            self._stopping = True
            # A signal's handler runs between two steps of a loop that sleeps on, unless it is woken.
            loop = self.io_loop.asyncio_loop  # type: ignore[attr-defined] # it is one of asyncio's
            loop.call_soon_threadsafe(self.io_loop.add_callback, self._end)

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
        self.session.reporter.note(ENDING[signal.Signals(number)])
        self.stop()

    async def _end(self) -> None:
        self.log.warning("The server ends: %s", self.session.reporter.reason)
        try:
            async with asyncio.timeout(_HEARD_OUT):
                await self._hear_out()
        except TimeoutError:
            self.log.warning(
                "A kernel works on in spite of its interrupt, or a document is still being saved"
            )
        except Exception:
            self.log.exception("Kernels could not be interrupted")
        self.io_loop.call_later(_LATEST, self.io_loop.stop)
        super().stop()

    async def _hear_out(self) -> None:
        for kernel in self.kernel_manager.list_kernel_ids():
            # Slurm's own SIGTERM reaches kernels, too: those that it ends are not begun anew.
            self.kernel_manager.get_kernel(kernel).stop_restarter()
        busy = await self._busy()
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
