"""`/proxy/<port>`, with a real hub, proxy and JupyterLab, to programs of its user and of somebody else."""

from __future__ import annotations

import contextlib
import json
import os

import httpx
import pytest
from listener import STOLEN, listening
from named_servers import KINDS, named_servers
from support import missing, taken_port

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

sockets = bind_sockets(%d, %r)
HTTPServer(Application([(".*/socket", Socket), (".*", Echo)], xsrf_cookies=False)).add_sockets(sockets)
print(sockets[0].getsockname()[1])
"""

# Sends back what it gets.
ECHO = """
import socket
server = socket.create_server(("127.0.0.1", %d))
while True:
    peer, _ = server.accept()
    while said := peer.recv(100):
        peer.sendall(said)
"""


@contextlib.contextmanager
def stranger(site, account, port=0):
    """Yield the port of a program of another unix user, which must get nothing that is the user's."""
    if os.geteuid():
        missing("without root there is no second unix user", "run the tests as root")
    with listening(str(site.state / "software/bin/python"), account, port) as listener:
        yield listener.port
        heard = listener.heard()
    assert "Cookie" not in heard
    assert "Authorization" not in heard


def cookies(seen):
    """Return the names of the cookies that a program got."""
    return {each.partition("=")[0].strip() for each in seen["headers"]["Cookie"].split(";")}


async def program(person, at="127.0.0.1"):
    """Have a program of somebody's listen as long as their server runs; return its port."""
    assert (await person.browser.open(f"{person.server}lab")).status == 200
    kernel = await Kernel.start(person.browser, person.server)
    try:
        return int(await kernel.run(PROGRAM % (0, at)))
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
        assert cookies(seen) == {"mine", "_xsrf"}
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


async def test_named_servers_get_what_is_theirs_with_proxy_or_without(site, person, cluster_file):
    cluster_file(proxy=False)
    alice = await person()
    python = str(site.state / "software/bin/python")
    with taken_port() as web, taken_port() as raw:
        pass  # free in a moment
    listens = PROGRAM % (web, "127.0.0.1") + "from tornado.ioloop import IOLoop\nIOLoop.current().start()"
    # The command is a template.
    listens = listens.replace("{", "{{").replace("}", "}}")
    servers = {
        "web": {"command": [python, "-c", listens], "port": web},
        "web-too": {"port": web},
        "raw": {"command": [python, "-c", ECHO % raw], "port": raw, "raw_socket_proxy": True},
        "raw-too": {"port": raw, "raw_socket_proxy": True},
    }
    with named_servers(site.accounts[alice.name], servers):
        await alice.start()
    await alice.browser.open(f"{alice.server}lab")
    await asked(alice, "web/")
    for name in ("web", "web-too"):
        socket = await alice.browser.connect(f"{alice.server}{name}/socket")
        for seen in (await asked(alice, f"{name}/"), json.loads(await socket.read_message())):
            assert cookies(seen) == {"mine", "_xsrf"}
        socket.close()
    for name in ("raw", "raw-too"):
        socket = await alice.browser.connect(f"{alice.server}{name}/")
        await socket.write_message("hello")
        assert await socket.read_message() == b"hello"
        socket.close()


async def test_behind_named_servers_too_another_users_program_is_never_reached(site, person, cluster_file):
    cluster_file(proxy=False)
    alice = await person()
    bob = next(account for account in site.accounts if account.name != alice.name)
    with stranger(site, bob) as port:
        servers = {name: {**kind, "port": port} for name, kind in KINDS.items()}
        with named_servers(site.accounts[alice.name], servers):
            await alice.start()
        await alice.browser.open(f"{alice.server}lab")
        for name in KINDS:
            answer = await alice.browser.call("GET", f"{alice.server}{name}/")
            assert STOLEN not in answer.text
            if "raw" not in name:
                assert (answer.status_code, OTHERS in answer.text) == (403, True)
            socket = await alice.browser.connect(f"{alice.server}{name}/")
            assert await socket.read_message() is None
            socket.close()


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
