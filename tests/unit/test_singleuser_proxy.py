"""Whose a port of a node is, and what jupyter-server-proxy may tell the programs behind it."""

import asyncio
import os
import socket
import sys
import types
from ipaddress import ip_address

import jupyter_server_proxy
import pytest
from jupyter_server_proxy import config, handlers
from tornado.httputil import HTTPHeaders
from tornado.web import HTTPError

from launcher.singleuser import proxy

OWN, OTHER = os.getuid(), os.getuid() + 1


def listen(address):
    """Return a socket that listens on a free port of an address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.bind((address, 0))
    except OSError:
        listener.close()
        pytest.skip(f"this machine has no {address}")
    listener.listen()
    return listener


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::1", "[::1]"),
        ("::", "[::1]"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
    ],
)
def test_a_program_of_the_user_is_found_wherever_it_listens(monkeypatch, address, reached):
    with listen(address) as listener:
        port = str(listener.getsockname()[1])
        assert proxy.own_address(port) == reached
        monkeypatch.setattr(os, "getuid", lambda: OTHER)
        with pytest.raises(HTTPError, match="another user's program"):
            proxy.own_address(port)


def test_who_only_connects_does_not_listen():
    with listen("127.0.0.1") as listener, socket.create_connection(listener.getsockname()) as client:
        port = str(client.getsockname()[1])
        with pytest.raises(HTTPError, match="No program of yours listens"):
            proxy.own_address(port)


@pytest.mark.parametrize(
    ("listeners", "ipv6", "reached"),
    [
        ({"127.0.0.1": OTHER, "::1": OWN}, True, "[::1]"),
        ({"127.0.0.1": OWN, "::1": OTHER}, True, "127.0.0.1"),
        ({"0.0.0.0": OTHER, "::": OWN}, True, "[::1]"),
        ({"0.0.0.0": OTHER, "::": OWN}, False, "another user's"),
        ({"::": OWN}, False, "127.0.0.1"),
        ({"127.0.0.1": OWN, "0.0.0.0": OTHER}, True, "another user's"),
        ({"10.0.0.1": OWN, "127.0.0.1": OTHER}, True, "another user's"),
        ({"10.0.0.1": OWN}, True, "No program of yours"),
        ({"127.0.0.2": OTHER}, True, "No program of yours"),
    ],
)
def test_of_several_the_one_counts_that_is_connected_to(monkeypatch, listeners, ipv6, reached):
    found = [(ip_address(address), uid) for address, uid in listeners.items()]
    monkeypatch.setattr(proxy, "_listeners", lambda port: iter(found))
    monkeypatch.setattr(proxy, "_has_ipv6", lambda: ipv6)
    if " " in reached:
        with pytest.raises(HTTPError, match=reached):
            proxy.own_address("8000")
    else:
        assert proxy.own_address("8000") == reached


@pytest.mark.parametrize("port", ["0", "65536", "9" * 5000, "08000"])
def test_what_is_no_port_is_nobodys(port):
    with pytest.raises(HTTPError, match="No program of yours listens"):
        proxy.own_address(port)


@pytest.mark.parametrize(
    ("sent", "handed_on"),
    [
        ("jupyterhub-user-alice=1", None),
        (
            "__Host-jupyterhub-user-alice=1; jupyterhub-session-id=2;jupyterhub-user-alice-oauth-state-x=3",
            None,
        ),
        ("mine=1; jupyterhub-session-id=2; _xsrf=3", "mine=1; _xsrf=3"),
        ("jupyterhub-user-alice=1; mine=jupyterhub-user-alice", "mine=jupyterhub-user-alice"),
        (None, None),
    ],
)
def test_a_program_gets_its_own_cookies(sent, handed_on):
    headers = HTTPHeaders({"Cookie": sent} if sent else {})
    proxy._Own._keep_cookies(types.SimpleNamespace(request=types.SimpleNamespace(headers=headers)))
    assert headers.get("Cookie") == handed_on


@pytest.mark.parametrize(
    ("query", "authorization", "handed_on"),
    [
        ("", "token hub", ("", None)),
        ("a=1", "bearer  hub", ("a=1", None)),
        ("a=%20&token=hub&b", "Basic theirs", ("a=%20&b", "Basic theirs")),
        ("%74oken=h%75b", "Bearer theirs", ("", "Bearer theirs")),
        ("token=theirs&tokens=hub", "token hub", ("token=theirs&tokens=hub", None)),
    ],
)
def test_a_program_gets_its_own_tokens(query, authorization, handed_on):
    request = types.SimpleNamespace(query=query, headers=HTTPHeaders({"Authorization": authorization}))
    proxy._Own._keep_token(types.SimpleNamespace(request=request), "hub")
    assert (request.query, request.headers.get("Authorization")) == handed_on


NAMED = {
    "a port": {"port": 8000},
    "a port of raw bytes": {"port": 8000, "raw_socket_proxy": True},
    "a command": {"command": ["true"]},
    "a command of raw bytes": {"command": ["true"], "raw_socket_proxy": True},
    "a unix socket": {"unix_socket": "/run/socket"},
}


@pytest.fixture
def guard(monkeypatch):
    """The guard, which changes jupyter-server-proxy for one test."""
    monkeypatch.setattr(jupyter_server_proxy, "setup_handlers", handlers.setup_handlers)
    for name, value in list(vars(config).items()):
        if isinstance(value, type):
            monkeypatch.setattr(config, name, value)
    return proxy.guard


@pytest.fixture
def own_address(monkeypatch):
    """Programs of the user are at the ports below 9000."""

    def address(port):
        if int(port) >= 9000:
            raise HTTPError(403, "somebody else's")
        return "[::1]"

    monkeypatch.setattr(proxy, "own_address", address)


class Usual:
    """What a handler of jupyter-server-proxy does by itself."""

    unix_socket = None
    port = 8000

    def __init__(self):
        """Serve nothing."""

    def get_client_uri(self, protocol, host, port, proxied_path):
        return f"{protocol}://{host}:{port}{proxied_path}"

    def _create_ws_connection(self, protocol):
        return f"connected to {self.unix_socket}"

    async def _http_ready_func(self, process):
        transport, _ = await self._create_ws_connection(asyncio.Protocol)
        transport.close()
        return True


class Guarded(proxy._Own, Usual):
    """The same, guarded."""

    __init__ = Usual.__init__


@pytest.mark.parametrize(("allowed", "by"), [(False, proxy._Off), (True, proxy._AnyPort)])
def test_every_address_of_any_port_is_guarded(guard, allowed, by):
    guard(allowed=allowed)
    added = []
    application = types.SimpleNamespace(
        settings={"base_url": "/user/a/"}, add_handlers=lambda host, rules: added.extend(rules)
    )
    jupyter_server_proxy.setup_handlers(application, config.ServerProxy())
    assert len(added) == 4
    assert all(issubclass(handler, by) for _, handler, _ in added)


@pytest.mark.parametrize("server", NAMED.values(), ids=NAMED)
def test_so_is_every_kind_of_named_server(guard, server):
    guard(allowed=False)
    process = config.ServerProcess(name="mine", **server)
    (_, handler, _), _ = config.make_handlers("/user/a/", [process])
    for guarded in ("prepare", "get_client_uri", "_create_ws_connection", "_http_ready_func"):
        assert getattr(handler, guarded) is getattr(proxy._Own, guarded)
    assert not issubclass(handlers.NamedLocalProxyHandler, proxy._Own)


def test_who_is_connected_to_is_the_program_that_was_found(own_address):
    assert Guarded().get_client_uri("ws", "localhost", 80, "/?localhost:80") == "ws://[::1]:80/?localhost:80"
    assert Guarded().get_client_uri("ws", "node2", 80, "/") == "ws://node2:80/"
    with pytest.raises(HTTPError, match="somebody else's"):
        Guarded().get_client_uri("http", "localhost", 9000, "/")


async def test_raw_bytes_go_to_the_program_that_was_found_and_to_nobody_elses(monkeypatch):
    with listen("127.0.0.1") as listener:
        handler = Guarded()
        handler.port = listener.getsockname()[1]
        transport, _ = await handler._create_ws_connection(asyncio.Protocol)
        assert transport.get_extra_info("peername") == listener.getsockname()
        transport.close()
        assert await handler._http_ready_func(None)
        monkeypatch.setattr(os, "getuid", lambda: OTHER)
        with pytest.raises(HTTPError, match="another user's program"):
            handler._create_ws_connection(asyncio.Protocol)
        assert not await handler._http_ready_func(None)


def test_a_unix_socket_is_handed_on_to_if_it_is_the_users(monkeypatch, tmp_path):
    handler = Guarded()
    handler.unix_socket = str(tmp_path / "socket")
    connected = f"connected to {handler.unix_socket}"
    assert handler._create_ws_connection(None) == connected
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(handler.unix_socket)
    assert handler.get_client_uri("http", "localhost", 0, "/") == "http://localhost:0/"
    assert handler._create_ws_connection(None) == connected
    monkeypatch.setattr(os, "getuid", lambda: OTHER)
    with pytest.raises(HTTPError, match="another user's"):
        handler.get_client_uri("http", "localhost", 0, "/")
    with pytest.raises(HTTPError, match="another user's"):
        handler._create_ws_connection(None)


def test_without_jupyter_server_proxy_a_server_starts(monkeypatch):
    monkeypatch.setitem(sys.modules, "jupyter_server_proxy", None)
    proxy.guard(allowed=False)
