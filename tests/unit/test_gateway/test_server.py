"""Counting, stopping, starting, logging."""

import asyncio
import logging
from collections.abc import Mapping

import httpx
import pytest
from firecrest.FirecrestException import UnexpectedStatusException
from firecrest.v2 import AsyncFirecrest

from launcher.errors import SandboxError
from launcher.sandbox.accounts import Account
from launcher.sandbox.gateway import Gateway

from .kit import ISSUER, Memory, client, error, jwks, mint


async def test_requests_are_counted_by_path_template(gateway: Gateway, alice: AsyncFirecrest) -> None:
    for _ in range(2):
        with pytest.raises(UnexpectedStatusException):
            await alice.job_info("sandbox", "3")
    await alice.systems()
    assert gateway.requests == {
        ("GET", "/compute/{system}/jobs/{job}"): 2,
        ("GET", "/status/systems"): 1,
    }


async def test_requests_are_counted_by_who_asked(gateway: Gateway, alice: AsyncFirecrest) -> None:
    await alice.systems()
    async with client(gateway, "bob") as bob:
        await bob.systems()
        await bob.systems()
    async with httpx.AsyncClient(base_url=gateway.url) as nobody:
        await nobody.get("/status/systems", headers={"Authorization": "Bearer made-up"})
    assert {key[0]: count for key, count in gateway.traffic.by_user.items()} == {"alice": 1, "bob": 2, "": 1}
    gateway.traffic.clear()
    assert not gateway.requests


async def test_the_most_that_were_asked_at_once_are_known(gateway: Gateway, alice: AsyncFirecrest) -> None:
    await alice.systems()
    assert gateway.traffic.peaks == {"*": 1, "alice": 1}
    with gateway.faults.hang() as fault:
        async with client(gateway, "bob") as bob:
            hanging = [asyncio.create_task(who.systems()) for who in (alice, alice, bob)]
            async with asyncio.timeout(30):
                while fault.hits < 3:
                    await asyncio.sleep(0.01)
            fault.remove()
            await asyncio.gather(*hanging, return_exceptions=True)
    assert gateway.traffic.peaks == {"*": 3, "alice": 2, "bob": 1}


async def test_a_stopped_gateway_refuses_connections_and_comes_back_on_its_port(
    gateway: Gateway, alice: AsyncFirecrest
) -> None:
    url = gateway.url
    fault = gateway.faults.hang(times=1)
    hanging = asyncio.create_task(alice.systems())
    await asyncio.wait_for(fault.acted.wait(), 30)
    await gateway.stop()
    with pytest.raises(httpx.RemoteProtocolError):
        await hanging
    with pytest.raises(httpx.ConnectError):
        await alice.systems()
    await gateway.start()
    assert gateway.url == url
    assert await alice.systems()


async def test_a_taken_port_is_named(
    gateway: Gateway, accounts: Mapping[str, Account], scheduler: Memory
) -> None:
    port = int(gateway.url.rpartition(":")[2])
    other = Gateway(
        scheduler=scheduler, accounts=accounts.values(), jwks=jwks, issuer=ISSUER, file_systems=[]
    )
    with pytest.raises(SandboxError, match=str(port)):
        await other.start(port)


async def test_the_log_says_who_did_what_and_holds_no_secret(
    gateway: Gateway, scheduler: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpcore").setLevel(logging.DEBUG)
    secret = "#!/bin/sh\n# ticket-4711\n"
    token = mint("alice")
    async with httpx.AsyncClient(
        base_url=gateway.url, headers={"Authorization": f"Bearer {token}"}
    ) as session:
        job = {"job": {"working_directory": "/", "script": secret}}
        assert (await session.post("/compute/sandbox/jobs", json=job)).status_code == 201
        scheduler.refusal = RuntimeError(secret)
        answer = await session.post("/compute/sandbox/jobs", json=job)
    assert (answer.status_code, answer.json()) == (500, error("An error occurred during the request process"))
    own = [record.getMessage() for record in caplog.records if record.name == "launcher.sandbox.gateway"]
    assert own[0].startswith("POST /compute/sandbox/jobs 201 alice ")
    assert own[1].startswith("RuntimeError in POST /compute/{system}/jobs\n")
    assert own[2].startswith("POST /compute/sandbox/jobs 500 alice ")
    assert token not in caplog.text
    assert "ticket-4711" not in caplog.text
