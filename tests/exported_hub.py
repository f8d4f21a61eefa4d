"""Hubs with what `launcher export` made, beside the proxy of a sandbox."""

from __future__ import annotations

from pathlib import Path

import charts
import yaml

from launcher.export import Kind, export
from launcher.sandbox.hub import CLIENT_ID
from launcher.sandbox.site import Site

CONFIG = Path("/usr/local/etc/jupyterhub/jupyterhub_config.py")
"""Where a container has its hub's script."""

# Nothing leaves this machine, and there is no certificate on it.
_ON_THIS_MACHINE = """

c.JupyterHub.hub_bind_url = "http://127.0.0.1:{port}"
c.LauncherSpawner.hub_connect_url = "{url}"
c.GenericOAuthenticator.oauth_callback_url = "{callback}"
"""


def files(
    kind: Kind,
    cluster_file: Path,
    config: Path,
    *,
    proxy_api: str,
    more: str,
    provider: str = "https://login.example.org",
) -> dict[Path, bytes]:
    """Return what a hub is given: its script, and what its chart puts beside it.

    Args:
        kind: What it is installed with.
        cluster_file: The cluster file.
        config: Where the script lies.
        proxy_api: Where the proxy takes routes.
        more: What the script ends with.
        provider: The identity provider, for a chart whose script names it.
    """
    exported = export(kind, cluster_file).content
    beside = {}
    if kind is Kind.F7T4JHUB:
        script = charts.f7t4jhub(yaml.safe_load(exported), proxy_api=proxy_api, provider=provider)
    elif kind is Kind.Z2JH:
        values = yaml.safe_load(exported.replace(str(CONFIG.parent), str(config.parent)))
        script, beside = charts.z2jh(values, proxy_api=proxy_api), charts.z2jh_files(values)
    else:
        script = exported
    return {config: (script + more).encode(), **beside}


def write(files: dict[Path, bytes]) -> None:
    """Write files, and make their directories."""
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def of_site(kind: Kind, site: Site, config: Path = CONFIG) -> dict[Path, bytes]:
    """Return what a hub is given that stands in for the sandbox's."""
    more = _ON_THIS_MACHINE.format(
        port=site.hub._hub_port, url=site.url.rstrip("/"), callback=site.hub.callback_url
    )
    place = {"proxy_api": _proxy_api(site), "provider": site.identity.issuer}
    return files(kind, site.cluster_file, config, more=more, **place)


def environment(site: Site) -> dict[str, str]:
    """Return what the hub of a site takes from its environment."""
    client = {"CLIENT_ID": CLIENT_ID, "CLIENT_SECRET": site.hub.client_secret}
    endpoints = {"AUTHORIZE": "authorize", "TOKEN": "token", "USERDATA": "userinfo"}
    return {
        **site.hub._secrets,
        **{f"{prefix}_{name}": value for prefix in ("OAUTH", "KC") for name, value in client.items()},
        **{f"OAUTH2_{name}_URL": f"{site.identity.issuer}/{path}" for name, path in endpoints.items()},
        "CONFIGPROXY_API_URL": _proxy_api(site),
        "HUB_URL": site.url.replace("http:", "https:"),
    }


def _proxy_api(site: Site) -> str:
    return f"http://127.0.0.1:{site.hub._api_port}"
