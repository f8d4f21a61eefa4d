"""What the unit tests share: a hub that answers as told, a command line, a clock, how hypothesis runs."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import HealthCheck, settings
from virtual_time import virtual_time  # noqa: F401 - a fixture

import launcher.cli

# Machines that run tests are busy: how long an example takes says nothing.
settings.register_profile(
    "unit", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unit")


@dataclass
class Post:
    """A request that arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


class StandInHub:
    """A real HTTP server on 127.0.0.1.

    Attributes:
        posts: What arrived, in order.
        answers: What it answers, in order, as status and body; the last one stays. Status 0 hangs up.
        content_type: Content type of its answers.
        while_asked: Called while a client waits for its answer.
    """

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.answers: list[tuple[int, bytes]] = [(200, b"{}")]
        self.content_type = "application/json"
        self.while_asked: Callable[[], object] = lambda: None
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hub.posts.append(Post(self.path, dict(self.headers), body))
                hub.while_asked()
                status, answer = hub.answers.pop(0) if len(hub.answers) > 1 else hub.answers[0]
                if not status:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Type", hub.content_type)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hub/api"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """Listen no more; connections are then refused."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    server = StandInHub()
    yield server
    server.close()


class Clock:
    """Takes the place of the `time` module: sleeping takes no time, and time passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.naps: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return int(self.now * 1e9)

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `launcher` in this process: arguments → exit code, standard output, and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["launcher", *arguments])
        with pytest.raises(SystemExit) as end:
            launcher.cli.main()
        done = capsys.readouterr()
        return end.value.code or 0, done.out, done.err

    return run


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """Signals do afterwards what they did before: a node's process would have ended."""
    numbers = (signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
