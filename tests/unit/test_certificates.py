"""Certificates of servers: for what the hub may find a node by, and for the hub's own public name."""

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from certipy import Certipy
from cryptography import x509

from launcher import certificates
from launcher.clusters import Cluster
from launcher.protocol import Claim
from launcher.singleuser.tls import Credentials

TRUST = {
    "hub-ca": ["hub-ca", "proxy-client-ca", "notebooks-ca"],
    "notebooks-ca": ["hub-ca", "proxy-client-ca"],
}
NETWORKS = ["10.0.0.0/8", "fd00:7::/32"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The store of a hub, as JupyterHub makes it when it starts."""
    location = str(tmp_path_factory.mktemp("internal-ssl"))
    store = Certipy(store_dir=location)
    bundles = store.trust_from_graph(TRUST)
    pair = store.create_signed_pair("hub-internal", "hub-ca", alt_names=["DNS:localhost"])["files"]
    return SimpleNamespace(location=location, bundles=bundles, key=pair["key"], cert=pair["cert"])


@pytest.fixture
def spawner(made):
    return SimpleNamespace(
        user=SimpleNamespace(name="alice"),
        internal_certs_location=made.location,
        internal_trust_bundles=made.bundles,
        ssl_alt_names=["DNS:hub.example.org"],
        ssl_alt_names_include_local=False,
    )


@pytest.fixture
def as_hub(made):
    return certificates.client_context(
        {
            "internal_ssl": True,
            "internal_ssl_key": made.key,
            "internal_ssl_cert": made.cert,
            "internal_ssl_ca": made.bundles["hub-ca"],
        }
    )


def cluster(addresses):
    values = {
        "name": "tiny",
        "firecrest": {"url": "https://firecrest.example.org", "system": "tiny"},
        "home": "/home/{user}",
        "launcher": "/opt/bin/launcher-singleuser",
        "partitions": [{"name": "debug", "time_limit": 30}, {"name": "normal", "time_limit": 480}],
        "node_addresses": addresses,
    }
    return Cluster.model_validate(values)


def claim(node="nid001", *hosts):
    return Claim("a" * 64, "b" * 64, "42", node, "6.1.1", [*hosts])


def names(tls):
    """Return what a certificate is for."""
    found = read(tls).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in found} - {"hub.example.org"}


def read(tls):
    return x509.load_pem_x509_certificate(tls.certificate.encode())


class TestNames:
    async def test_the_nodes_addresses_in_the_networks_and_no_others(self, spawner):
        told = claim("nid001", "nid001", "10.0.0.7", "192.0.2.7", "127.0.0.1", "fd00:7::1", "fd00:8::1")
        tls = await certificates.make(spawner, told, cluster(NETWORKS))
        assert names(tls) == {"10.0.0.7", "fd00:7::1"}

    async def test_the_nodes_names_that_a_pattern_allows_and_no_others(self, spawner):
        told = claim("nid001", "nid001", "login1", "hub.example.net", "10.0.0.7")
        tls = await certificates.make(spawner, told, cluster({"names": ["nid*", "gpu*"]}))
        assert names(tls) == {"nid001"}

    async def test_a_full_name_that_the_node_itself_may_learn_only_from_a_resolver(self, spawner):
        where = cluster({"names": ["nid*.hpc.example.org", "gpu*.*.example.org"]})
        assert names(await certificates.make(spawner, claim("NID001", "nid001"), where)) == {
            "nid001.hpc.example.org"
        }
        assert names(await certificates.make(spawner, claim("nid001.other.example.net"), where)) == {
            "nid001.hpc.example.org"
        }

    async def test_a_node_that_is_none_of_the_clusters_gets_a_certificate_for_no_node(self, spawner):
        for where in (NETWORKS, {"names": ["nid*"]}):
            assert (
                names(await certificates.make(spawner, claim("evil", "evil", "192.0.2.7"), cluster(where)))
                == set()
            )

    async def test_the_names_that_the_admin_gives_however_they_are_given(self, spawner):
        async def later(of):
            return [f"DNS:{of.user.name}.hub.example.org", "IP:192.0.2.1"]

        spawner.ssl_alt_names = later
        spawner.ssl_alt_names_include_local = True
        tls = await certificates.make(spawner, claim(), cluster(NETWORKS))
        assert names(tls) == {"alice.hub.example.org", "192.0.2.1", "localhost", "127.0.0.1"}

    async def test_an_alternative_name_of_no_known_kind_is_told(self, spawner):
        spawner.ssl_alt_names = ["hub.example.org"]
        with pytest.raises(ValueError, match=r"ssl_alt_names: hub\.example\.org begins with neither"):
            await certificates.make(spawner, claim(), cluster(NETWORKS))


class TestCertificate:
    async def test_it_outlives_every_session_and_clocks_that_differ_but_not_by_years(self, spawner):
        certificate = read(await certificates.make(spawner, claim(), cluster(NETWORKS)))
        now = datetime.now(UTC)
        assert certificate.not_valid_before_utc < now - timedelta(hours=12)
        assert now + timedelta(hours=8 + 12) < certificate.not_valid_after_utc < now + timedelta(days=3)

    async def test_a_repeated_claim_gets_one_that_is_as_good(self, spawner):
        first, second = [
            await certificates.make(spawner, claim("nid001", "10.0.0.7"), cluster(NETWORKS)) for _ in "12"
        ]
        assert names(first) == names(second) == {"10.0.0.7"}
        assert first.key != second.key

    async def test_no_key_of_a_server_is_left_with_the_hub(self, spawner, made):
        def content():
            return {path: path.is_file() and path.read_bytes() for path in Path(made.location).rglob("*")}

        before = content()
        await certificates.make(spawner, claim(), cluster(NETWORKS))
        assert content() == before

    async def test_a_user_whose_name_is_longer_than_a_certificate_takes(self, spawner):
        spawner.user.name = "a" * 200
        assert await certificates.make(spawner, claim(), cluster(NETWORKS))

    async def test_fifty_at_once(self, spawner):
        where = cluster(NETWORKS)
        made = await asyncio.gather(*(certificates.make(spawner, claim(), where) for _ in range(50)))
        assert len({tls.key for tls in made}) == 50


def shaken(server_context, client_context, name):
    """Return what a client gets of a server by TLS."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(into, out, server_side=True)
    client = client_context.wrap_bio(out, into, server_hostname=name)
    for side in (client, server) * 3:
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    server.write(b"hello")
    return client.read()


@pytest.fixture
def listening():
    """Return a function that makes what a node's server listens with."""
    held = []

    def make(tls):
        held.append(Credentials(tls))
        files = held[-1].environment
        context = ssl.create_default_context(
            ssl.Purpose.CLIENT_AUTH, cafile=files["JUPYTERHUB_SSL_CLIENT_CA"]
        )
        context.load_cert_chain(files["JUPYTERHUB_SSL_CERTFILE"], files["JUPYTERHUB_SSL_KEYFILE"])
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    return make


class TestTrust:
    @pytest.mark.parametrize("name", ["10.0.0.7", "hub.example.org"])
    async def test_the_hub_trusts_a_server_by_its_address_and_the_proxy_by_the_hubs_name(
        self, spawner, as_hub, listening, name
    ):
        tls = await certificates.make(spawner, claim("nid001", "10.0.0.7"), cluster(NETWORKS))
        as_hub.verify_flags |= ssl.VERIFY_X509_STRICT  # Python 3.13's default
        assert shaken(listening(tls), as_hub, name) == b"hello"

    @pytest.mark.parametrize("name", ["10.0.0.8", "nid001", "evil.example.org"])
    async def test_a_server_that_a_certificate_is_not_for_is_not_trusted(
        self, spawner, as_hub, listening, name
    ):
        tls = await certificates.make(spawner, claim("nid001", "10.0.0.7"), cluster(NETWORKS))
        with pytest.raises(ssl.SSLCertVerificationError, match=r"mismatch|not valid for"):
            shaken(listening(tls), as_hub, name)

    async def test_a_server_does_not_trust_another(self, spawner, made, listening):
        where = cluster(NETWORKS)
        mine, other = [await certificates.make(spawner, claim("n", "10.0.0.7"), where) for _ in "12"]
        held = Credentials(other)
        as_other = ssl.create_default_context(cafile=made.bundles["hub-ca"])
        as_other.load_cert_chain(
            held.environment["JUPYTERHUB_SSL_CERTFILE"], held.environment["JUPYTERHUB_SSL_KEYFILE"]
        )
        with pytest.raises(ssl.SSLError):
            shaken(listening(mine), as_other, "10.0.0.7")

    def test_without_internal_ssl_there_is_nothing_to_ask_with(self):
        assert certificates.client_context({}) is None
        assert certificates.client_context({"internal_ssl": False}) is None

    def test_authorities_of_this_system_count_for_nothing(self, as_hub, made):
        trusted = {each["subject"][0][0][1] for each in as_hub.get_ca_certs()}
        assert trusted == set(TRUST["hub-ca"])
