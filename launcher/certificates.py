"""Certificates of servers, and what the hub asks them with, where all traffic inside it is encrypted.

That is JupyterHub's `internal_ssl`: hub, proxy and servers prove themselves to each other with certificates
of authorities that the hub made for itself.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from certipy import Certipy  # type: ignore[import-untyped]
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from jupyterhub.spawner import Spawner
from jupyterhub.utils import maybe_future

from launcher.clusters import Cluster
from launcher.node_name import fits
from launcher.protocol import Claim, Tls

_AUTHORITY = "notebooks-ca"
"""JupyterHub's name for the authority of all servers."""

_MARGIN = timedelta(days=1)
"""Clocks differ; and a session that is over has an end of its own."""

_MAX_NAME = 64
"""A common name is no longer: RFC 5280, ub-common-name."""

_General = x509.DNSName | x509.IPAddress

# The hub has other work for its threads, too, when fifty launches begin at once.
_one_at_a_time = asyncio.Semaphore(1)


async def make(spawner: Spawner, claim: Claim, cluster: Cluster) -> Tls:
    """Return a new key and certificate for the server of a job.

    Neither is kept here: a repeated claim gets others, which are as good.

    Args:
        spawner: The server's spawner. Its `ssl_alt_names` must hold the hub's public name: the proxy looks
            for the name that the browser asked for, not for the node's.
        claim: Says what the node is called.
        cluster: Says which of its names and addresses count.
    """
    given = spawner.ssl_alt_names
    given = await maybe_future(given(spawner)) if callable(given) else given
    local = ("DNS:localhost", "IP:127.0.0.1") if spawner.ssl_alt_names_include_local else ()
    names = {*map(_alternative, [*given, *local]), *_node_names(claim, cluster)}
    # Here, not in the thread: JupyterHub writes the store in the event loop.
    authority = _authority(spawner.internal_certs_location)
    lifetime = timedelta(minutes=max(partition.time_limit for partition in cluster.partitions))
    async with _one_at_a_time:
        key, certificate = await asyncio.to_thread(
            _signed, authority, f"user-{spawner.user.name}", names, lifetime
        )
        trusted = await asyncio.to_thread(Path(spawner.internal_trust_bundles[_AUTHORITY]).read_text)
    return Tls(key, certificate, trusted)


def client_context(settings: Mapping[str, Any]) -> ssl.SSLContext | None:
    """Return what the hub asks servers with: its own certificate, and trust in those of servers.

    Args:
        settings: The hub's settings.

    Returns:
        None without `internal_ssl`.
    """
    if not settings.get("internal_ssl"):
        return None
    return _client_context(*(settings[f"internal_ssl_{file}"] for file in ("key", "cert", "ca")))


@cache
def _client_context(key: str, certificate: str, authorities: str) -> ssl.SSLContext:
    # JupyterHub's own would trust the system's authorities, too.
    context = ssl.create_default_context(cafile=authorities)
    context.load_cert_chain(certificate, key)
    return context


def _node_names(claim: Claim, cluster: Cluster) -> Iterator[_General]:
    """Yield by what the cluster file's `node_addresses` let the hub find this node: it could say anything."""
    where = cluster.node_addresses
    domains = {pattern.partition(".")[2] for pattern in where.names}
    for host in {claim.node.lower(), *claim.hosts}:
        try:
            address = ip_address(host)
        except ValueError:
            # A node may not know its full name before it asks a resolver.
            full = {f"{host.partition('.')[0]}.{domain}" for domain in domains if domain}
            yield from (x509.DNSName(name) for name in {host, *full} if fits(name, where.names))
        else:
            if any(address in network for network in where.networks):
                yield x509.IPAddress(address)


def _alternative(text: str) -> _General:
    """Return a name of JupyterHub's `ssl_alt_names`, such as `DNS:hub.example.org`."""
    kind, _, name = text.partition(":")
    if kind not in ("DNS", "IP"):
        raise ValueError(f"ssl_alt_names: {text} begins with neither DNS: nor IP:")
    return x509.DNSName(name) if kind == "DNS" else x509.IPAddress(ip_address(name))


@cache
def _authority(location: str) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    files = Certipy(store_dir=location).store.get_files(_AUTHORITY)
    return files.cert.load(), files.key.load()


def _signed(
    authority: tuple[x509.Certificate, rsa.RSAPrivateKey],
    name: str,
    names: Iterable[_General],
    lifetime: timedelta,
) -> tuple[str, str]:
    """Return a new key and its certificate (PEM)."""
    issuer, signing_key = authority
    # Unlike RSA's, which would keep the hub from its other work, such a key is made in no time.
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    public: Any = issuer.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_MAX_NAME])]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _MARGIN)
        .not_valid_after(now + lifetime + _MARGIN)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(signing_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private.decode(), certificate.public_bytes(pem).decode()
