"""What counts as use of a session: work, and what somebody does; not what is merely open."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from weakref import WeakSet

_CHANGES = {"POST", "PUT", "PATCH", "DELETE"}
_SHELL_VALUES = {"--init-command", "--init-file", "--rcfile", "-O", "-o"}
"""Options of shells that take the next argument for their value."""
_SHELLS = {"bash", "csh", "dash", "fish", "ksh", "mksh", "sh", "tcsh", "zsh"}


class Activity:
    """Knows when a server was last used.

    These are use: a kernel at work, a program in a terminal's foreground and whatever a terminal shows, open
    connections to programs behind jupyter-server-proxy (VS Code is one) and requests to them, Jupyter's own
    API being told to change something, and what `touch` is called for. These are none: an idle kernel, a
    shell at its prompt, whoever is connected to them, and requests that only look, by which open pages poll.

    What jupyter-server calls activity will not do: that of a kernel, or of a terminal, also moves when a page
    connects to it.

    Attributes:
        used: Is set whenever something is used. Work that goes on sets it when it begins and when it ends.

    Args:
        kernels: The server's kernel manager.
        application: The server's web application, once all extensions are loaded.
    """

    def __init__(self, kernels: Any, application: Any) -> None:
        self.used = asyncio.Event()
        self._last = self._looked = time.monotonic()
        self._kernels = kernels
        self._watched: WeakSet[Any] = WeakSet()
        self._settings = application.settings
        self._connections: WeakSet[Any] = WeakSet()
        self._stamp: float | None = None
        self._terminals = application.settings.get("terminal_manager")
        # By these jupyter-resource-usage asks kernels, every few seconds, what they use.
        for kind in ("usage_request", "usage_reply"):
            if kind not in kernels.untracked_message_types:
                kernels.untracked_message_types = [*kernels.untracked_message_types, kind]
        self._hear_requests()
        if self._terminals is not None:
            self._hear_terminals()

    def touch(self) -> None:
        """Take note that somebody uses the server just now."""
        self._last = time.monotonic()
        self.used.set()

    def last(self) -> float:
        """Return when the server was last used, as `time.monotonic()`: now if something is at work."""
        now = time.monotonic()
        stamped = self._stamped(now)
        working = (self._computes(), self._runs(), self._connected())
        self._last = now if any(working) else max(self._last, stamped)
        self._looked = now
        return self._last

    def _computes(self) -> bool:
        kernels = [self._kernels.get_kernel(each) for each in self._kernels.list_kernel_ids()]
        for kernel in kernels:
            if kernel not in self._watched:
                self._watched.add(kernel)
                kernel.observe(lambda _change: self.touch(), "execution_state")
        return any(getattr(kernel, "execution_state", "") == "busy" for kernel in kernels)

    def _runs(self) -> bool:
        terminals = self._terminals.terminals.values() if self._terminals is not None else ()
        return any(_has_program(terminal.ptyproc) for terminal in terminals)

    def _connected(self) -> bool:
        return any(
            handler.ws_connection is not None and not handler.ws_connection.is_closing()
            for handler in self._connections
        )

    def _stamped(self, now: float) -> float:
        """Return when extensions, as jupyter-server-proxy, say that they were last used."""
        stamps: Iterable[datetime] = self._settings.get("last_activity_times", {}).values()
        stamp = max((each.timestamp() for each in stamps), default=None)
        if stamp is None or stamp == self._stamp:
            return self._last
        self._stamp = stamp
        # A clock that was set can't move it out of the time since somebody looked last.
        return now - min(max(time.time() - stamp, 0.0), now - self._looked)

    def _hear_requests(self) -> None:
        log, api = self._settings["log_function"], f"{self._settings['base_url']}api/"

        def log_function(handler: Any, **kwargs: Any) -> None:
            log(handler, **kwargs)
            request, status = handler.request, handler.get_status()
            if status == 101 and _is_proxied(handler):
                self._hear_connection(handler)
            # Extensions also ask by POST, every few seconds.
            elif request.method in _CHANGES and 200 <= status < 300 and request.path.startswith(api):
                self._computes()
                self.touch()

        self._settings["log_function"] = log_function

    def _hear_connection(self, handler: Any) -> None:
        close = handler.on_close

        def on_close() -> None:
            self.touch()
            close()

        handler.on_close = on_close
        self._connections.add(handler)
        self.touch()

    def _hear_terminals(self) -> None:
        hook = self._terminals.pre_pty_read_hook

        def pre_pty_read_hook(terminal: Any) -> None:
            # What is typed is shown, too, unless a program wants it otherwise.
            self.touch()
            hook(terminal)

        self._terminals.pre_pty_read_hook = pre_pty_read_hook


def _is_proxied(handler: Any) -> bool:
    """Return whether a handler is jupyter-server-proxy's, of a program whose traffic counts."""
    counts = getattr(handler, "update_last_activity", False)
    if callable(counts):
        return bool(counts(handler))
    path = handler.request.path
    return bool(counts) and not any(each.match(path) for each in handler.exclude_last_activity_patterns)


def _has_program(pty: Any) -> bool:
    try:
        group = os.tcgetpgrp(pty.fd)
    except (OSError, ValueError):
        # It has just been closed.
        return False
    return group not in (0, pty.pid) and not _is_prompt(group)


def _is_prompt(process: int) -> bool:
    """Return whether a process is a shell that was started in another one, to be typed into."""
    try:
        with open(f"/proc/{process}/cmdline", "rb") as file:
            name, *arguments = os.fsdecode(file.read()).rstrip("\0").split("\0")
    except OSError:
        return False
    if os.path.basename(name).lstrip("-") not in _SHELLS:
        return False
    rest = iter(arguments)
    for each in rest:
        if not each.startswith("-"):
            return False
        if each in _SHELL_VALUES:
            next(rest, None)
    return True
