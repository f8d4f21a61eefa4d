"""How a session ends, with a real hub, proxy, JupyterLab and kernels; and what its kernels listen on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from support import eventually, missing, saved_record

from launcher.check.session import CheckFailed, Kernel, run_in_terminal

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORKS = """
import time
print("begun", flush=True)
try:
    while True:
        time.sleep(0.1)
finally:
    print("last words", flush=True)
"""
DEAF = """
import time
print("begun", flush=True)
while True:
    try:
        time.sleep(0.1)
    except KeyboardInterrupt:
        print("not now", flush=True)
"""
TERMINATED = "says that it ends: 'terminated'"
HELLO = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port={port}, bind='127.0.0.1')"
PROXIED = f"c.ServerProxy.servers = {{'hello': {{'command': ['python3', '-c', {HELLO!r}]}}}}\n"


@pytest.fixture
def session(person, site):
    """Return a function that starts somebody's server, with a kernel; `config` is a file of theirs."""
    kernels, files = [], []

    async def start(config: str = "") -> Session:
        alice = await person()
        home = site.state / "home" / alice.name
        files.append(put(home / ".jupyter" / "jupyter_server_config.py", config))
        assert (await alice.start())[-1].get("ready")
        assert (await alice.browser.open(f"{alice.server}lab")).status == 200
        kernels.append(await Kernel.start(alice.browser, alice.server))
        return await Session.of(alice, home, kernels[-1])

    yield start
    for kernel in kernels:
        kernel.close()
    for file in files:
        file.unlink(missing_ok=True)


def put(path: Path, text: str) -> Path:
    """Write a file in a directory of somebody's home, which stays theirs."""
    path.parent.mkdir(exist_ok=True)
    owner = path.parent.parent.stat()
    os.chown(path.parent, owner.st_uid, owner.st_gid)
    path.write_text(text)
    return path


class Session:
    """A running server with a kernel.

    Attributes:
        person: Whose it is.
        home: Their home.
        kernel: The kernel.
        pid: The server's process.
        directory: The session's private directory.
        heard: What the kernel has written since `work`.
    """

    @classmethod
    async def of(cls, person, home, kernel):
        self = cls()
        self.person, self.home, self.kernel, self.heard = person, home, kernel, ""
        code = "import os; print(os.getppid(), os.environ['JUPYTER_RUNTIME_DIR'])"
        pid, self.directory = (await kernel.run(code)).split()
        self.pid = int(pid)
        return self

    async def work(self, code: str) -> None:
        """Run a cell that does not come to an end; return once it is at work."""
        request = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        self._listening = asyncio.create_task(self._listen(self.kernel._ask("execute_request", request)))
        await eventually(lambda: asyncio.sleep(0, "begun" in self.heard))

    async def _listen(self, messages) -> None:
        with contextlib.suppress(CheckFailed):
            async for message in messages:
                content = message["content"]
                self.heard += content.get("text", "") if message["msg_type"] == "stream" else ""
                self.heard += content.get("ename", "") if message["msg_type"] == "error" else ""

    async def ended(self) -> None:
        """Wait until nothing is left."""
        await eventually(self.person.is_stopped)
        await eventually(self.person.no_jobs)
        await self._listening

    @property
    def server(self) -> str:
        """The address of the server itself, past the proxy."""
        return str(saved_record(self.person.site, self.person.name)["url"])

    def sockets(self) -> list[str]:
        return sorted(path.name for path in Path(self.directory).iterdir() if path.is_socket())


def script_of(pid: int) -> int:
    """Return the batch script's process: a server is its child."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def press_stop(session):
    await session.person.api("DELETE", f"users/{session.person.name}/server")


async def send(session, *numbers):
    for number in numbers:
        os.kill(session.pid, number)
        await asyncio.sleep(0.05)


async def signal_script(session, number):
    os.kill(script_of(session.pid), number)


@pytest.mark.parametrize(
    ("end", "said"),
    [
        pytest.param(press_stop, "", id="Stop"),
        pytest.param(lambda session: signal_script(session, signal.SIGTERM), TERMINATED, id="TERM"),
        pytest.param(
            lambda session: signal_script(session, signal.SIGUSR1), "says that it ends: 'walltime'", id="USR1"
        ),
        pytest.param(
            lambda session: send(session, signal.SIGTERM, signal.SIGTERM, signal.SIGUSR1),
            TERMINATED,
            id="several",
        ),
    ],
)
async def test_kernels_at_work_are_interrupted_and_browsers_see_their_last_words(session, site, end, said):
    alices = await session()
    (job_id,) = await site.live_jobs(alices.person.name)
    await alices.work(WORKS)
    before = len(site.hub.log.read_text())
    await end(alices)
    await alices.ended()
    assert alices.heard == "begun\nlast words\nKeyboardInterrupt"
    assert said in site.hub.log.read_text()[before:]
    assert not Path(alices.directory).exists()
    log = Path((await site.scheduler.job(job_id)).standard_output).read_text()
    assert "Traceback" not in log


async def test_a_kernel_that_ignores_its_interrupt_does_not_hold_up_the_end(session):
    alices = await session()
    await alices.work(DEAF)
    await send(alices, signal.SIGTERM)
    await alices.ended()
    assert "not now" in alices.heard
    assert not Path(alices.directory).exists()


async def test_a_kernel_that_has_ended_is_neither_waited_for_nor_begun_anew(session, site):
    """Where a job is cancelled in Slurm itself, SIGTERM reaches all its processes at once."""
    alices = await session()
    kernel = int(await alices.kernel.run("import os; print(os.getpid())"))
    (job_id,) = await site.live_jobs(alices.person.name)
    log = Path((await site.scheduler.job(job_id)).standard_output)
    await alices.work(DEAF)
    os.kill(kernel, signal.SIGTERM)
    await send(alices, signal.SIGTERM)
    await alices.ended()
    assert "restarting kernel" not in log.read_text()
    assert "works on in spite of" not in log.read_text()


async def test_a_program_behind_the_proxy_ends_too_and_does_not_make_the_end_abrupt(session, site):
    """The proxy's own library would end the server at once."""
    alices = await session(PROXIED)
    page = await alices.person.browser.call("GET", f"{alices.person.server}hello/")
    assert page.status_code == 200
    await alices.work(WORKS)
    before = len(site.hub.log.read_text())
    await send(alices, signal.SIGTERM)
    await alices.ended()
    assert alices.heard == "begun\nlast words\nKeyboardInterrupt"
    assert TERMINATED in site.hub.log.read_text()[before:]


async def test_a_terminal_is_told_that_it_ends(session):
    alices = await session()
    browser, server = alices.person.browser, alices.person.server
    mark = alices.home / "hung-up"
    name = (await browser.fetch("POST", f"{server}api/terminals"))["name"]
    terminal = await browser.connect(f"{server}terminals/websocket/{name}")
    program = f"bash -c 'trap \": > {mark}; exit\" HUP; echo $((40+2)); while :; do sleep 0.1; done'\r"
    screen = ""
    while "42\r\n" not in screen:
        kind, *content = json.loads(await terminal.read_message())
        if kind == "stdout" and not screen:
            # Shells may drop what is typed before there is a prompt.
            await terminal.write_message(json.dumps(["stdin", program]))
        screen += content[0] if kind == "stdout" else ""
    await alices.work(WORKS)
    await send(alices, signal.SIGTERM)
    await alices.ended()
    terminal.close()
    assert mark.exists()


async def test_a_document_that_is_being_saved_is_saved(session):
    alices = await session()
    name = alices.person.name
    answer = await alices.person.api("POST", f"users/{name}/tokens", {"expires_in": 300})
    url = httpx.URL(alices.server)
    path = str(alices.home / "late.txt").lstrip("/")
    body = json.dumps({"type": "file", "format": "text", "content": "saved in time"})
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(
        f"PUT /user/{name}/api/contents/{path} HTTP/1.1\r\nHost: {url.netloc.decode()}\r\n"
        f"Authorization: token {answer.json()['token']}\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body[:9]}".encode()
    )
    await writer.drain()
    await asyncio.sleep(0.3)
    await alices.work(WORKS)
    await send(alices, signal.SIGTERM)
    # By then the kernel has ended its work, and only the document is waited for.
    await eventually(lambda: asyncio.sleep(0, "KeyboardInterrupt" in alices.heard))
    await asyncio.sleep(0.5)
    writer.write(body[9:].encode())
    assert (await reader.readline()).split()[1] == b"201"
    writer.close()
    await alices.ended()
    assert (alices.home / "late.txt").read_text() == "saved in time"


async def test_a_server_that_is_told_to_end_before_it_listens_says_so(session, site, person):
    alice = await person()
    config = put(
        site.state / "home" / alice.name / ".jupyter" / "jupyter_server_config.py",
        "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n",
    )
    try:
        failed = (await alice.start())[-1]
    finally:
        config.unlink()
    assert "It was told to end" in failed["message"]
    await eventually(alice.no_jobs)


class TestKernelsTalkOverSocketsOfTheirOwn:
    async def test_in_a_directory_that_nobody_else_may_enter(self, session):
        alices = await session()
        assert Path(alices.directory).stat().st_mode & 0o777 == 0o700
        assert len(alices.sockets()) == 5
        kernel = int(await alices.kernel.run("import os; print(os.getpid())"))
        mine = {str(entry.readlink()) for entry in Path(f"/proc/{kernel}/fd").iterdir()}
        tables = "".join(Path(f"/proc/{kernel}/net/{table}").read_text() for table in ("tcp", "tcp6"))
        listening = [line.split() for line in tables.splitlines() if " 0A " in line]
        # The one that is left is ipykernel's own, for what processes print that it has forked.
        assert len([line for line in listening if f"socket:[{line[9]}]" in mine]) <= 1

    async def test_their_paths_are_short_enough_for_any_number_of_a_user(self, session):
        """A socket's path has at most 107 characters."""
        alices = await session()
        longest = max(map(len, alices.sockets())) + len(f"{alices.directory}/")
        assert longest + len(str(2**32)) - len(str(os.getuid())) <= 107

    async def test_they_are_gone_with_the_kernel_and_new_after_a_restart(self, session):
        alices = await session()
        before = alices.sockets()
        browser, server = alices.person.browser, alices.person.server
        (kernel,) = await browser.fetch("GET", f"{server}api/kernels")
        await browser.fetch("POST", f"{server}api/kernels/{kernel['id']}/restart")
        await eventually(lambda: asyncio.sleep(0, alices.sockets() == before))
        # As JupyterLab does: what the new one says before the server hears it again would be lost.
        alices.kernel.close()
        channels = f"{server}api/kernels/{kernel['id']}/channels?session_id={alices.kernel._client}"
        restarted = replace(alices.kernel, _socket=await browser.connect(channels))
        assert await restarted.run("print(6 * 7)") == "42\n"
        await restarted.shut_down()
        assert alices.sockets() == []

    async def test_a_program_in_a_terminal_joins_a_kernel(self, session):
        alices = await session()
        python = await alices.kernel.run("import sys; answer = 40; print(sys.executable, end='')")
        joined = (
            "import jupyter_client as j; c = j.BlockingKernelClient(); "
            "c.load_connection_file(j.find_connection_file()); c.start_channels(); "
            "c.execute_interactive('print(answer + 2)')"
        )
        await run_in_terminal(alices.person.browser, alices.person.server, f'{python} -c "{joined}"', "42")

    async def test_kernels_of_r_do_so_too(self, session):
        if not Path("/usr/share/jupyter/kernels/ir").exists():
            missing("R's kernel is not installed", "as root: apt-get install r-cran-irkernel")
        alices = await session()
        browser, server = alices.person.browser, alices.person.server
        made = await browser.fetch("POST", f"{server}api/kernels", {"name": "ir"})
        url = f"{server}api/kernels/{made['id']}"
        kernel = Kernel("R", url, browser, await browser.connect(f"{url}/channels?session_id=r"), "r")
        assert await kernel.run("cat(6 * 7)") == "42"
        assert len(alices.sockets()) == 10
        await kernel.shut_down()
        assert len(alices.sockets()) == 5

    async def test_a_user_may_choose_otherwise(self, session):
        alices = await session("c.KernelManager.transport = 'tcp'\n")
        assert alices.sockets() == []
