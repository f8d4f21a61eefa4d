"""`/proxy/<port>`, with a real hub, proxy and JupyterLab, to programs of its user and of somebody else."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess

import httpx
import pytest
from support import missing

from launcher.check.session import Kernel
from launcher.errors import CheckFailed

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLUSTER = {"proxy": True}
FORMS = ("proxy/{}/", "proxy/localhost:{}/", "proxy/127.0.0.1:{}/", "proxy/absolute/{}/")
OFF = "This cluster does not hand on /proxy/…"
OTHERS = "another user&#39;s program listens"

# What a user may run in a notebook: it tells what it is asked, and has a cookie of its own.
PROGRAM = """
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

class Echo(RequestHandler):
    def get(self):
        self.set_cookie("mine", "biscuit")
        self.write({"uri": self.request.uri, "headers": dict(self.request.headers)})
    post = get

class Socket(WebSocketHandler):
    def check_origin(self, origin):
        return True
    async def open(self):
        await self.write_message({"uri": self.request.uri, "headers": dict(self.request.headers)})

sockets = bind_sockets(0, %r)
HTTPServer(Application([(".*/socket", Socket), (".*", Echo)], xsrf_cookies=False)).add_sockets(sockets)
print(sockets[0].getsockname()[1])
"""

# A stranger, at a port that is given or not.
STRANGER = """
import http.server, sys
class Thief(http.server.BaseHTTPRequestHandler):
    def log_request(self, code):
        pass
    def do_GET(self):
        print(self.headers, flush=True)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"stolen")
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Thief)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextlib.contextmanager
def stranger(site, account, port=0):
    """Yield the port of a program of another unix user, which must get nothing that is the user's."""
    if os.geteuid():
        missing("without root there is no second unix user", "run the tests as root")
    command = [str(site.state / "software/bin/python"), "-I", "-c", STRANGER, str(port)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        cwd="/",
    ) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()
            rest = process.stdout.read()
    assert "Cookie" not in rest
    assert "Authorization" not in rest


async def program(person, at="127.0.0.1"):
    """Have a program of somebody's listen as long as their server runs; return its port."""
    assert (await person.browser.open(f"{person.server}lab")).status == 200
    kernel = await Kernel.start(person.browser, person.server)
    try:
        return int(await kernel.run(PROGRAM % at))
    finally:
        kernel.close()


async def asked(person, path):
    """Return what a program says that it was asked."""
    return (await person.browser.call("GET", f"{person.server}{path}")).json()


async def refused(person, path):
    """Return the status and the page of an answer; a websocket fares the same."""
    answer = await person.browser.call("GET", f"{person.server}{path}")
    with pytest.raises(CheckFailed, match=str(answer.status_code)):
        await person.browser.connect(f"{person.server}{path}")
    return answer.status_code, answer.text


async def test_programs_of_the_user_are_reached_where_the_cluster_allows_it(person):
    alice = await person()
    await alice.start()
    port = await program(alice)
    for form in FORMS:
        path = form.format(port)
        uri = f"/user/{alice.name}/{path}here?a=1" if "absolute" in form else "/here?a=1"
        assert (await asked(alice, f"{path}here?a=1"))["uri"] == uri
        socket = await alice.browser.connect(f"{alice.server}{path}socket")
        assert json.loads(await socket.read_message())["uri"].endswith("/socket")
        socket.close()
    answer = await alice.browser.call("POST", f"{alice.server}proxy/{port}/there")
    assert answer.json()["uri"] == "/there"
    for at in ("::1", "::", "0.0.0.0"):
        port = await program(alice, at)
        assert (await asked(alice, f"proxy/{port}/"))["uri"] == "/"


async def test_they_get_their_own_cookies_and_tokens_and_none_of_the_hubs(person):
    alice = await person()
    await alice.start()
    port = await program(alice)
    await asked(alice, f"proxy/{port}/")
    socket = await alice.browser.connect(f"{alice.server}proxy/{port}/socket?token=theirs")
    by_socket = json.loads(await socket.read_message())
    socket.close()
    for seen in (await asked(alice, f"proxy/{port}/"), by_socket):
        names = {each.partition("=")[0].strip() for each in seen["headers"]["Cookie"].split(";")}
        assert names == {"mine", "_xsrf"}
    assert by_socket["uri"] == "/socket?token=theirs"

    token = (await alice.compute("import os; print(os.environ['JUPYTERHUB_API_TOKEN'])")).strip()
    url = f"{alice.server}proxy/{port}/"
    async with httpx.AsyncClient(trust_env=False) as client:

        async def ask(query="", **headers):
            return (await client.get(url + query, headers=headers)).json()

        assert "Authorization" not in (await ask(Authorization=f"token {token}"))["headers"]
        assert "Authorization" not in (await ask(Authorization=f"Bearer {token}"))["headers"]
        socket_like = {"Sec-Fetch-Mode": "websocket"}
        seen = await ask(f"?a=%20&token={token}&b", Authorization="Bearer theirs", **socket_like)
        assert (seen["uri"], seen["headers"]["Authorization"]) == ("/?a=%20&b", "Bearer theirs")


async def test_a_port_where_nothing_of_the_users_listens_is_told_in_words(site, person):
    alice = await person()
    await alice.start()
    port = await program(alice)
    for form in FORMS:
        status, text = await refused(alice, form.format(1))
        assert status == 403
        assert "No program of yours listens on port 1 of this node" in text
    answer = await alice.browser.call("GET", f"{alice.server}proxy/example.org:{port}/")
    assert (answer.status_code, "is not allowed" in answer.text) == (403, True)


async def test_another_users_program_is_never_reached(site, person):
    alice = await person()
    bob = next(account for account in site.accounts if account.name != alice.name)
    await alice.start()
    own = await program(alice, "::1")
    with stranger(site, bob) as port:
        for form in FORMS:
            status, text = await refused(alice, form.format(port))
            assert status == 403
            assert OTHERS in text
    with stranger(site, bob, own):
        # `localhost` would be his, too.
        assert (await asked(alice, f"proxy/{own}/"))["uri"] == "/"


async def test_named_servers_are_reached_but_not_who_was_faster_to_take_their_port(
    site, person, cluster_file
):
    cluster_file(proxy=False)
    alice = await person()
    bob = next(account for account in site.accounts if account.name != alice.name)
    home = site.state / "home" / alice.name
    with stranger(site, bob) as taken:
        command = [str(site.state / "software/bin/python"), "-m", "http.server", "--bind", "127.0.0.1"]
        servers = {
            "mine": {"command": [*command, "{port}"]},
            "late": {"command": ["sleep", "1000"], "port": taken},
        }
        config = home / ".jupyter/jupyter_server_config.json"
        config.parent.mkdir(exist_ok=True)
        os.chown(config.parent, home.stat().st_uid, home.stat().st_gid)
        config.write_text(json.dumps({"ServerProxy": {"servers": servers}}))
        await alice.start()
        config.unlink()
        await alice.browser.open(f"{alice.server}lab")
        assert "Directory listing" in (await alice.browser.call("GET", f"{alice.server}mine/")).text
        answer = await alice.browser.call("GET", f"{alice.server}late/")
        assert (answer.status_code, OTHERS in answer.text) == (403, True)


async def test_nothing_is_handed_on_where_the_cluster_does_not_allow_it(person, cluster_file):
    cluster_file(proxy=False)
    alice = await person()
    await alice.start()
    port = await program(alice)
    for form in FORMS:
        for path in (form.format(port), form.format(port).rstrip("/")):
            status, text = await refused(alice, path)
            assert status == 403
            assert OFF in text
    for path in (
        "/proxy/{}/",
        "//proxy/{}/",
        "proxy//{}/",
        "%70roxy/{}/",
        "proxy%2F{}/",
        "PROXY/{}/",
        "lab/../proxy/{}/",
    ):
        answer = await alice.browser.call("GET", f"{alice.server}{path.format(port)}")
        assert answer.status_code in (403, 404), path
    answer = await alice.browser.call("POST", f"{alice.server}proxy/{port}/")
    assert (answer.status_code, OFF in answer.text) == (403, True)
    async with httpx.AsyncClient(trust_env=False) as nobody:
        answer = await nobody.get(f"{alice.server}proxy/{port}/", headers={"Sec-Fetch-Mode": "cors"})
    assert OFF not in answer.text
