"""Whom this job trusts, and what it proves itself with where all traffic inside the hub is encrypted."""

from __future__ import annotations

import os
import ssl

from launcher.errors import HubUnreachable
from launcher.protocol import Tls

VARIABLES = ("JUPYTERHUB_SSL_KEYFILE", "JUPYTERHUB_SSL_CERTFILE", "JUPYTERHUB_SSL_CLIENT_CA")


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


def trusting(authority: str) -> ssl.SSLContext | None:
    """Return what the hub's public URL is asked with.

    Args:
        authority: Path of certificates (PEM), or empty for those of this system.

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
