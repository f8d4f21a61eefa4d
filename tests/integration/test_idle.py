"""When a session gives its node back, with a real hub, proxy, JupyterLab, kernels and terminals."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
import pytest_asyncio
from panel import Page
from support import eventually

from launcher.check.session import Kernel

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT, NOTICE = 20, 10
# A websocket that says nothing, behind jupyter-server-proxy.
SILENT = """
import asyncio
from tornado.web import Application
from tornado.websocket import WebSocketHandler

async def main():
    Application([("/.*", WebSocketHandler)]).listen({port}, "127.0.0.1")
    await asyncio.Event().wait()

asyncio.run(main())
"""
CONFIG = f"""
import sys
c.ServerApp.shutdown_no_activity_timeout = {LIMIT}
c.ServerProxy.servers = {{"silent": {{"command": [sys.executable, "-c", {SILENT!r}]}}}}
"""


class Session:
    """Somebody's server, with a page open that hears what it says."""

    def __init__(self, person):
        self.person = person
        self.sockets, self.heard = [], []

    async def connect(self, path):
        self.sockets.append(await self.person.browser.connect(f"{self.person.server}{path}"))
        return self.sockets[-1]

    async def ask(self, method, path):
        return await self.person.browser.fetch(method, f"{self.person.server}{path}")

    async def open_page(self):
        self.page = await Page.open(self.person)
        self.sockets.append(self.page)
        self.listening = asyncio.create_task(self._listen())

    async def _listen(self):
        while (message := await self.page.read()) is not None:
            if message["kind"] in ("warning", "kept", "ending") and message not in self.heard:
                self.heard.append(message)

    async def open_terminal(self):
        """Open a terminal; return once its shell waits at its prompt."""
        name = (await self.ask("POST", "api/terminals"))["name"]
        terminal = await self.connect(f"terminals/websocket/{name}")
        while json.loads(await terminal.read_message())[0] != "stdout":
            pass
        return terminal

    async def start_kernel(self):
        kernel = await Kernel.start(self.person.browser, self.person.server)
        self.sockets.append(kernel)
        return kernel

    def kinds(self):
        return [message["kind"] for message in self.heard]


@pytest_asyncio.fixture(loop_scope="module")
async def session(person, site):
    """Alice's, which ends if nobody uses it for a while."""
    alice = await person()
    home = site.state / "home" / alice.name
    config = home / ".jupyter" / "jupyter_server_config.py"
    config.parent.mkdir(exist_ok=True)
    os.chown(config.parent, home.stat().st_uid, home.stat().st_gid)
    config.write_text(CONFIG)
    session = Session(alice)
    try:
        assert (await alice.start())[-1].get("ready")
        assert (await alice.browser.open(f"{alice.server}lab")).status == 200
        await session.open_page()
        yield session
    finally:
        config.unlink()
        for socket in session.sockets:
            socket.close()


async def poll(session):
    """Ask what an open JupyterLab asks, in which nobody does anything."""
    while True:
        for what in ("kernels", "sessions", "terminals"):
            await session.ask("GET", f"api/{what}")
        await asyncio.sleep(1)


async def test_what_is_merely_open_keeps_no_node_and_its_user_is_warned(session, site):
    await session.start_kernel()
    await session.open_terminal()
    await session.connect("api/events/subscribe")
    (job_id,) = await site.live_jobs(session.person.name)
    before = len(site.hub.log.read_text())
    polling = asyncio.create_task(poll(session))
    try:
        await eventually(lambda: asyncio.sleep(0, "warning" in session.kinds()), within=60)
    finally:
        polling.cancel()
    warning = session.heard[0]
    assert warning["reason"] == "idle"
    assert 0 < warning["ends"] - warning["now"] <= NOTICE
    await eventually(session.person.is_stopped, within=60)
    await eventually(session.person.no_jobs)
    assert session.heard[-1] == {"kind": "ending", "reason": "idle"}
    log = site.hub.log.read_text()[before:]
    assert "says that it ends: 'idle'" in log
    assert "Traceback" not in Path((await site.scheduler.job(job_id)).standard_output).read_text()


async def a_busy_kernel(session):
    kernel = await session.start_kernel()
    request = {"code": "import time; time.sleep(600)", "silent": False, "allow_stdin": False}
    asking = kernel._ask("execute_request", request)
    while (await anext(asking))["content"].get("execution_state") != "busy":
        pass


async def a_program_in_a_terminal(session):
    terminal = await session.open_terminal()
    await terminal.write_message(json.dumps(["stdin", "sleep 600\r"]))


async def a_program_behind_the_proxy(session):
    await session.connect("silent/")


@pytest.mark.parametrize("work", [a_busy_kernel, a_program_in_a_terminal, a_program_behind_the_proxy])
async def test_what_is_at_work_keeps_it(session, work):
    await work(session)
    # A warning may have come before this began.
    await asyncio.sleep(1)
    session.heard.clear()
    await asyncio.sleep(LIMIT - NOTICE + 5)
    assert session.kinds() in ([], ["kept"])


async def test_somebody_at_the_page_keeps_it(session):
    await eventually(lambda: asyncio.sleep(0, "warning" in session.kinds()), within=60)
    await session.page.say(kind="used")
    await eventually(lambda: asyncio.sleep(0, "kept" in session.kinds()))
    assert await session.person.is_ready()
