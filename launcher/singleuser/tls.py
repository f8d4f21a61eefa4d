"""Whom this job trusts, and what it proves itself with where all traffic inside the hub is encrypted."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping

from launcher.errors import HubUnreachable
from launcher.protocol import Tls

VARIABLES = ("JUPYTERHUB_SSL_KEYFILE", "JUPYTERHUB_SSL_CERTFILE", "JUPYTERHUB_SSL_CLIENT_CA")

_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu
    "/etc/pki/tls/certs/ca-bundle.crt",  # RHEL
    "/etc/ssl/ca-bundle.pem",  # SLES, Cray OS: a link, which leads
    "/var/lib/ca-certificates/ca-bundle.pem",  # to this
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL as well; Fedora drops the one above
    "/etc/ssl/cert.pem",  # Alpine
)
"""Where machines have the certificates of all authorities that they trust, in one file.

Go looks there, too (src/crypto/x509/root_linux.go). Of SUSE's: https://github.com/openSUSE/ca-certificates,
and openssl-truststore.patch of its OpenSSL; of Fedora's:
https://fedoraproject.org/wiki/Changes/dropingOfCertPemFile.
"""

_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
"""The only names that OpenSSL looks for in a directory of certificates: openssl-rehash(1)."""


class Credentials:
    """The server's key and certificate, in files that have no name and end with this process.

    JupyterHub and Tornado take paths, and read them anew for each connection. The paths here lead to this
    process's own open files: to a kernel, which inherits none of them, they mean nothing.

    Args:
        tls: What the hub gave.
    """

    def __init__(self, tls: Tls) -> None:
        self._authority = tls.authority
        self._paths = [
            f"/proc/self/fd/{_nameless(text)}" for text in (tls.key, tls.certificate, tls.authority)
        ]

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which JupyterHub's single-user server finds the files."""
        return dict(zip(VARIABLES, self._paths, strict=True))

    def context(self) -> ssl.SSLContext:
        """Return what this job asks the hub's own port with."""
        context = ssl.create_default_context(cadata=self._authority)
        key, certificate, _ = self._paths
        context.load_cert_chain(certificate, key)
        return context


def machine_authorities(environment: Mapping[str, str], hub_ca: str = "") -> dict[str, str]:
    """Return the variable by which this Python trusts the machine's authorities where it would trust none.

    A Python that was not made for the machine has an OpenSSL that looks where another system's would be.

    Args:
        environment: One that this Python runs in. If it says whom to trust, nothing is added.
        hub_ca: Path of the certificates that the hub's public URL is asked with; they stand in for those of a
            machine that has none.
    """
    if _trusts_any(environment):
        return {}
    found = next((path for path in (*_BUNDLES, hub_ca) if os.access(path, os.R_OK)), None)
    return {"SSL_CERT_FILE": found} if found else {}


def sought_in_vain() -> list[str]:
    """Return the files where authorities' certificates may be, if this process trusts none; else nothing."""
    if _trusts_any(os.environ):
        return []
    return [*dict.fromkeys((ssl.get_default_verify_paths().openssl_cafile, *_BUNDLES))]


def _trusts_any(environment: Mapping[str, str]) -> bool:
    """Tell whether an environment says whom to trust, or this Python's own places hold anybody.

    On RHEL the directory holds files that are not found there, since their names are no hashes.
    """
    if "SSL_CERT_FILE" in environment or "SSL_CERT_DIR" in environment:
        return True
    usual = ssl.get_default_verify_paths()
    if os.access(usual.openssl_cafile, os.R_OK):
        return True
    try:
        with os.scandir(usual.openssl_capath) as entries:
            return any(_HASHED.fullmatch(entry.name) for entry in entries)
    except OSError:
        return False


def trusting(authority: str) -> ssl.SSLContext | None:
    """Return what the hub's public URL is asked with.

    Args:
        authority: Path of certificates (PEM), or empty for those that this process trusts by itself.

    Raises:
        HubUnreachable: If the file holds none.
    """
    if not authority:
        return None
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:  # ssl.SSLError is one
        raise HubUnreachable(
            f"{authority}, the file of certificates that this node is to trust, can't be used here.",
            why=f"{error.strerror or error}.",
            todo="Tell the site's support: hub_ca of the cluster file does not fit this node.",
        ) from None


def _nameless(text: str) -> int:
    """Return an open file in memory, without a name, which nobody who is started by this process inherits."""
    descriptor = os.memfd_create("launcher")
    os.fchmod(descriptor, 0o600)
    os.write(descriptor, text.encode())
    return descriptor
