"""Where a server is, from what a node says: user code could say anything."""

from __future__ import annotations

from ipaddress import ip_address

from launcher.clusters import Cluster


def server_url(cluster: Cluster, address: str, port: int) -> str:
    """Return the URL of a server on a compute node.

    Args:
        cluster: Names the networks and ports where a server may be.
        address: Numeric address.
        port: TCP port.

    Raises:
        ValueError: If no server can be there; the proxy must not be led elsewhere.
    """
    try:
        where = ip_address(address)
    except ValueError:
        raise ValueError(f"{address} is not a numeric address.") from None
    if not any(where in network for network in cluster.node_addresses):
        raise ValueError(f"{where} is not an address of a compute node of {cluster.name}.")
    low, high = cluster.ports or (1024, 65535)
    if not low <= port <= high:
        raise ValueError(f"Port {port} is not between {low} and {high}.")
    return f"http://[{where}]:{port}" if where.version == 6 else f"http://{where}:{port}"
