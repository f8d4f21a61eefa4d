"""Where the proxy is led: to a host and port of the cluster file, whatever a node says."""

from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from launcher.clusters import Cluster
from launcher.clusters.address import server_url

NETWORKS = ["10.0.0.0/8", "fd00:7::/32"]
NAMES = ["nid*.hpc.example.org", "gpu*"]


def cluster(addresses, ports=None):
    values = {
        "name": "tiny",
        "firecrest": {"url": "https://firecrest.example.org", "system": "tiny"},
        "home": "/home/{user}",
        "launcher": "/opt/bin/launcher-singleuser",
        "partitions": [{"name": "normal", "time_limit": 480}],
        "node_addresses": addresses,
        "ports": ports,
    }
    return Cluster.model_validate(values)


NUMERIC = cluster(NETWORKS)
NAMED = cluster({"names": NAMES}, ports=[40000, 40100])

TEXT = st.text(max_size=60) | st.text(alphabet="nidgpu0123456789.:-_@/%#?[]\\ \n\tA", max_size=30)
NAME = st.from_regex(r"(nid|gpu|NID)[0-9a-z.-]{0,6}(\.hpc\.example\.org)?[.@/%:]?", fullmatch=True)
# A good beginning or end with something before or behind it.
TRICK = st.sampled_from(["10.0.0.7", "fd00:7::1", "gpu1", "nid1.hpc.example.org"]).flatmap(
    lambda good: st.tuples(TEXT, TEXT).map(lambda around: f"{around[0]}{good}{around[1]}")
)
ADDRESS = st.one_of(
    TEXT, NAME, TRICK, st.ip_addresses().map(str), st.ip_addresses(network=NETWORKS[0]).map(str)
)
PORT = st.integers(-1, 70000) | st.integers(40000, 40100)


def led_to(which, address, port):
    """Return where a URL leads, taken apart again, or None if there is none."""
    try:
        url = server_url(which, address, port)
    except ValueError:
        return None
    parts = urlsplit(url)
    assert url == f"http://{parts.netloc}"
    assert (parts.scheme, parts.username, parts.path, parts.query, parts.fragment) == (
        "http",
        None,
        "",
        "",
        "",
    )
    assert parts.port == port
    return parts.hostname


class TestWhateverANodeSays:
    @given(ADDRESS, PORT)
    @example("fd00:7::1%eth0", 40000)
    @example("::ffff:10.0.0.7", 40000)
    def test_only_addresses_of_the_networks_are_led_to(self, address, port):
        host = led_to(NUMERIC, address, port)
        if host is not None:
            assert any(ip_address(host) in ip_network(network) for network in NETWORKS)
            assert ip_address(host) == ip_address(address)
            assert 1024 <= port <= 65535

    @given(ADDRESS, PORT)
    @example("nid1.hpc.example.org.", 40000)
    @example("GPU1", 40000)
    @example("gpu1@evil", 40000)
    def test_only_names_of_the_patterns_are_led_to(self, address, port):
        host = led_to(NAMED, address, port)
        if host is not None:
            assert host == address
            first, _, domain = host.partition(".")
            assert first.replace("-", "").isalnum()
            assert first.isascii()
            assert (first.startswith("nid") and domain == "hpc.example.org") or (
                first.startswith("gpu") and not domain
            )
            assert 40000 <= port <= 40100


@pytest.mark.parametrize(
    ("address", "url"),
    [("10.0.0.7", "http://10.0.0.7:40000"), ("fd00:7:0::1", "http://[fd00:7::1]:40000")],
)
def test_an_address_of_a_network_makes_a_url(address, url):
    assert server_url(NUMERIC, address, 40000) == url


@pytest.mark.parametrize("name", ["gpu1", "nid001.hpc.example.org"])
def test_a_name_of_a_pattern_makes_a_url(name):
    assert server_url(NAMED, name, 40000) == f"http://{name}:40000"


@pytest.mark.parametrize(("which", "address"), [(NUMERIC, "10.0.0.7"), (NAMED, "gpu1")])
def test_a_server_with_a_certificate_is_asked_for_it(which, address):
    assert server_url(which, address, 40000, tls=True) == f"https://{address}:40000"


@pytest.mark.parametrize("address", ["10.0.0.7", "fd00:7::1", "127.0.0.1", "localhost", "evil.example"])
def test_where_servers_have_names_neither_addresses_nor_other_names_are_taken(address):
    with pytest.raises(ValueError, match="is not the name of a compute node of tiny"):
        server_url(NAMED, address, 40000)


@pytest.mark.parametrize("address", ["gpu1", "nid001.hpc.example.org", "localhost", "10.0.0.07", ""])
def test_where_servers_have_addresses_no_name_is_taken(address):
    with pytest.raises(ValueError, match="is not a numeric address"):
        server_url(NUMERIC, address, 40000)


@pytest.mark.parametrize("pattern", ["*", "**", "*-*", "*.*"])
def test_a_pattern_that_allows_every_name_is_no_pattern(pattern):
    with pytest.raises(ValueError, match="allows every name that the proxy knows"):
        cluster({"names": [pattern]})


@pytest.mark.parametrize("address", ["192.0.2.7", "127.0.0.1", "fd00:8::1", "fd00:7::1%eth0"])
def test_an_address_outside_of_the_networks_is_refused(address):
    with pytest.raises(ValueError, match="is not an address of a compute node of tiny"):
        server_url(NUMERIC, address, 40000)


@pytest.mark.parametrize(("which", "address"), [(NUMERIC, "10.0.0.7"), (NAMED, "gpu1")])
@pytest.mark.parametrize("port", [-1, 0, 80, 1023, 65536])
def test_a_port_that_no_server_may_have_is_refused(which, address, port):
    with pytest.raises(ValueError, match="Port"):
        server_url(which, address, port)


@pytest.mark.parametrize("port", [39999, 40101])
def test_a_port_outside_of_the_range_is_refused(port):
    with pytest.raises(ValueError, match="is not between 40000 and 40100"):
        server_url(NAMED, "gpu1", port)
