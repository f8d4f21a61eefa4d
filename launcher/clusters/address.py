"""Where a server is, from what a node says: user code could say anything."""

from __future__ import annotations

from ipaddress import ip_address

from launcher.clusters import Cluster
from launcher.node_name import fits


def server_url(cluster: Cluster, address: str, port: int, *, tls: bool = False) -> str:
    """Return the URL of a server on a compute node.

    A name is resolved by the proxy, each time that it connects: who can change what the nodes' names stand
    for can lead it elsewhere. Where that is not only the site itself, networks are the better choice.

    Args:
        cluster: Says where servers may be, networks or names, and on which ports.
        address: Numeric address, or the node's name where the cluster file has names.
        port: TCP port.
        tls: Whether the server has a certificate.

    Raises:
        ValueError: If no server can be there; the proxy must not be led elsewhere.
    """
    host = _name(cluster, address) if cluster.node_addresses.names else _numeric(cluster, address)
    low, high = cluster.ports or (1024, 65535)
    if not low <= port <= high:
        raise ValueError(f"Port {port} is not between {low} and {high}.")
    return f"{'https' if tls else 'http'}://{host}:{port}"


def _name(cluster: Cluster, name: str) -> str:
    if not fits(name, cluster.node_addresses.names):
        raise ValueError(f"{name} is not the name of a compute node of {cluster.name}.")
    return name


def _numeric(cluster: Cluster, address: str) -> str:
    try:
        where = ip_address(address)
    except ValueError:
        raise ValueError(f"{address} is not a numeric address.") from None
    # A scope would be one of the node's own interfaces: it means nothing here.
    if "%" in address or not any(where in network for network in cluster.node_addresses.networks):
        raise ValueError(f"{where} is not an address of a compute node of {cluster.name}.")
    return f"[{where}]" if where.version == 6 else str(where)
