"""A second unix user on the same node tries all that a session is made of, and gets nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import stranger
from belongings import belongings
from code_server import code_server
from playwright.async_api import async_playwright
from support import Person, command_lines, eventually, missing, program, saved_record

from launcher.check.browser import Browser
from launcher.check.session import Kernel
from launcher.errors import CheckFailed
from launcher.protocol import derive_launch_key

# A window of VS Code takes its time.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

CLUSTER = {"proxy": True}
GET = (
    *(
        "lab",
        "metrics",
        "files/etc/hostname",
        "lab/api/workspaces",
        "lab/api/settings",
        "api/me",
        "api/status",
    ),
    *("api/contents", "api/kernels", "api/kernelspecs", "api/sessions", "api/terminals"),
    *("server-proxy/servers-info", "vscode/healthz"),
    *("proxy/{port}/", "proxy/127.0.0.1:{port}/", "proxy/absolute/{port}/"),
)
WEBSOCKET = (
    *("api/kernels/{kernel}/channels", "terminals/websocket/{terminal}", "api/events/subscribe"),
    "launcher/panel",
)
POST = ("api/shutdown", "api/terminals", "api/kernels", "launcher/stop", "vscode/", "proxy/{port}/")
PROGRAM = """
import http.server, threading
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()
    def log_request(self, code):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port)
"""
ABOUT = """
import json, os
from ipykernel.kernelapp import IPKernelApp
print(json.dumps({
    "token": os.environ["JUPYTERHUB_API_TOKEN"],
    "directory": os.environ["JUPYTER_RUNTIME_DIR"],
    "file": IPKernelApp.instance().abs_connection_file,
    "pid": os.getpid(),
    "port_for_children": get_ipython().kernel.iopub_thread._pipe_port,
}))
"""
# What a forked child prints takes another way than what its kernel does.
WAIT_FOR_A_WORD = """
import os, pathlib, time
if not (child := os.fork()):
    print("a child was here", flush=True)
    time.sleep(1)
    os._exit(0)
os.waitpid(child, 0)
print("waits", flush=True)
while not pathlib.Path("~/go-on").expanduser().exists():
    time.sleep(0.1)
print("goes on", flush=True)
"""


@dataclass
class Whole:
    """A session with all that it may have.

    Attributes:
        person: Whose it is.
        kernel: One that runs.
        about: What the kernel knows of itself.
        names: What stands for names in addresses of the server.
        server: The server's address and port.
    """

    person: Person
    kernel: Kernel
    about: dict[str, Any]
    names: dict[str, Any]
    server: tuple[str, int]

    def addresses(self, paths: tuple[str, ...]) -> list[str]:
        """Return addresses of the server, without what comes before its prefix."""
        return [path.format(**self.names) for path in paths]

    def tasks(self, uid: int, token: str, **paths: tuple[str, ...]) -> dict[str, Any]:
        """Return all that there is of the session, and what to ask its server, with a token and without."""
        base = f"/user/{self.person.name}/"
        web = {
            "server": self.server,
            "tokens": ["", token],
            "paths": {what: [base + path for path in self.addresses(asked)] for what, asked in paths.items()},
        }
        return {**belongings(uid), "keys": [self.about["file"]], "web": web}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(site):
    """A session with a kernel, a terminal, a program of its user's, and a window of VS Code with another."""
    if os.geteuid():
        missing("without root there is no second unix user", "run the tests as root")
    (site.state / "software/bin/code-server").symlink_to(code_server())
    name = next(iter(site.accounts)).name
    async with Browser() as browser, async_playwright() as playwright:
        alice = await Person.log_in(site, name, browser)
        await alice.start()
        assert (await browser.open(f"{alice.server}lab")).status == 200
        with contextlib.closing(await Kernel.start(browser, alice.server)) as kernel:
            (running,) = await browser.fetch("GET", f"{alice.server}api/kernels")
            names = {
                "port": int(await kernel.run(PROGRAM)),
                "kernel": running["id"],
                "terminal": (await browser.fetch("POST", f"{alice.server}api/terminals"))["name"],
            }
            about = json.loads(await kernel.run(ABOUT))
            address = urlsplit(saved_record(site, name)["url"])
            async with await playwright.chromium.launch(
                executable_path=program("chromium"), chromium_sandbox=False, args=["--disable-gpu"]
            ) as chromium:
                await _open_vscode(alice, chromium)
                yield Whole(alice, kernel, about, names, (address.hostname, address.port))
        await alice.stop()


async def _open_vscode(person, chromium):
    """Open a window of VS Code and run a command in its terminal."""
    context = await chromium.new_context()
    jar = person.browser._client.cookies.jar
    cookies = [
        {"name": each.name, "value": each.value, "domain": "127.0.0.1", "path": each.path} for each in jar
    ]
    await context.add_cookies(cookies)
    page = await context.new_page()
    page.set_default_timeout(50_000)
    trust = page.get_by_role("button", name="Trust Folder & Continue")
    typed = person.site.accounts[person.name].home / "typed"
    terminal = page.locator(".xterm").first

    async def accept():
        await trust.click()

    await page.add_locator_handler(trust, accept)
    await page.goto(f"{person.server}vscode/")
    await page.locator(".statusbar-item").first.wait_for()

    async def ran():
        if await terminal.is_visible():
            await terminal.click()
            await page.keyboard.type("touch ~/typed\n")
        else:
            await page.keyboard.press("Control+Shift+Backquote")
        await asyncio.sleep(2)
        return typed.exists()

    await eventually(ran, within=60)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bob(site, whole):
    """Another user, who has a session on the same node."""
    name = next(account.name for account in site.accounts if account.name != whole.person.name)
    async with Browser() as browser:
        bob = await Person.log_in(site, name, browser)
        await bob.start()
        assert (await browser.open(f"{bob.server}lab")).status == 200
        yield bob
        await bob.stop()


async def tries(site, name, tasks):
    """Return what somebody tried, and what they got."""
    python = str(site.state / "software/bin/python")
    done = await asyncio.to_thread(stranger.tried_by, python, site.accounts[name], tasks)
    return dict(done)


async def test_of_all_that_a_session_has_on_its_node_another_user_gets_nothing(site, whole, bob):
    uid = site.accounts[whole.person.name].uid
    token = (await bob.compute("import os; print(os.environ['JUPYTERHUB_API_TOKEN'])")).strip()
    tasks = whole.tasks(uid, token, GET=GET, websocket=WEBSOCKET, POST=POST)
    # Whether programs of users ask who is there is up to them.
    own_program = ("127.0.0.1", whole.names["port"])
    tasks["tcp"].remove(own_program)
    got = {what: got for what, got in (await tries(site, bob.name, tasks)).items() if got}
    # A kernel's way for what its forked children print takes everything, and tells nothing.
    assert got == {f"talk ZMQ to 127.0.0.1 {whole.about['port_for_children']}": " PULL b''"}


async def test_its_owner_gets_what_the_other_tried(site, whole):
    """Else that the other gets nothing would mean nothing."""
    uid, about = site.accounts[whole.person.name].uid, whole.about
    tasks = whole.tasks(uid, about["token"], GET=GET, websocket=WEBSOCKET)
    sockets = {name for name, _ in tasks["sockets"]}
    tried = await tries(site, whole.person.name, tasks)
    wanted = {
        f"list {about['directory']}",
        f"write into {about['directory']}",
        f"read {about['file']}",
        f"write {about['file']}",
        f"read {about['directory']}/session.json",
        *(f"{what} /proc/{about['pid']}/{name}" for what, name in (("read", "environ"), ("list", "fd"))),
        f"signal {about['pid']}",
        f"talk HTTP to 127.0.0.1 {whole.names['port']}",
        *(f"talk to {name}" for name in sockets),
        *(
            f"{what} /user/{whole.person.name}/{path} with a token"
            for what, paths in (("GET", GET), ("websocket", WEBSOCKET))
            for path in whole.addresses(paths)
        ),
    }
    assert {what for what in wanted if not tried.get(what)} == set()
    shell = about["file"].replace(".json", "-ipc-1")
    assert "ROUTER 'kernel_info_reply'" in tried[f"talk to {shell}"]
    for part in (
        "vscode.sock",
        "vscode-session.sock",
        "vscode-ipc-",
        *(f"-ipc-{each}" for each in range(1, 6)),
    ):
        assert any(part in name for name in sockets), part


async def test_no_secret_is_in_an_argument_list(site, whole, bob):
    record = saved_record(site, whole.person.name)
    cookie_secret = bytes.fromhex((site.state / "hub/cookie_secret").read_text().strip())
    connection = json.loads((await whole.kernel.run(f"print(open({whole.about['file']!r}).read())")).strip())
    secrets = {
        "API token": whole.about["token"],
        "kernel's key": connection["key"],
        "launch key": derive_launch_key(cookie_secret, record["launch_id"]),
        "password": site.accounts[whole.person.name].password,
    }
    lines = "\n".join(command_lines())
    assert whole.about["file"] in lines
    assert [name for name, secret in secrets.items() if secret in lines] == []


async def test_what_another_user_sends_to_a_kernel_is_never_taken_for_its_output(site, whole, bob):
    async def say():
        port = ("127.0.0.1", whole.about["port_for_children"])
        web = {"server": whole.server, "tokens": [], "paths": {}}
        nothing = {"udp": [], "sockets": [], "paths": [], "pids": [], "keys": [], "web": web}
        said = await tries(site, bob.name, {"tcp": [port], **nothing})
        assert said[f"talk ZMQ to 127.0.0.1 {port[1]}"]
        (site.accounts[whole.person.name].home / "go-on").touch()

    shown = ""
    request = {"code": WAIT_FOR_A_WORD, "silent": False, "store_history": True, "allow_stdin": False}
    async for message in whole.kernel._ask("execute_request", request):
        shown += message["content"].get("text", "")
        if "waits" in message["content"].get("text", ""):
            await say()
        if message["content"].get("execution_state") == "idle":
            break
    assert "a child was here" in shown
    assert "goes on" in shown
    # ipykernel quotes what it refuses, and does not always keep that to the log.
    lines = [line for line in shown.splitlines() if stranger.MESSAGE.decode() in line]
    assert all(line.startswith("Bad pipe message: ") for line in lines)


async def test_nothing_is_reached_through_the_hub_by_somebody_else(whole, bob):
    async def status(person, what, path):
        if what != "websocket":
            return (await person.browser.call(what, f"{whole.person.server}{path}")).status_code
        try:
            (await person.browser.connect(f"{whole.person.server}{path}")).close()
        except CheckFailed as error:
            return error.why
        return 101

    for what, paths in (("GET", GET), ("websocket", WEBSOCKET), ("POST", POST)):
        for path in whole.addresses(paths):
            refused = await status(bob, what, path)
            assert str(refused).removeprefix("HTTP ")[:3] in ("403", "404"), (what, path, refused)
            if what != "POST":
                assert await status(whole.person, what, path) < 300, (what, path)


async def test_nothing_is_reached_through_the_session_of_somebody_else(site, whole, bob):
    """On the same node, `/proxy/<port>` of theirs would come from the node itself."""
    found = belongings(site.accounts[whole.person.name].uid)
    assert len(found["tcp"]) >= 3
    for _, port in found["tcp"]:
        answer = await bob.browser.call("GET", f"{bob.server}proxy/{port}/")
        assert answer.status_code == 403
        assert "another user&#39;s program listens" in answer.text
