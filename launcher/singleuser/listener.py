"""The server's socket: bound once, on an address where the hub may look for it, and kept."""

from __future__ import annotations

import fcntl
import random
import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from launcher.errors import NoPort

_SIOCGIFADDR = 0x8915
"""Linux's request for an interface's IPv4 address: netdevice(7)."""


@dataclass(frozen=True)
class Listener:
    """A bound socket that listens from the moment JupyterLab takes it.

    Attributes:
        socket: The socket.
        address: The numeric address it is bound to.
        port: Its port.
    """

    socket: socket.socket
    address: str
    port: int

    @property
    def host(self) -> str:
        """The address as it stands in a URL."""
        return f"[{self.address}]" if ":" in self.address else self.address

    @classmethod
    def open(cls, networks: list[str], ports: tuple[int, int] | None) -> Listener:
        """Bind a socket to this node's address in one of the networks.

        Args:
            networks: Networks (CIDR) in order of preference.
            ports: First and last port, tried in random order; None leaves the choice to the kernel.

        Raises:
            NoPort: If no address of this node lies there, or every port is taken.
        """
        address = _address_in(networks)
        if address is None:
            raise NoPort(
                f"This node has no address in {', '.join(networks)}.",
                todo="Tell the site's support: node_addresses of the cluster file does not fit this node.",
            )
        low, high = ports or (0, 0)
        candidates = list(range(low, high + 1))
        random.shuffle(candidates)
        for port in candidates:
            bound = _bind(address, port)
            if bound:
                return cls(bound, address, bound.getsockname()[1])
        raise NoPort(
            f"All ports from {low} to {high} are taken on this node."
            if ports
            else f"Nothing can listen on {address}.",
            todo="Press Start again to get another node, or tell the site's support.",
        )


def _bind(address: str, port: int) -> socket.socket | None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    candidate = socket.socket(family, socket.SOCK_STREAM)
    try:
        candidate.bind((address, port))
    except OSError:
        candidate.close()
        return None
    return candidate


def _address_in(networks: list[str]) -> str | None:
    """Return an address of this node that lies in the first network that has one."""
    addresses = _addresses()
    for network in map(ip_network, networks):
        for address in addresses:
            if ip_address(address) in network:
                return address
    return None


def _addresses() -> list[str]:
    """Return the IPv4 address of each interface of this node, and all IPv6 addresses."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(asker.fileno(), _SIOCGIFADDR, request)
            except OSError:
                continue
            found.append(socket.inet_ntoa(answer[20:24]))
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as table:
            found += [socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line[:32])) for line in table]
    except OSError:
        pass
    return found
