"""What a sandbox's JupyterHub does otherwise than the demo's, and what that is in its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

Traits = dict[str, dict[str, Any]]
"""Class name → trait → value."""

ROBOT_SCOPES = ("admin:users", "admin:servers", "access:servers", "tokens", "list:users", "read:metrics")


class HubOptions(TypedDict, total=False):
    """Options of a sandbox's JupyterHub; those that are left out are as in the demo.

    Attributes:
        cleanup_servers: Whether a hub that ends stops all servers: true in the demo, false at a site.
        named_servers: Whether people may have more servers than one.
        subdomains: Whether everybody's server has a host name of its own, below `hub.localhost`.
        robot: Whether a program may do what an admin may with users and servers; it has `Hub.api_token`.
        spawner: Traits of the spawner, such as its patience.
        jupyterhub: Traits of JupyterHub itself.
        classes: Traits of other classes, by their names.
        environment: What its process has in its environment besides.
    """

    cleanup_servers: bool
    named_servers: bool
    subdomains: bool
    robot: bool
    spawner: Mapping[str, object]
    jupyterhub: Mapping[str, object]
    classes: Mapping[str, Mapping[str, object]]
    environment: Mapping[str, str]


def traits(options: HubOptions, *, url: str, api_token: str) -> Traits:
    """Return what options are in JupyterHub's configuration.

    Args:
        options: The options.
        url: The hub's public URL.
        api_token: The robot's.
    """
    hub: dict[str, Any] = {}
    if "cleanup_servers" in options:
        hub["cleanup_servers"] = options["cleanup_servers"]
    if options.get("named_servers"):
        hub["allow_named_servers"] = True
    if options.get("subdomains"):
        hub["subdomain_host"] = url.rstrip("/")
    if options.get("robot"):
        hub["services"] = [{"name": "robot", "api_token": api_token}]
        hub["load_roles"] = [{"name": "robot", "services": ["robot"], "scopes": list(ROBOT_SCOPES)}]
    return {
        "JupyterHub": hub | dict(options.get("jupyterhub", {})),
        "LauncherSpawner": dict(options.get("spawner", {})),
        **{name: dict(values) for name, values in options.get("classes", {}).items()},
    }
