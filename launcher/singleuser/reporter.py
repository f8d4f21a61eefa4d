"""Tells the hub what happens, in order, from a thread of its own: JupyterLab's start waits for no answer."""

from __future__ import annotations

import itertools
import os
import queue
import random
import signal
import sys
import threading
import time
from http.client import HTTPException
from types import FrameType, TracebackType
from typing import Self

from launcher.errors import LauncherError
from launcher.protocol import ALIVE_INTERVAL, Event, EventKind, encode, parse_refusal
from launcher.singleuser.hub import PATIENCE, Hub

UNWANTED_FOR = 600.0
"""Seconds after which a running session that the hub does not want ends itself."""

ENDING = {signal.SIGTERM: "terminated", signal.SIGUSR1: "walltime"}
"""Signals by which Slurm, the batch script and the hub end a server, and what each is as a reason."""

_ASK_AGAIN = 60.0
"""Seconds to the next `alive` while the hub has not heard the last one, or does not want this job."""

_FLUSH_TIMEOUT = 10.0


class Reporter(threading.Thread):
    """Sends events as long as its `with` block goes on, and at its end why it ended.

    Attributes:
        reason: Why the server ends, as far as this process knows.
        message: The same in words for its user, where a reason alone does not tell.
    """

    def __init__(self, hub: Hub, launch_id: str, launch_key: str) -> None:
        super().__init__(name="launcher-reporter", daemon=True)
        self.reason = "exit"
        self.message = ""
        self._hub = hub
        self._launch_id = launch_id
        self._launch_key = launch_key
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._ready: Event | None = None
        self._heard = True
        self._ending = False
        self._unwanted_since: float | None = None

    def __enter__(self) -> Self:
        """Begin; until the server itself takes a signal, one ends everything at once."""
        for number in ENDING:
            signal.signal(number, self._signalled)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell how it ended, an error in its own words; a signal changes nothing any more."""
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)
        if error is None:
            self.stopping(self.reason, self.message, 0)
        elif isinstance(error, SystemExit):
            self.stopping(self.reason, self.message, error.code if isinstance(error.code, int) else 1)
        elif isinstance(error, LauncherError):
            self.stopping("failed", str(error), error.exit_code)
        else:
            self.stopping("failed", f"The server ended with {type(error).__name__}: {error}", 1)

    def note(self, reason: str, message: str = "") -> None:
        """Note why the server ends, unless that is known."""
        if self.reason == "exit":
            self.reason, self.message = reason, message

    def send(self, kind: EventKind, *, address: str = "", port: int = 0) -> None:
        """Send an event after those before it."""
        self._events.put(Event(self._launch_id, kind, 0, address=address, port=port))

    def stopping(self, reason: str, message: str, exit_code: int) -> None:
        """Send the last event, and wait until it is sent or has taken too long."""
        self._ending = True
        event = Event(
            self._launch_id,
            EventKind.STOPPING,
            0,
            reason=reason,
            message=message[:1900],
            exit_code=exit_code,
        )
        self._events.put(event)
        self._events.put(None)
        self.join(_FLUSH_TIMEOUT)

    def run(self) -> None:
        """Send what comes, and `alive` when nothing has come for a while."""
        # Numbered as they leave, by no clock: one that is set back would make the hub pass events over.
        for sequence in itertools.count(1):
            try:
                event = self._events.get(timeout=self._pause())
            except queue.Empty:
                event = self._alive()
            if event is None:
                return
            self._deliver(event._replace(sequence=sequence))

    def _alive(self) -> Event:
        """Return what a ready server says now and then: a hub may have lost where it is."""
        alive = Event(self._launch_id, EventKind.ALIVE, 0)
        return alive._replace(address=self._ready.address, port=self._ready.port) if self._ready else alive

    def _pause(self) -> float:
        interval = ALIVE_INTERVAL if self._heard else _ASK_AGAIN
        return interval * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load

    def _deliver(self, event: Event) -> None:
        """Send one event; all but `alive`, which comes again, are tried until the hub has them."""
        body = encode(event)
        pause = 0.5
        deadline = time.monotonic() + (_FLUSH_TIMEOUT if self._ending else PATIENCE)
        while True:
            try:
                status, answer = self._hub.event(body, self._launch_key)
            except (OSError, HTTPException):
                status, answer = 0, b""
            self._heard = status == 200
            if status in (200, 503):
                # A hub that is on its way has not said that it does not want this job.
                self._unwanted_since = None
            if status == 410 and parse_refusal(answer) is not None:
                self._unwanted()
                return
            if status == 200:
                if event.kind is EventKind.READY:
                    self._ready = event
                return
            if status in (400, 403, 413, 422):
                self._say(f"the hub refused '{event.kind}' with HTTP {status}: {answer[:300]!r}")
                if event.kind is EventKind.READY:
                    self._end("not-wanted")
                return
            # Nothing else can tell the hub where the server is.
            patient = event.kind is EventKind.READY and not self._ending
            if event.kind is EventKind.ALIVE or (time.monotonic() > deadline and not patient):
                return
            time.sleep(pause)
            pause = min(pause * 2, 15.0)

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        # Without a word of its own: why it was sent is Slurm's to say.
        self.note(ENDING[signal.Signals(number)])
        raise SystemExit(128 + number)

    def _unwanted(self) -> None:
        """Take the hub's word at once before the session is up; a running one outlives a hub's mistake."""
        now = time.monotonic()
        self._unwanted_since = self._unwanted_since or now
        if not self._ready or now - self._unwanted_since >= UNWANTED_FOR:
            self._say("the hub does not want this job any more")
            self._end("not-wanted")

    def _end(self, reason: str) -> None:
        if not self._ending:
            self.reason = reason
            self._ending = True
            os.kill(os.getpid(), signal.SIGTERM)

    def _say(self, text: str) -> None:
        print(f"launcher-singleuser: {text}", file=sys.stderr, flush=True)
