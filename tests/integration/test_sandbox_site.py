"""What a site can be told, and what can be done to it: the ground that tests of faults stand on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from support import Robot, command_lines, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCHEDULER = "process"
SITE = {
    "service_account": True,
    "user_accounts": {"visitor": "bob"},
    "more_clusters": {"second": {"title": "The second"}},
    "cleanup_servers": False,
    "named_servers": True,
    "robot": True,
    "spawner": {"http_timeout": 11},
}


def environment(site) -> dict[str, str]:
    entries = Path(f"/proc/{site.hub.process.pid}/environ").read_bytes().split(b"\0")
    return dict(entry.decode().split("=", 1) for entry in entries if entry)


def traits(site):
    return json.loads(environment(site)["TRAITS"])


async def test_the_hub_has_credentials_for_its_service_account_and_for_mapped_users(site):
    spawner = traits(site)["LauncherSpawner"]
    visitor = spawner["user_accounts"]["visitor"]
    assert spawner["service_account"]["token_url"] == f"{site.identity.issuer}/token"
    assert (spawner["service_account"]["client_id"], visitor["client_id"]) == (
        "launcher",
        "account-of-visitor",
    )
    assert visitor["username"] == list(site.accounts)[1].name
    assert spawner["http_timeout"] == 11


async def test_secrets_are_in_no_argument_list_and_in_no_log(site):
    configured = traits(site)
    secrets = [
        site.hub.api_token,
        configured["LauncherSpawner"]["service_account"]["client_secret"],
        configured["LauncherSpawner"]["user_accounts"]["visitor"]["client_secret"],
    ]
    seen = "\n".join([*command_lines(), *(path.read_text() for path in (site.state / "hub").glob("*.log"))])
    assert [secret for secret in secrets if secret in seen] == []


async def test_each_cluster_has_a_file_and_a_gateway_and_its_jobs_are_found_together(site):
    assert list(site.systems) == ["sandbox", "second"]
    for name, system in site.systems.items():
        cluster = yaml.safe_load(system.cluster_file.read_text())
        assert (cluster["name"], system.cluster_file.stem) == (name, name)
        assert cluster["firecrest"] == {"url": system.gateway.url, "system": name}
    files = [str(system.cluster_file) for system in site.systems.values()]
    assert traits(site)["LauncherSpawner"]["cluster_files"] == files


async def test_a_robot_makes_users_and_acts_for_them(site):
    async with Robot(site) as robot:
        assert (await robot("GET", "users")).status_code == 200
        async with Robot(site, await robot.token_of("visitor")) as visitor:
            assert (await visitor("GET", "user")).json()["name"] == "visitor"
            assert (await visitor("GET", "users")).status_code == 403


async def test_a_hub_that_is_told_to_end_comes_back_and_its_log_goes_on(site):
    said = site.hub.log.stat().st_size
    await site.hub.terminate_hub()
    assert not site.hub.process.running
    await site.hub.start_hub()
    assert "Running JupyterHub version" in site.hub.log_since(said)


async def test_a_restored_database_knows_nothing_of_what_came_after(site, tmp_path):
    async with Robot(site) as robot:
        site.hub.save_database(tmp_path / "yesterday.sqlite")
        await robot.token_of("latecomer")
        await site.hub.kill_hub()
        site.hub.restore_database(tmp_path / "yesterday.sqlite")
        await site.hub.start_hub()
        assert (await robot("GET", "users/latecomer")).status_code == 404
        assert (await robot("GET", "users/visitor")).status_code == 200


async def test_a_proxy_that_was_restarted_learns_its_routes_again(site):
    await site.hub.restart_proxy()
    async with Robot(site) as robot:

        async def routed() -> bool:
            return (await robot("GET", "users")).status_code == 200

        await eventually(routed, within=60)
