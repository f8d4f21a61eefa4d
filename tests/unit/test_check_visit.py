"""The check against a stand-in for a hub, for what a real one does only on a bad day."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, Finish, RequestHandler
from tornado.websocket import WebSocketHandler

from launcher.check import Report, check
from launcher.errors import UsageError

LAB = {"appName": "JupyterLab", "appVersion": "4.6", "baseUrl": "/user/alice/"}
READY = {"ready": True, "url": "/user/alice/", "message": "ready"}
KERNELSPECS = {"default": "py", "kernelspecs": {"py": {"spec": {"display_name": "Python"}}}}
CUT = {"what": "the connection breaks here"}
PREFIXES = ("/hub/", "/user/alice/")

Message = tuple[str, dict[str, Any]]
DONE: list[Message] = [("execute_reply", {"status": "ok"}), ("status", {"execution_state": "idle"})]


def printed(text: str) -> Message:
    return "stream", {"name": "stdout", "text": text}


@dataclass
class Behaviour:
    """What the stand-in does: all is well, unless a test says otherwise."""

    progress: list[list[dict[str, Any]] | int] = field(default_factory=lambda: [[READY]])
    server: dict[str, Any] | None = field(default_factory=lambda: {"ready": True, "url": "/user/alice/"})
    lab: dict[str, Any] | None = field(default_factory=lambda: LAB)
    script_status: int = 200
    kernelspecs: dict[str, Any] = field(default_factory=lambda: KERNELSPECS)
    cell: list[Message] = field(default_factory=lambda: [printed("42\n"), *DONE])
    terminal: list[str] = field(default_factory=lambda: ["stdout", "%s\r\n"])
    stop: list[int] = field(default_factory=lambda: [202])
    outages: int = 0
    running: bool = False
    calls: list[str] = field(default_factory=list)


class Handler(RequestHandler):
    def initialize(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour

    def log_in_below(self, prefix: str) -> None:
        for path in ("/", prefix):
            self.set_cookie("_xsrf", f"token-of{path.replace('/', '-')}", path=path)

    def require_token(self) -> None:
        prefix = next(prefix for prefix in PREFIXES if self.request.path.startswith(prefix))
        assert self.request.headers["X-XSRFToken"] == f"token-of{prefix.replace('/', '-')}"
        assert self.request.headers["Sec-Fetch-Mode"] == "cors"


class LogIn(Handler):
    def get(self) -> None:
        self.finish("<form method=post><input name=username><input type=password name=password></form>")

    def post(self) -> None:
        self.log_in_below("/hub/")
        self.redirect("/hub/home", status=303)


class Spawn(Handler):
    def get(self) -> None:
        self.finish("<form method=post action=/hub/spawn/alice><input name=time value=30></form>")

    def post(self) -> None:
        self.behaviour.running = True
        self.redirect("/hub/home")


class User(Handler):
    def get(self) -> None:
        self.require_token()
        if self.behaviour.running and self.behaviour.outages:
            self.behaviour.outages -= 1
            self.set_status(503)
            return
        server = self.behaviour.server if self.behaviour.running else None
        self.finish({"name": "alice", "servers": {"": {"pending": None, **server}} if server else {}})


class Progress(Handler):
    async def get(self) -> None:
        self.require_token()
        assert not self.request.query
        events = self.behaviour.progress.pop(0)
        if isinstance(events, int):
            self.set_status(events)
            return
        for event in events:
            if event == CUT:
                self.request.connection.stream.close()
                raise Finish
            self.write(f"\n\ndata: {json.dumps(event)}\n\n")
            await self.flush()


class Server(Handler):
    def delete(self) -> None:
        self.require_token()
        status = self.behaviour.stop.pop(0) if len(self.behaviour.stop) > 1 else self.behaviour.stop[0]
        self.behaviour.running = status != 202
        self.set_status(status)
        self.finish({"message": "still cancelling"})


class Lab(Handler):
    def get(self) -> None:
        self.log_in_below("/user/alice/")
        if self.behaviour.lab:
            config = json.dumps(self.behaviour.lab)
            self.write(f'<script id="jupyter-config-data">{config}</script><script src="/main.js"></script>')


class Empty(Handler):
    def get(self) -> None:
        self.set_status(self.behaviour.script_status if self.request.path == "/main.js" else 200)


class Api(Handler):
    def get(self, _what: str) -> None:
        self.require_token()
        self.finish(self.behaviour.kernelspecs)

    def post(self, what: str) -> None:
        self.require_token()
        self.finish({"id": "s", "kernel": {"id": "k"}} if what == "sessions" else {"name": "1"})

    def delete(self, what: str) -> None:
        self.require_token()
        self.behaviour.calls.append(what)
        self.set_status(204)


class Socket(WebSocketHandler):
    def initialize(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour

    def prepare(self) -> None:
        assert "token-of-user-alice-" in self.request.headers["Cookie"]


class Kernel(Socket):
    def on_message(self, text: str | bytes) -> None:
        header = json.loads(text)["header"]
        asked_info = header["msg_type"] == "kernel_info_request"
        messages = [("kernel_info_reply", {})] if asked_info else self.behaviour.cell
        for kind, content in messages:
            # What the server itself says about a kernel answers no message.
            parent = {} if content.get("execution_state") == "dead" else header
            self.write_message(json.dumps({"msg_type": kind, "parent_header": parent, "content": content}))
        if not messages:
            self.close()


class Terminal(Socket):
    def open(self) -> None:
        self.write_message('["setup", {}]')
        self.write_message('["stdout", "$ "]')

    def on_message(self, text: str | bytes) -> None:
        kind, *content = json.loads(text)
        if kind == "stdin":
            _expr, left, _times, right = content[0].split()
            self.write_message(json.dumps(["stdout", content[0]]))
            kind, shown = self.behaviour.terminal
            self.write_message(json.dumps([kind, shown.replace("%s", str(int(left) * int(right)))]))


def application(behaviour: Behaviour) -> Application:
    routes: dict[str, type[RequestHandler]] = {
        "/hub/login": LogIn,
        "/hub/spawn/alice": Spawn,
        "/hub/api/user": User,
        "/hub/api/users/alice": User,
        "/hub/api/users/alice/server": Server,
        "/hub/api/users/alice/server/progress": Progress,
        "/user/alice/lab": Lab,
        "/user/alice/api/kernels/k/channels": Kernel,
        "/user/alice/terminals/websocket/1": Terminal,
        "/user/alice/api/(.*)": Api,
        "/hub/home|/main.js": Empty,
    }
    return Application([(path, handler, {"behaviour": behaviour}) for path, handler in routes.items()])


@asynccontextmanager
async def serving(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    server = HTTPServer(application(behaviour), ssl_options=tls)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    yield f"{'https' if tls else 'http'}://127.0.0.1:{sockets[0].getsockname()[1]}"
    server.stop()
    await server.close_all_connections()


Run = Callable[..., Awaitable[Report]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("launcher.check.server._PAUSE", 0.01)
    monkeypatch.setattr("launcher.check.server._HUB_RESUMES", 0.1)

    async def run(behaviour: Behaviour, **arguments: Any) -> Report:
        async with serving(behaviour) as url:
            return await check(url, username="alice", password="secret", **arguments)

    return run


def failures(report: Report) -> dict[str, str]:
    assert report.ok is all(step.ok for step in report.steps)
    return {step.name: step.detail for step in report.steps if not step.ok}


async def test_all_is_well_and_what_was_opened_is_closed(run: Run) -> None:
    behaviour = Behaviour()
    report = await run(behaviour)
    assert report.ok, report.table()
    assert behaviour.calls == ["sessions/s", "terminals/1"]
    assert not behaviour.running


async def test_progress_that_breaks_off_is_taken_up_again(run: Run) -> None:
    pending = [{"message": "submitted"}, {"message": "submitted"}, CUT]
    behaviour = Behaviour(
        progress=[pending, 502, [{"message": "running"}, READY]],
        server={"ready": False, "url": "/user/alice/"},
    )
    report = await run(behaviour)
    assert report.ok, report.table()
    start = next(step for step in report.steps if step.name == "start")
    assert [line.partition("  ")[2] for line in start.detail.splitlines()] == [
        "submitted",
        "running",
        "ready",
    ]


async def test_a_server_that_got_ready_unwatched_counts_as_started(run: Run) -> None:
    assert (await run(Behaviour(progress=[400]))).ok


async def test_a_hub_that_restarts_meanwhile_is_waited_for(run: Run) -> None:
    report = await run(Behaviour(progress=[[CUT], 502, 502, [READY]], server={"ready": False}, outages=3))
    assert report.ok, report.table()
    assert (await run(Behaviour(progress=[[READY]], outages=2))).ok


async def test_a_start_that_the_hub_forgot_is_a_failure(run: Run) -> None:
    report = await run(Behaviour(progress=[[{"message": "submitted"}]], server=None))
    assert list(failures(report)) == ["start"]
    assert failures(report)["start"].startswith("The hub no longer starts the server.\n0.")


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"message": "Spawn failed: no"}, "Spawn failed: no"),
        (
            {"message": "Job 7 failed", "html_message": "<b>Job 7</b> failed<pre>a\nb</pre>"},
            "Job 7 failed\na\nb",
        ),
        (
            {"message": "Spawn failed", "html_message": "<p>Quota &amp; home</p>"},
            "Spawn failed\nQuota & home",
        ),
        ({}, "The start failed."),
    ],
)
async def test_a_failed_start_tells_what_a_person_reads(run: Run, event: dict[str, Any], told: str) -> None:
    report = await run(Behaviour(progress=[[{"failed": True, **event}]]))
    assert failures(report) == {"start": told}
    assert [step.name for step in report.steps][-2:] == ["start", "stop"]


@pytest.mark.parametrize(
    ("change", "step", "told"),
    [
        ({"lab": None}, "JupyterLab", "This is not JupyterLab's page."),
        ({"lab": {**LAB, "baseUrl": "/"}}, "JupyterLab", "JupyterLab believes to be at /."),
        ({"lab": {"appName": "JupyterLab"}}, "JupyterLab", "An answer was not what was expected"),
        ({"script_status": 404}, "JupyterLab", "JupyterLab's script does not load.\nIt answered 404."),
        ({"kernelspecs": {}}, "kernel", "An answer was not what was expected"),
        (
            {"cell": [printed("4"), printed("3\n"), *DONE]},
            "cell output",
            "print(6*7) printed '43\\n', not '42\\n'.",
        ),
        (
            {"cell": [("error", {"ename": "E", "evalue": "v"})]},
            "cell output",
            "The cell raised an error.\nE: v",
        ),
        ({"cell": [("status", {"execution_state": "dead"})]}, "cell output", "The kernel died."),
        ({"cell": []}, "cell output", "The kernel's websocket was closed."),
        ({"cell": [printed("42\n")]}, "cell output", "It was not done after 2 s."),
        ({"terminal": ["disconnect", "1"]}, "terminal", "The shell of the terminal ended.\n$ expr"),
        ({"terminal": ["stdout", "not found"]}, "terminal", "It was not done after 2 s."),
    ],
)
async def test_what_does_not_hold_ends_the_run_and_the_server_is_stopped(
    run: Run, change: dict[str, Any], step: str, told: str
) -> None:
    behaviour = Behaviour(**change)
    report = await run(behaviour, step_timeout=2 if told.startswith("It was not done") else 60)
    assert list(failures(report)) == [step]
    assert failures(report)[step].startswith(told)
    assert [taken.name for taken in report.steps][-2:] == [step, "stop"]
    assert not behaviour.running


async def test_output_may_come_after_the_reply(run: Run) -> None:
    reply, idle = DONE
    assert (await run(Behaviour(cell=[reply, printed("42"), printed("\n"), idle]))).ok


async def test_a_stop_that_is_refused_at_first_is_asked_for_again(run: Run) -> None:
    report = await run(Behaviour(stop=[500, 202]))
    assert report.ok
    assert report.steps[-1].detail == ""


async def test_a_stop_that_is_refused_says_so(run: Run) -> None:
    report = await run(Behaviour(stop=[500]), step_timeout=2)
    first, second, advice = failures(report)["stop"].splitlines()
    assert first == "It was not done after 2 s."
    assert second == "DELETE /hub/api/users/alice/server answered 500: still cancelling."
    assert re.fullmatch(r"The server may be left behind; it can be stopped at http://\S+/hub/home", advice)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hub")])
    now = dt.datetime.now(dt.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "hub.pem"
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


async def test_a_certificate_that_nobody_vouches_for_is_not_accepted(certificate: Path) -> None:
    behaviour = Behaviour()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    async with serving(behaviour, server) as url:
        report = await check(url, username="alice", password="secret")
        assert [step.name for step in report.steps] == ["log in"]
        assert "CERTIFICATE_VERIFY_FAILED" in report.steps[0].detail
        trusting = ssl.create_default_context(cafile=certificate)
        report = await check(url, username="alice", password="secret", tls=trusting)
        assert report.ok, report.table()


@pytest.mark.parametrize(
    "url", ["hub.example", "http://[", "ftp://hub.example", "https:///hub", "http://hub:x", ""]
)
async def test_what_is_no_address_of_a_hub_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is no address of a hub"):
        await check(url, username="alice", password="secret")
