"""The server's socket: on an address where the hub looks for it, and ours from the first moment on."""

import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
from support import program

from launcher.errors import NoPort
from launcher.singleuser import listener as module
from launcher.singleuser.listener import Listener, hosts

HERE = ["127.0.0.0/8"]


@pytest.fixture
def opened():
    """Return a function that opens a listener, closed at the end."""
    listeners = []

    def open_listener(networks=(), ports=None, names=(), interface=""):
        listeners.append(
            Listener.open(networks=[*networks], names=[*names], interface=interface, ports=ports)
        )
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


def test_a_range_that_is_used_up_is_told_with_what_to_do(opened, taken_beside_free):
    with pytest.raises(NoPort) as error:
        opened(HERE, (taken_beside_free, taken_beside_free))
    assert str(error.value) == (
        f"All ports from {taken_beside_free} to {taken_beside_free} are taken on this node.\n"
        "Press Start again to get another node, or tell the site's support."
    )


@pytest.mark.parametrize("networks", [["240.0.0.0/24"], ["240.0.0.0/24", "2001:db8::/32"]])
def test_a_node_outside_the_networks_listens_nowhere(opened, networks):
    with pytest.raises(NoPort) as error:
        opened(networks)
    assert error.value.what == f"This node has no address in {', '.join(networks)}."
    assert "node_addresses.networks" in error.value.todo


def test_the_first_network_that_fits_counts(opened, monkeypatch):
    monkeypatch.setattr(module, "_addresses", lambda _: ["127.0.0.1", "127.0.0.2"])
    assert opened(["192.0.2.0/24", "127.0.0.2/32", "127.0.0.0/8"], None).address == "127.0.0.2"


def test_the_addresses_of_this_node_are_found():
    assert "127.0.0.1" in module._addresses("")


def addresses_in_own_network(script, interface):
    """Return what is found after a script has set up a network that only the two of them see."""
    unshare = [program("unshare"), "--net", "--map-root-user"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody have a network of their own")
    code = "import sys\nfrom launcher.singleuser.listener import _addresses\n"
    code += "print(*(each for each in _addresses(sys.argv[1]) if ':' not in each))"
    done = subprocess.run(
        [*unshare, "sh", "-ec", f'{script}\nexec "$@"', "sh", sys.executable, "-c", code, interface],
        env={"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("interface", "found"),
    [
        # The kernel names those last that lie in the network of another one.
        ("", ["127.0.0.1", "10.1.0.7", "10.2.0.7", "10.1.0.8"]),
        ("lo", ["127.0.0.1", "10.1.0.7", "10.2.0.7", "10.1.0.8"]),
        ("lo:1", ["10.2.0.7"]),
        ("l", []),
    ],
)
def test_all_addresses_of_an_interface_are_found_and_those_of_its_aliases(interface, found):
    program("ip")
    script = "ip link set lo up\nip address add 10.1.0.7/24 dev lo\nip address add 10.1.0.8/24 dev lo\n"
    script += "ip address add 10.2.0.7/24 dev lo label lo:1"
    assert addresses_in_own_network(script, interface) == found


def test_a_node_without_a_network_has_no_address():
    assert addresses_in_own_network("", "") == []


def table_of_ipv6(monkeypatch, tmp_path, *rows):
    """Let the kernel's table of IPv6 addresses be these rows: address, scope and interface."""
    path = tmp_path / "if_inet6"
    path.write_text(
        "".join(
            f"{socket.inet_pton(socket.AF_INET6, address).hex()} 02 40 {scope} 80 {interface:>8}\n"
            for address, scope, interface in rows
        )
    )
    real = open
    monkeypatch.setattr("builtins.open", lambda _, **options: real(path, **options))


def test_a_node_without_ipv6_is_none_the_worse(monkeypatch):
    def no_table(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", no_table)
    assert "127.0.0.1" in module._addresses("")


def test_an_ipv6_address_stands_in_brackets_in_a_url():
    with socket.socket() as any_socket:
        assert Listener(any_socket, "fd00::7", 40000).host == "[fd00::7]"
        assert Listener(any_socket, "10.0.0.7", 40000).host == "10.0.0.7"
        assert Listener(any_socket, "nid001.example.org", 40000).host == "nid001.example.org"


class TestInterface:
    def test_its_address_is_taken(self, opened):
        assert opened(HERE, interface="lo").address == "127.0.0.1"

    def test_ipv4_comes_first(self, monkeypatch, tmp_path):
        table_of_ipv6(monkeypatch, tmp_path, ("fd00::7", "00", "lo"))
        assert module._addresses("lo") == ["127.0.0.1", "fd00::7"]

    def test_without_ipv4_its_global_ipv6_address_is_taken(self, monkeypatch, tmp_path):
        table_of_ipv6(
            monkeypatch,
            tmp_path,
            ("fd00::1", "00", "eth9"),
            ("fe80::7", "20", "hsn9"),
            ("fd00::7", "00", "hsn9"),
        )
        assert module._addresses("hsn9") == ["fd00::7"]

    def test_one_that_is_not_there_is_told_with_its_key(self, opened):
        with pytest.raises(NoPort) as error:
            opened(HERE, interface="hsn9")
        assert error.value.what == "This node has no network interface hsn9 with an address."
        assert "node_addresses.interface of the cluster file" in error.value.todo

    def test_one_whose_addresses_are_outside_of_the_networks_is_told(self, opened):
        with pytest.raises(NoPort) as error:
            opened(["192.0.2.0/30", "240.0.0.0/24"], interface="lo")
        assert (
            error.value.what == "This node has no address in 192.0.2.0/30, 240.0.0.0/24 on its interface lo."
        )


class TestName:
    @pytest.fixture(autouse=True)
    def node(self, monkeypatch):
        """A node whose names and addresses are known; what its resolver is asked is kept."""
        monkeypatch.setattr(module.os, "uname", lambda: SimpleNamespace(nodename="Nid001"))
        monkeypatch.setenv("SLURMD_NODENAME", "x1000c0")
        self.asked = []
        self.known = {"nid001": ("nid001.hpc.example.org", "127.0.0.1")}
        monkeypatch.setattr(module.socket, "getaddrinfo", self.resolve)

    def resolve(self, name, *_, **__):
        self.asked.append(name)
        if name not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        full, *addresses = self.known[name]
        return [(None, None, 0, full, (address, 0)) for address in addresses]

    @pytest.mark.parametrize(
        ("patterns", "name"),
        [
            (["nid*"], "nid001"),
            (["login*", "nid*"], "nid001"),
            (["x*c*"], "x1000c0"),
            (["*.hpc.example.org"], "nid001.hpc.example.org"),
        ],
    )
    def test_the_hub_is_told_the_one_that_fits(self, opened, patterns, name):
        listener = opened(names=patterns, interface="lo")
        assert listener.address == name
        assert listener.socket.getsockname()[0] == "127.0.0.1"

    def test_the_resolver_is_left_alone_where_it_is_not_needed(self, opened):
        opened(names=["nid*"], interface="lo")
        assert self.asked == []

    def test_a_full_name_may_be_told_by_its_first_part(self, opened, monkeypatch):
        monkeypatch.setattr(module.os, "uname", lambda: SimpleNamespace(nodename="nid001.cluster.local"))
        assert opened(names=["nid*"], interface="lo").address == "nid001"

    def test_a_node_that_is_called_otherwise_is_told_what_it_is_called(self, opened):
        with pytest.raises(NoPort) as error:
            opened(names=["login*", "nid*.example.com"])
        assert error.value.what == (
            "This node is called nid001, x1000c0, nid001.hpc.example.org: none fits login*, nid*.example.com."
        )
        assert "node_addresses.names of the cluster file" in error.value.todo

    def test_without_a_resolver_the_other_names_are_told(self, opened):
        self.known = {}
        with pytest.raises(NoPort, match=r"called nid001, x1000c0: none"):
            opened(names=["login*"])

    def test_without_an_interface_the_names_own_address_is_taken(self, monkeypatch):
        bound = []
        monkeypatch.setattr(module, "_bind", lambda address, _: bound.append(address))
        self.known["nid001"] = ("nid001", "127.0.1.1", "192.0.2.7", "fd00::7")
        with pytest.raises(NoPort, match=r"Nothing can listen on 192\.0\.2\.7"):
            Listener.open(networks=[], names=["nid*"], interface="", ports=None)
        assert bound == ["192.0.2.7"]

    @pytest.mark.parametrize("addresses", [["127.0.1.1"], ["::1", "127.0.0.1"]])
    def test_an_address_that_nobody_else_reaches_is_told(self, opened, addresses):
        self.known["nid001"] = ("nid001", *addresses)
        with pytest.raises(NoPort) as error:
            opened(names=["nid*"])
        assert error.value.what == (
            f"On this node its own name nid001 stands for {addresses[0]}, which no other machine reaches."
        )
        assert "node_addresses.interface of the cluster file" in error.value.todo

    def test_a_name_without_an_address_is_told(self, opened):
        self.known = {}
        with pytest.raises(NoPort, match="does not know the address of its own name nid001") as error:
            opened(names=["nid*"])
        assert "Name or service not known" in error.value.why


class TestHosts:
    """What a node may be found by, told to the hub before it has said what counts."""

    def test_they_are_its_names_and_addresses(self, monkeypatch):
        monkeypatch.setenv("SLURMD_NODENAME", "NID001")
        names = (module.os.uname().nodename.lower(), "nid001")
        told = hosts()
        assert set(names) <= set(told)
        assert "127.0.0.1" in told

    def test_whatever_a_listener_takes_is_among_them(self, opened):
        assert opened(HERE).address in hosts()

    def test_no_resolver_is_asked(self, monkeypatch):
        monkeypatch.setattr(module.socket, "getaddrinfo", None)
        assert hosts()

    def test_of_a_node_with_many_addresses_as_many_as_a_claim_takes(self, monkeypatch):
        monkeypatch.setattr(module, "_addresses", lambda _: [f"10.0.0.{i}" for i in range(200)])
        assert len(hosts()) == 40
