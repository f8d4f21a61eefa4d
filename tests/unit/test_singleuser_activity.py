"""What counts as use of a session, and what does not."""

import asyncio
import contextlib
import re
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import pytest_asyncio
from terminado.management import NamedTermManager
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, HTTPError, RequestHandler
from tornado.websocket import WebSocketHandler, websocket_connect
from traitlets import HasTraits, Unicode

from launcher.singleuser.activity import Activity


class Kernel(HasTraits):
    execution_state = Unicode("idle")


class Kernels(dict):
    list_kernel_ids = dict.keys
    get_kernel = dict.__getitem__
    untracked_message_types = ("comm_info_request",)


class Answer(RequestHandler):
    def get(self, *_):
        self.finish("an answer")

    def post(self, what):
        if what.endswith("fails"):
            raise HTTPError(403)
        self.finish("changed")

    put = patch = delete = post


class Socket(WebSocketHandler):
    """A page's connection to a kernel or a terminal."""


class Proxied(WebSocketHandler):
    """What jupyter-server-proxy's handlers tell of themselves."""

    def initialize(self, counts=True, but=()):
        self.update_last_activity = counts
        self.exclude_last_activity_patterns = [re.compile(each) for each in but]

    async def open(self):
        if self.get_query_argument("fails", ""):
            raise ConnectionRefusedError


class Server:
    """A server's web application, its kernels, and when it was used."""

    def __init__(self):
        base = "/user/alice/"
        self.application = Application(
            [
                (rf"{base}channels", Socket),
                (rf"{base}vscode", Proxied),
                (rf"{base}quiet", Proxied, {"counts": False}),
                (rf"{base}asks", Proxied, {"counts": lambda handler: "loud" in handler.request.query}),
                (rf"{base}but", Proxied, {"but": [".*/but"]}),
                (rf"{base}(.*)", Answer),
            ],
            base_url=base,
            log_function=lambda handler: self.logged.append(handler.request.method),
            last_activity_times={},
        )
        self.logged = []
        socket, port = bind_unused_port()
        self.url = f"127.0.0.1:{port}{base}"
        self.http = HTTPServer(self.application)
        self.http.add_sockets([socket])
        self.connections = []
        self.kernels = Kernels()
        self.watch()

    def watch(self):
        self.activity = Activity(self.kernels, self.application)

    async def ask(self, method, path):
        request = HTTPRequest(f"http://{self.url}{path}", method, body=None if method == "GET" else "")
        request.allow_nonstandard_methods = True
        return await AsyncHTTPClient().fetch(request, raise_error=False)

    async def connect(self, path):
        self.connections.append(await websocket_connect(f"ws://{self.url}{path}"))
        return self.connections[-1]

    async def close(self):
        for connection in self.connections:
            connection.close()
            while await connection.read_message() is not None:
                pass
        self.http.stop()
        await self.http.close_all_connections()

    async def use(self, of=lambda: None):
        """Return whether something was use that a test does."""
        before = self.activity.last()
        done = of()
        if asyncio.iscoroutine(done):
            await done
        await asyncio.sleep(0.02)
        after = self.activity.last()
        return after > before


@pytest_asyncio.fixture
async def server():
    server = Server()
    yield server
    await server.close()


async def test_a_server_was_last_used_when_it_started(server):
    before = time.monotonic()
    await asyncio.sleep(0.02)
    assert server.activity.last() <= before


async def test_somebody_at_a_page_is_use_and_wakes_who_waits_for_it(server):
    assert await server.use(server.activity.touch)
    assert server.activity.used.is_set()


class TestKernels:
    async def test_one_at_work_is_use_all_the_time(self, server):
        server.kernels["a"] = Kernel(execution_state="busy")
        assert await server.use()
        assert await server.use()

    @pytest.mark.parametrize("state", ["idle", "starting", "dead"])
    async def test_one_that_is_not_is_no_use(self, server, state):
        server.kernels["a"] = Kernel(execution_state=state)
        server.activity.last()
        assert not await server.use()

    async def test_its_work_counts_to_the_end_though_nobody_looked(self, server):
        server.kernels["a"] = kernel = Kernel()
        server.activity.last()
        kernel.execution_state = "busy"
        await asyncio.sleep(0.05)
        ended = time.monotonic()
        kernel.execution_state = "idle"
        await asyncio.sleep(0.05)
        assert server.activity.last() == pytest.approx(ended, abs=0.02)

    async def test_so_does_that_of_one_started_since_somebody_looked(self, server):
        server.kernels["a"] = kernel = Kernel()
        await server.ask("POST", "api/sessions")
        ended = time.monotonic()
        kernel.execution_state = "busy"
        kernel.execution_state = "idle"
        assert server.activity.last() >= ended

    async def test_one_that_is_asked_what_it_uses_is_not_at_work(self, server):
        kernels = Kernels()
        Activity(kernels, server.application)
        Activity(kernels, server.application)
        assert [*kernels.untracked_message_types] == ["comm_info_request", "usage_request", "usage_reply"]


class TestRequests:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "api/kernels"),
            ("PUT", "api/contents/a.ipynb"),
            ("PATCH", "api/sessions/1"),
            ("DELETE", "api/x"),
        ],
    )
    async def test_that_change_something_are_use(self, server, method, path):
        assert await server.use(lambda: server.ask(method, path))
        assert server.logged == [method]

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            pytest.param("GET", "api/kernels", id="pages poll"),
            pytest.param("GET", "launcher/probe", id="the hub's probe"),
            pytest.param("POST", "git/status", id="extensions poll by POST"),
            pytest.param("PUT", "api/fails", id="refused"),
        ],
    )
    async def test_that_look_or_fail_are_none(self, server, method, path):
        assert not await server.use(lambda: server.ask(method, path))


class TestConnections:
    async def test_an_open_one_to_a_proxied_program_is_use_until_it_closes(self, server):
        connection = await server.connect("vscode")
        assert await server.use()
        assert await server.use()
        assert await server.use(connection.close)
        assert not await server.use()

    async def test_it_counts_to_its_end_though_nobody_looked(self, server):
        connection = await server.connect("vscode")
        await asyncio.sleep(0.05)
        ended = time.monotonic()
        connection.close()
        await asyncio.sleep(0.05)
        assert server.activity.last() >= ended

    async def test_one_that_breaks_is_no_use(self, server):
        connection = await server.connect("vscode")
        connection.protocol.stream.close()
        await asyncio.sleep(0.05)
        server.activity.last()
        assert not await server.use()

    async def test_one_whose_program_does_not_answer_is_none(self, server):
        with contextlib.suppress(Exception):
            await server.connect("vscode?fails=yes")
        await asyncio.sleep(0.05)
        server.activity.last()
        assert not await server.use()

    async def test_one_of_a_page_to_jupyter_is_none(self, server):
        await server.connect("channels")
        assert not await server.use()

    @pytest.mark.parametrize(
        ("path", "use"), [("quiet", False), ("but", False), ("asks", False), ("asks?loud", True)]
    )
    async def test_jupyter_server_proxys_own_settings_hold(self, server, path, use):
        await server.connect(path)
        assert await server.use() is use


class TestWhatExtensionsSay:
    """Jupyter-server-proxy says so of requests to programs."""

    async def test_is_use_when_they_say(self, server):
        await asyncio.sleep(0.1)
        said = time.monotonic() - 0.05
        stamp = datetime.fromtimestamp(time.time() - 0.05, UTC)
        server.application.settings["last_activity_times"]["jupyter-server-proxy"] = stamp
        assert server.activity.last() == pytest.approx(said, abs=0.02)
        assert not await server.use()

    @pytest.mark.parametrize("off", [-1e6, 1e6])
    async def test_in_the_time_since_somebody_looked_however_the_clock_was_set(self, server, off):
        before = server.activity.last()
        await asyncio.sleep(0.02)
        looked = server.activity.last() and time.monotonic()
        await asyncio.sleep(0.02)
        stamp = datetime.fromtimestamp(time.time() + off, UTC)
        server.application.settings["last_activity_times"]["jupyter-server-proxy"] = stamp
        assert looked - 0.01 <= server.activity.last() <= time.monotonic()
        assert server.activity.last() > before
        assert not await server.use()


class TestTerminals:
    """Real shells in real terminals."""

    @pytest_asyncio.fixture
    async def shell(self, server, tmp_path):
        """Return a function that opens a terminal and returns what types into it and waits."""
        plain = {"ENV": "", "HISTFILE": "", "PS1": "$ ", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        managers = []

        async def start(*command):
            managers.append(NamedTermManager(shell_command=list(command or ["sh"])))
            managers[-1].make_term_env = lambda **_: plain
            server.application.settings["terminal_manager"] = managers[-1]
            server.watch()
            _, terminal = managers[-1].new_named_terminal()

            async def type_in(text, until):
                terminal.ptyproc.write(f"{text}\r")
                await eventually(lambda: until in "".join(terminal.read_buffer))

            type_in.process = terminal.ptyproc
            await eventually(lambda: terminal.read_buffer)
            await quiet(server)
            return type_in

        yield start
        for manager in managers:
            await manager.kill_all()
            await asyncio.sleep(0.05)
            manager.blocking_io_executor.shutdown()

    async def test_one_at_its_prompt_is_no_use(self, server, shell):
        await shell()
        assert not await server.use()

    async def test_what_it_shows_is_use(self, server, shell):
        type_in = await shell()
        assert await server.use(lambda: type_in("echo $((40+2))", "42"))
        await quiet(server)
        assert not await server.use()

    async def test_a_program_is_use_though_it_is_silent(self, server, shell):
        type_in = await shell()
        await type_in("echo $((40+2)); sleep 60", "42")
        await works(server)

    @pytest.mark.parametrize(
        "inner",
        [
            "bash --norc --noprofile",
            "bash --rcfile {rc}",
            "bash --init-file {rc} -i",
            "bash --norc -o vi -O checkwinsize",
            "sh -i",
        ],
    )
    async def test_a_shell_in_a_shell_is_none_at_its_prompt(self, server, shell, inner, tmp_path):
        rc = tmp_path / "rc"
        rc.write_text("PS1='inner$((40+2)) '")
        type_in = await shell()
        await type_in(f"PS1='inner$((40+2)) ' {inner.format(rc=rc)}", "inner42")
        await quiet(server)
        assert not await server.use()

    @pytest.mark.parametrize("options", ["", "-e ", "-o nounset "])
    async def test_a_script_is_a_program(self, server, shell, tmp_path, options):
        script = tmp_path / "script"
        script.write_text("echo $((40+2))\nread answer\n")
        type_in = await shell()
        await type_in(f"sh {options}{script}", "42")
        await works(server)

    async def test_one_that_has_ended_is_none(self, server, shell):
        type_in = await shell()
        type_in.process.kill(9)
        type_in.process.close()
        await quiet(server)
        assert not await server.use()


async def quiet(server):
    """Wait until a terminal has shown all that it will."""
    while await server.use():
        await asyncio.sleep(0.1)


async def works(server):
    """Wait until something is at work, which is use time and again."""
    async with asyncio.timeout(20):
        while not all([await server.use() for _ in range(5)]):
            pass


async def eventually(holds):
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


async def test_without_terminals_and_proxies_there_is_nothing_of_theirs_to_know():
    settings = {"base_url": "/", "log_function": lambda *_: None}
    activity = Activity(Kernels(), SimpleNamespace(settings=settings))
    assert activity.last() == activity.last()
