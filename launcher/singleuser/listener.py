"""The server's socket: bound once, on an address where the hub may look for it, and kept."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import struct
from array import array
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from launcher.errors import NoPort
from launcher.node_name import fits
from launcher.protocol import MAX_HOSTS

_SIOCGIFCONF = 0x8912
"""Linux's request for all IPv4 addresses: netdevice(7)."""

_CONFIGURATION = struct.Struct("@iP")
"""What it takes, `struct ifconf`: length and address of a buffer, or two zeros to be told the length."""

_ENTRY = struct.Struct("@16s4x4s16x")
"""What it writes there, `struct ifreq`: a label, such as `eth0` or its alias `eth0:1`, and an address."""

_LINK_LOCAL = "20"
"""The scope of an address in /proc/net/if_inet6 that no other network reaches."""


class Listener(NamedTuple):
    """A bound socket that listens from the moment JupyterLab takes it.

    Attributes:
        socket: The socket.
        address: Where the hub finds it: the numeric address that it is bound to, or the node's name.
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
    def open(
        cls, *, networks: list[str], names: list[str], interface: str, ports: tuple[int, int] | None
    ) -> Listener:
        """Bind a socket to this node's address.

        Args:
            networks: Networks (CIDR) in order of preference; the address lies in one of them.
            names: Patterns of the names of nodes; where there are any, the hub is told this node's name.
            interface: The network interface whose address is taken; empty for any, with names for the one
                that this node's name stands for.
            ports: First and last port, tried in random order; None leaves the choice to the kernel.

        Raises:
            NoPort: If this node has no such address or name, or every port is taken.
        """
        addresses = _addresses(interface)
        if interface and not addresses:
            raise _misfit("interface", f"This node has no network interface {interface} with an address.")
        if names:
            told = _own_name(names)
            address = addresses[0] if interface else _resolved(told)
        else:
            told = address = _first_in(networks, addresses, interface)
        low, high = ports or (0, 0)
        candidates = list(range(low, high + 1))
        random.shuffle(candidates)
        for port in candidates:
            bound = _bind(address, port)
            if bound:
                return cls(bound, told, bound.getsockname()[1])
        raise NoPort(
            f"All ports from {low} to {high} are taken on this node."
            if ports
            else f"Nothing can listen on {address}.",
            todo="Press Start again to get another node, or tell the site's support.",
        )

    @classmethod
    def at(cls, host: str, port: int) -> Listener:
        """Bind a socket to what the hub has said.

        Args:
            host: A name or a numeric address; empty for all interfaces.
            port: A port, or 0 for any free one.

        Raises:
            NoPort: If there is no such address, or the port is taken.
        """
        problem: OSError | None = None
        try:
            answers = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError as error:
            answers, problem = [], error
        # Of all interfaces, one for IPv6 takes connections of IPv4, too.
        for family, _, _, _, address in sorted(answers, key=lambda each: -each[0] if not host else 0):
            candidate = socket.socket(family, socket.SOCK_STREAM)
            try:
                if port:
                    # The port's last server may have ended a moment ago.
                    candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    candidate.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                candidate.bind(address)
            except OSError as error:
                candidate.close()
                problem = error
            else:
                return cls(candidate, host, candidate.getsockname()[1])
        raise NoPort(
            f"Nothing can listen on {host or 'this node'}{f', port {port}' if port else ''}.",
            why=f"{problem.strerror or problem}." if problem else "",
            todo="Start the server again, or tell the site's support: the hub has said where to listen.",
        )


def hosts() -> list[str]:
    """Return this node's names, as far as they are known without a resolver, and its numeric addresses."""
    names = (os.uname().nodename, os.environ.get("SLURMD_NODENAME", ""))
    return list(dict.fromkeys([*filter(None, map(str.lower, names)), *_addresses("")]))[:MAX_HOSTS]


def _misfit(key: str, what: str, why: str = "") -> NoPort:
    """Return the error of a node that the cluster file does not describe."""
    return NoPort(
        what,
        why=why,
        todo=f"Tell the site's support: node_addresses.{key} of the cluster file does not fit this node.",
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


def _first_in(networks: list[str], addresses: list[str], interface: str) -> str:
    """Return the address that lies in the first network that has one."""
    for network in map(ip_network, networks):
        for address in addresses:
            if ip_address(address) in network:
                return address
    where = f"{', '.join(networks)}{f' on its interface {interface}' if interface else ''}"
    raise _misfit("networks", f"This node has no address in {where}.")


def _own_name(patterns: list[str]) -> str:
    """Return the first of this node's names that fits a pattern."""
    tried: dict[str, None] = {}
    for name in _own_names():
        if fits(name, patterns):
            return name
        tried[name] = None
    raise _misfit("names", f"This node is called {', '.join(tried)}: none fits {', '.join(patterns)}.")


def _own_names() -> Iterator[str]:
    """Yield what this node is called; only for the last, its full name, the resolver is asked."""
    node = os.uname().nodename.lower()
    yield node
    yield node.partition(".")[0]
    if slurm := os.environ.get("SLURMD_NODENAME", "").lower():
        yield slurm
    try:
        answers = socket.getaddrinfo(node, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
    except OSError:
        return
    yield answers[0][3].lower()


def _resolved(name: str) -> str:
    """Return the address that this node's name stands for, if others can reach it."""
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _misfit(
            "interface", f"This node does not know the address of its own name {name}.", str(error)
        ) from None
    addresses = [str(answer[4][0]) for answer in answers]
    for address in addresses:
        if not ip_address(address.partition("%")[0]).is_loopback:
            return address
    raise _misfit(
        "interface",
        f"On this node its own name {name} stands for {addresses[0]}, which no other machine reaches.",
        "Where names mean something else on the nodes themselves, the interface must be given.",
    )


def _addresses(interface: str) -> list[str]:
    """Return the IPv4 addresses of this node, then its IPv6 addresses; or those of one interface."""
    found = []
    for label, address in _labelled():
        if interface in ("", label, label.partition(":")[0]):
            found.append(socket.inet_ntoa(address))
    try:
        with open("/proc/net/if_inet6", encoding="utf-8") as table:
            for digits, _, _, scope, _, name in map(str.split, table):
                if scope != _LINK_LOCAL and interface in ("", name):
                    found.append(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits)))
    except OSError:
        pass
    return found


def _labelled() -> list[tuple[str, bytes]]:
    """Return this node's IPv4 addresses, each with its label."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:

        def ask(size: int, address: int) -> int:
            answer = fcntl.ioctl(asker.fileno(), _SIOCGIFCONF, _CONFIGURATION.pack(size, address))
            return int(_CONFIGURATION.unpack(answer)[0])

        try:
            entries = array("B", bytes(ask(0, 0)))
            told = ask(len(entries), entries.buffer_info()[0])
        except OSError:
            return []
    return [
        (label.partition(b"\0")[0].decode(errors="replace"), address)
        for label, address in _ENTRY.iter_unpack(entries[:told])
    ]
