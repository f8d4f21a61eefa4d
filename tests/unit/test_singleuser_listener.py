"""The server's socket: on an address where the hub looks for it, and ours from the first moment on."""

import socket

import pytest

from launcher.errors import NoPort
from launcher.singleuser import listener as module
from launcher.singleuser.listener import Listener

HERE = ["127.0.0.0/8"]


@pytest.fixture
def opened():
    """Return a function that opens a listener, closed at the end."""
    listeners = []

    def open_listener(networks, ports):
        listeners.append(Listener.open(networks, ports))
        return listeners[-1]

    yield open_listener
    for each in listeners:
        each.socket.close()


@pytest.fixture
def taken_beside_free():
    """Yield a port that somebody holds; the next one is free."""
    while True:
        with socket.socket() as taken, socket.socket() as free:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            try:
                free.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            free.close()
            yield port
            return


def connects(listener):
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex((listener.address, listener.port)) == 0


def test_it_is_bound_to_an_address_of_this_node_in_the_network(opened):
    listener = opened(HERE, None)
    assert listener.address == "127.0.0.1"
    assert listener.socket.getsockname() == (listener.address, listener.port)


def test_without_a_range_the_kernel_chooses_a_port(opened):
    assert opened(HERE, None).port >= 1024


def test_two_listeners_of_a_node_never_share_a_port(opened):
    assert len({opened(HERE, None).port for _ in range(5)}) == 5


def test_no_one_is_let_in_before_the_server_listens(opened):
    listener = opened(HERE, None)
    assert not connects(listener)
    listener.socket.listen()
    assert connects(listener)


def test_no_one_else_can_take_the_port_meanwhile(opened):
    listener = opened(HERE, None)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((listener.address, listener.port))


def test_a_port_of_the_range_is_taken(opened, taken_beside_free):
    assert opened(HERE, (taken_beside_free + 1, taken_beside_free + 1)).port == taken_beside_free + 1


def test_a_taken_port_is_passed_over(opened, taken_beside_free):
    assert opened(HERE, (taken_beside_free, taken_beside_free + 1)).port == taken_beside_free + 1


def test_a_range_that_is_used_up_is_told_with_what_to_do(taken_beside_free):
    with pytest.raises(NoPort) as error:
        Listener.open(HERE, (taken_beside_free, taken_beside_free))
    assert str(error.value) == (
        f"All ports from {taken_beside_free} to {taken_beside_free} are taken on this node.\n"
        "Press Start again to get another node, or tell the site's support."
    )


@pytest.mark.parametrize("networks", [["240.0.0.0/24"], ["240.0.0.0/24", "2001:db8::/32"]])
def test_a_node_outside_the_networks_listens_nowhere(networks):
    with pytest.raises(NoPort) as error:
        Listener.open(networks, None)
    assert error.value.what == f"This node has no address in {', '.join(networks)}."
    assert "node_addresses" in error.value.todo


def test_the_first_network_that_fits_counts(opened, monkeypatch):
    monkeypatch.setattr(module, "_addresses", lambda: ["127.0.0.1", "127.0.0.2"])
    assert opened(["192.0.2.0/24", "127.0.0.2/32", "127.0.0.0/8"], None).address == "127.0.0.2"


def test_the_addresses_of_this_node_are_found():
    assert "127.0.0.1" in module._addresses()


def test_a_node_without_ipv6_is_none_the_worse(monkeypatch):
    def no_table(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", no_table)
    assert "127.0.0.1" in module._addresses()


def test_an_ipv6_address_stands_in_brackets_in_a_url():
    with socket.socket() as any_socket:
        assert Listener(any_socket, "fd00::7", 40000).host == "[fd00::7]"
        assert Listener(any_socket, "10.0.0.7", 40000).host == "10.0.0.7"
