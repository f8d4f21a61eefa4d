"""A real JupyterHub with a real proxy runs what `launcher export` made of a cluster file."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import exported_hub
import httpx
import pytest
import pytest_asyncio
from support import Person, eventually

from launcher.check.browser import Browser
from launcher.export import Kind
from launcher.sandbox.hub import Hub
from launcher.sandbox.processes import Program, free_ports

pytestmark = pytest.mark.asyncio(loop_scope="module")

TINY = """\
name: tiny
firecrest: {url: "https://firecrest.example.org/v2", system: tiny}
home: /users/{user}
launcher: /opt/bin/launcher-singleuser
partitions: [{name: long, time_limit: 1440}]
node_addresses: [10.0.0.0/8]
description: "Gr\u00fc\u00dfe {{ .Values }} '''"
"""
SITE = {
    "HUB_URL": "https://hub.example.org",
    "OAUTH_CLIENT_ID": "the-client",
    "OAUTH_CLIENT_SECRET": "the-clients-secret",
    "OAUTH2_AUTHORIZE_URL": "https://login.example.org/authorize",
    "OAUTH2_TOKEN_URL": "https://login.example.org/token",
    "OAUTH2_USERDATA_URL": "https://login.example.org/userinfo",
    "KC_CLIENT_ID": "the-client",
    "KC_CLIENT_SECRET": "the-clients-secret",
}

LOOK = """

# What follows is the test's: the hub tells what it runs with.
from jupyterhub.apihandlers import APIHandler, default_handlers
from jupyterhub.app import JupyterHub


class Live(APIHandler):
    def get(self):
        app = JupyterHub.instance()
        spawner, login = app.spawner_class(parent=app), app.authenticator
        self.write({
            "JupyterHub": {
                name: getattr(app, name) for name in ("concurrent_spawn_limit", "cleanup_servers")
            },
            "LauncherSpawner": {
                name: getattr(spawner, name)
                for name in ("start_timeout", "poll_interval", "poll_jitter", "consecutive_failure_limit",
                             "hub_connect_url", "cluster_files")
            },
            "GenericOAuthenticator": {
                name: getattr(login, name)
                for name in ("client_id", "client_secret", "enable_auth_state", "auth_refresh_age",
                             "allow_all", "username_claim", "authorize_url")
            },
            "proxy": {"should_start": app.proxy.should_start},
            "classes": [type(spawner).__name__, type(login).__name__],
            "hook": login.refresh_user_hook.__module__,
            "form": spawner.options_from_form.__module__,
        })


default_handlers.append((r"/api/live", Live))
"""


@contextlib.asynccontextmanager
async def running(kind: Kind, directory: Path) -> AsyncIterator[Hub]:
    """Run a hub with its proxy, and what was exported."""
    (directory / "source").mkdir(parents=True)
    cluster_file = directory / "source/tiny.yaml"
    cluster_file.write_text(TINY)
    hub = Hub(directory, free_ports(1)[0])
    proxy_api = f"http://127.0.0.1:{hub._api_port}"
    config = directory / "jupyterhub_config.py"
    exported_hub.write(exported_hub.files(kind, cluster_file, config, proxy_api=proxy_api, more=LOOK))
    hub.process = Program(
        f"JupyterHub ({kind})",
        [
            *(sys.executable, "-m", "jupyterhub", "--config", str(config)),
            f"--JupyterHub.hub_bind_url=http://127.0.0.1:{hub._hub_port}",
        ],
        log=hub.log,
        environment={**hub._environment(), **hub._secrets, **SITE, "CONFIGPROXY_API_URL": proxy_api},
        directory=directory,
    )
    try:
        await hub.proxy.start()
        await hub.start_hub()
        yield hub
    finally:
        await hub.stop()


async def look(kind: Kind, directory: Path) -> dict[str, Any]:
    """Run a hub for as long as it takes to see what it lives with."""
    async with running(kind, directory) as hub, httpx.AsyncClient(trust_env=False) as client:
        live = (await client.get(f"{hub.url}hub/api/live")).json()
    log = hub.log.read_text()
    secret = [SITE["OAUTH_CLIENT_SECRET"], *hub._secrets.values()]
    return {**live, "log": log, "leaked": [each for each in secret if each in log]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def looks(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, dict[str, Any]]:
    """What a hub of each kind lives with; they run at the same time."""
    directory = tmp_path_factory.mktemp("hubs")
    return dict(
        zip(Kind, await asyncio.gather(*(look(kind, directory / kind) for kind in Kind)), strict=True)
    )


@pytest.mark.parametrize("kind", Kind)
async def test_a_hub_lives_with_what_was_exported(kind, looks):
    live = looks[kind]
    spawner, login, log = live["LauncherSpawner"], live["GenericOAuthenticator"], live["log"]
    assert live["classes"] == ["LauncherSpawner", "GenericOAuthenticator"]
    assert live["JupyterHub"] == {"concurrent_spawn_limit": 0, "cleanup_servers": False}
    assert live["proxy"] == {"should_start": False}
    assert spawner["start_timeout"] > 24 * 3600
    assert (spawner["poll_interval"], spawner["poll_jitter"]) == (300, 0.5)
    assert spawner["consecutive_failure_limit"] == 0
    assert spawner["hub_connect_url"] == "https://hub.example.org"
    assert Path(spawner["cluster_files"][0]).read_bytes() == TINY.encode()
    assert live["form"] == "launcher.form.options"
    assert login["enable_auth_state"]
    assert login["allow_all"]
    assert login["auth_refresh_age"] == 60
    assert live["hook"] == "launcher.firecrest.tokens"
    assert login["client_id"] == "the-client"
    assert login["client_secret"] == SITE["OAUTH_CLIENT_SECRET"]
    assert login["authorize_url"] == SITE["OAUTH2_AUTHORIZE_URL"]
    assert login["username_claim"] == "preferred_username"
    assert f"Cluster file {spawner['cluster_files'][0]} is in use" in log
    assert "Traceback" not in log
    assert not live["leaked"]


async def test_a_person_starts_and_stops_a_server_with_what_was_exported(site, tmp_path):
    """The sandbox's identity provider, proxy and FirecREST; its hub is replaced by one as it was exported."""
    config, hub = tmp_path / "jupyterhub_config.py", site.hub
    exported_hub.write(exported_hub.of_site(Kind.JUPYTERHUB, site, config))
    await hub.process.stop()
    hub.process = Program(
        "JupyterHub",
        [sys.executable, "-m", "jupyterhub", "--config", str(config)],
        log=hub.log,
        environment={**hub._environment(), **exported_hub.environment(site)},
        directory=site.state / "hub",
    )
    await hub.start_hub()
    async with Browser() as browser:
        someone = await Person.log_in(site, next(iter(site.accounts)).name, browser)
        assert (await someone.start())[-1].get("ready")
        job = await site.live_jobs(someone.name)

        # What cleanup_servers is off for: the hub goes and comes back, the session goes on.
        await hub.process.stop()
        await hub.start_hub()
        await eventually(someone.is_ready)
        assert await site.live_jobs(someone.name) == job
        assert await someone.compute() == "42\n"
        await someone.stop()
    assert (site.state / "hub/exported-clusters/sandbox.yaml").read_bytes() == site.cluster_file.read_bytes()
