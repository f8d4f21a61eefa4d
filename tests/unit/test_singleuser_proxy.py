"""Whose a port of a node is, and what jupyter-server-proxy may tell the programs behind it."""

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
    proxy._AnyPort._keep_cookies(types.SimpleNamespace(request=types.SimpleNamespace(headers=headers)))
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
    proxy._AnyPort._keep_token(types.SimpleNamespace(request=request), "hub")
    assert (request.query, request.headers.get("Authorization")) == handed_on


@pytest.mark.parametrize(("allowed", "by"), [(False, proxy._Off), (True, proxy._AnyPort)])
def test_every_address_of_any_port_is_guarded_and_so_is_what_is_started(monkeypatch, allowed, by):
    monkeypatch.setattr(jupyter_server_proxy, "setup_handlers", handlers.setup_handlers)
    monkeypatch.setattr(config, "SuperviseAndProxyHandler", handlers.SuperviseAndProxyHandler)
    proxy.guard(allowed=allowed)
    added = []
    application = types.SimpleNamespace(
        settings={"base_url": "/user/a/"}, add_handlers=lambda host, rules: added.extend(rules)
    )
    jupyter_server_proxy.setup_handlers(application, config.ServerProxy())
    assert len(added) == 4
    assert all(issubclass(handler, by) for _, handler, _ in added)
    process = config.ServerProcess(name="mine", command=["true"])
    assert issubclass(process.get_proxy_base_class()[0], proxy._OwnPort)
    assert not issubclass(handlers.SuperviseAndProxyHandler, proxy._OwnPort)


def test_a_unix_socket_is_no_port(monkeypatch):
    class Usual:
        unix_socket = "/run/socket"

        def get_client_uri(self, protocol, host, port, proxied_path):
            return f"{protocol}://{host}:{port}{proxied_path}"

    class Guarded(proxy._OwnPort, Usual):
        def __init__(self):
            """Serve nothing."""

    monkeypatch.setattr(proxy, "own_address", lambda port: "[::1]")
    assert Guarded().get_client_uri("http", "localhost", 0, "/") == "http://localhost:0/"
    Guarded.unix_socket = None
    assert Guarded().get_client_uri("ws", "localhost", 80, "/?localhost:80") == "ws://[::1]:80/?localhost:80"
    assert Guarded().get_client_uri("ws", "node2", 80, "/") == "ws://node2:80/"


def test_without_jupyter_server_proxy_a_server_starts(monkeypatch):
    monkeypatch.setitem(sys.modules, "jupyter_server_proxy", None)
    proxy.guard(allowed=False)
