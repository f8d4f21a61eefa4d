"""What the gateway says of the system."""

import asyncio
from collections.abc import Mapping

import httpx
import pytest
from firecrest.FirecrestException import UnexpectedStatusException
from firecrest.v2 import AsyncFirecrest

from launcher.errors import SandboxError
from launcher.sandbox.accounts import Account
from launcher.sandbox.gateway import Gateway

from .kit import Memory, client, error, serving


async def test_the_system_shows_its_parts_as_the_real_server_does(
    alice: AsyncFirecrest, gateway: Gateway
) -> None:
    [system] = await alice.systems()
    async with asyncio.timeout(30):
        while system["servicesHealth"] is None:
            await asyncio.sleep(0.01)
            [system] = await alice.systems()
    assert list(system) == [
        *("name", "ssh", "scheduler", "servicesHealth", "probing"),
        *("lastHealthCheck", "fileSystems", "dataOperation"),
    ]
    assert system["name"] == "sandbox"
    assert system["scheduler"] == {
        "type": "slurm",
        "connectionMode": "ssh",
        "version": "22.05.8",
        "apiUrl": None,
        "apiVersion": None,
        "timeout": 10,
    }
    health = system["servicesHealth"]
    assert [service["serviceType"] for service in health] == ["scheduler", "ssh", "filesystem"]
    assert all(service["healthy"] for service in health)
    assert health[2]["path"] == system["fileSystems"][0]["path"]
    assert await alice.server_version() == "2"


async def test_userinfo_names_the_accounts_that_jobs_can_be_charged_to(
    alice: AsyncFirecrest, accounts: Mapping[str, Account]
) -> None:
    info = await alice.userinfo("sandbox")
    assert info["user"] == {"id": str(accounts["alice"].uid), "name": "alice"}
    assert info["groups"] == [info["group"]]
    assert info["accounts"] == [{"name": "proj1", "default": True}, {"name": "proj2", "default": False}]


async def test_nodes_partitions_and_reservations(alice: AsyncFirecrest) -> None:
    assert await alice.nodes("sandbox") == [
        {
            "sockets": 4,
            "cores": 4,
            "threads": 4,
            "cpus": 4,
            "cpuLoad": 3.04,
            "freeMemory": 17819,
            "features": "(null)",
            "name": "nid001",
            "address": "127.0.0.1",
            "hostname": "vm",
            "state": ["IDLE"],
            "partitions": ["normal", "debug"],
            "weight": 1,
            "allocMemory": 4000,
            "allocCpus": 0,
            "idleCpus": 4,
        }
    ]
    assert await alice.partitions("sandbox") == [
        {"name": "normal", "cpus": 16, "totalNodes": 4, "partition": "UP"}
    ]
    assert await alice.reservations("sandbox") == []


async def test_names_of_systems_and_paths_have_no_case(http: httpx.AsyncClient) -> None:
    assert (await http.get("/Status/SANDBOX/userinfo")).status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_system_is_not_found(http: httpx.AsyncClient, method: str) -> None:
    answer = await http.request(method, "/compute/nosuch/jobs", json={})
    assert (answer.status_code, answer.json()) == (404, error("System not found"))


async def test_an_unknown_path_is_not_found_without_looking_at_the_token(http: httpx.AsyncClient) -> None:
    answer = await http.get("/nosuch")
    assert (answer.status_code, answer.json()) == (404, error("Not Found", user=None))
    answer = await http.put("/compute/sandbox/jobs")
    assert (answer.status_code, answer.json()) == (405, error("Method Not Allowed", user=None))


async def test_trace_ids_come_back(http: httpx.AsyncClient) -> None:
    given = {"X-Request-ID": "9ee901a3-91bd-407e-b5e4-b2d40c43dfa1", "X-Correlation-ID": "mine"}
    answer = await http.get("/status/systems", headers=given)
    assert given.items() <= {**answer.headers, **given}.items()
    assert answer.headers["X-Request-ID"] == given["X-Request-ID"]
    assert answer.headers["X-Correlation-ID"] == "mine"
    assert (await http.get("/status/systems")).headers["X-Request-ID"]


async def test_an_unhealthy_scheduler_closes_all_of_compute(
    scheduler: Memory, accounts: Mapping[str, Account]
) -> None:
    scheduler.refusal = SandboxError("slurm_load_partitions: Unable to contact slurm controller")
    async with serving(scheduler, accounts, health_interval=0.01) as gateway, client(gateway) as alice:
        answers = []
        async with asyncio.timeout(30):
            while 503 not in answers:
                with pytest.raises(UnexpectedStatusException) as caught:
                    await alice.job_info("sandbox", "3")
                answers.append(caught.value.responses[-1].status_code)
        message = "The scheduler service for the requested system (sandbox) is unhealthy."
        assert caught.value.responses[-1].json() == error(message)
        scheduler.refusal = None
        async with asyncio.timeout(30):
            while not (await alice.systems())[0]["servicesHealth"][0]["healthy"]:
                pass
        assert await alice.job_info("sandbox") == []
