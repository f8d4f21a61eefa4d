"""A second unix user on the same node tries all that a session is made of, and gets nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
import stranger
from code_server import code_server
from listener import listening
from named_servers import KINDS, named_servers
from playwright.async_api import async_playwright
from support import Person, command_lines, eventually, missing, program, saved_record
from tornado.websocket import WebSocketClosedError
from whole_session import Whole

from launcher.check.browser import Browser
from launcher.check.session import Kernel
from launcher.errors import CheckFailed
from launcher.protocol import Claim, derive_launch_key, encode, new_nonce
from launcher.sandbox.scheduler import slurm_daemons

# A window of VS Code takes its time.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

# Slurm keeps scripts on the node and for its controller.
SCHEDULER = "process" if slurm_daemons.missing() else "slurm"
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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(site):
    """A session with a kernel, a terminal, a program of its user's, and a window of VS Code with another."""
    if os.geteuid():
        missing("without root there is no second unix user", "run the tests as root")
    (site.state / "software/bin/code-server").symlink_to(code_server())
    account, other, *_ = site.accounts
    name, python = account.name, str(site.state / "software/bin/python")
    with listening(python, other) as behind:
        async with Browser() as browser, async_playwright() as playwright:
            alice = await Person.log_in(site, name, browser)
            with named_servers(account, {key: {**kind, "port": behind.port} for key, kind in KINDS.items()}):
                await alice.start()
            (job_id,) = await site.live_jobs(name)
            job = await site.scheduler.job(job_id)
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
                    server = (address.hostname, address.port)
                    yield Whole(alice, job, kernel, about, names, server, behind)
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


async def test_every_port_on_which_a_session_listens_is_known(whole, bob):
    """Whatever listens may do as it is told, in words that no test says."""
    found = whole.belongings()
    wanted = {
        "JupyterLab's server": whole.server,
        "ipykernel's, for what forked children print": ("127.0.0.1", whole.about["port_for_children"]),
        "the user's own program": ("127.0.0.1", whole.names["port"]),
    }
    assert (sorted(found["tcp"]), found["udp"]) == (sorted(wanted.values()), [])


async def test_of_all_that_a_session_has_on_its_node_another_user_gets_nothing(site, whole, bob):
    token = (await bob.compute("import os; print(os.environ['JUPYTERHUB_API_TOKEN'])")).strip()
    tasks = whole.tasks(token, GET=GET, websocket=WEBSOCKET, POST=POST)
    # Whether programs of users ask who is there is up to them.
    own_program = ("127.0.0.1", whole.names["port"])
    tasks["tcp"].remove(own_program)
    got = {what: got for what, got in (await tries(site, bob.name, tasks)).items() if got}
    # A kernel's way for what its forked children print takes everything, and tells nothing.
    assert got == {f"talk ZMQ to 127.0.0.1 {whole.about['port_for_children']}": " PULL b''"}


async def test_its_owner_gets_what_the_other_tried(site, whole):
    """Else that the other gets nothing would mean nothing."""
    about = whole.about
    tasks = whole.tasks(about["token"], GET=GET, websocket=WEBSOCKET)
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
        f"list {whole.account.home}",
        f"read {whole.job.standard_output}",
        *(f"read {path}" for path in whole.scripts() if path.name == "slurm_script"),
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


async def test_no_secret_is_in_an_argument_list_or_the_jobs_log(site, whole, bob):
    record = saved_record(site, whole.person.name)
    cookie_secret = bytes.fromhex((site.state / "hub/cookie_secret").read_text().strip())
    connection = json.loads((await whole.kernel.run(f"print(open({whole.about['file']!r}).read())")).strip())
    secrets = {
        "API token": whole.about["token"],
        "kernel's key": connection["key"],
        "launch key": derive_launch_key(cookie_secret, record["launch_id"]),
        "password": site.accounts[whole.person.name].password,
        "ticket": whole.ticket,
    }
    lines, log = "\n".join(command_lines()), Path(whole.job.standard_output).read_text()
    assert whole.about["file"] in lines
    assert log
    assert [name for name, secret in secrets.items() if secret in lines + log] == []


async def test_the_ticket_is_in_the_schedulers_hands_alone_and_claims_nothing_any_more(site, whole):
    names = {path.name for path in whole.scripts()}
    assert names in ({"slurm_script"}, {"slurm_script", "script"})
    claim = Claim(whole.ticket, new_nonce(), whole.job.id, "nid001", "6.1.1")
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{site.url}hub/api/launcher/claim", content=encode(claim))
    assert (answer.status_code, "claims nothing any more" in answer.text) == (409, True)


@pytest.mark.parametrize("name", KINDS)
async def test_a_named_server_hands_nothing_to_who_was_faster_to_take_its_port(whole, bob, name):
    address = f"{whole.person.server}{name}/"
    answer = await whole.person.browser.call("GET", f"{address}?only=hers")
    assert answer.status_code in (403, 405, 500)
    socket = await whole.person.browser.connect(f"{address}?only=hers")
    with contextlib.suppress(WebSocketClosedError):
        await socket.write_message("only hers")
    assert await socket.read_message() is None
    socket.close()
    heard = whole.behind.heard().lower()
    for secret in ("only", "hers", "cookie", "authorization", "upgrade"):
        assert secret not in heard


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
    found = whole.belongings()
    assert len(found["tcp"]) == 3
    for _, port in found["tcp"]:
        answer = await bob.browser.call("GET", f"{bob.server}proxy/{port}/")
        assert answer.status_code == 403
        assert "another user&#39;s program listens" in answer.text
