"""Fixtures for the gateway's tests."""

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest
from firecrest.v2 import AsyncFirecrest

from launcher.sandbox.accounts import Account
from launcher.sandbox.gateway import Gateway

from .kit import Memory, client, mint, serving


@pytest.fixture
def scheduler() -> Memory:
    return Memory()


@pytest.fixture
def accounts(tmp_path: Path) -> dict[str, Account]:
    people = {}
    for name in ("alice", "bob"):
        home = tmp_path / "home" / name
        home.mkdir(parents=True)
        people[name] = Account(name, "secret", os.getuid(), os.getgid(), home, "me")
    return people


@pytest.fixture
async def gateway(scheduler: Memory, accounts: Mapping[str, Account]) -> AsyncIterator[Gateway]:
    async with serving(scheduler, accounts, command_timeout=60) as gateway:
        yield gateway


@pytest.fixture
async def impatient(scheduler: Memory, accounts: Mapping[str, Account]) -> AsyncIterator[AsyncFirecrest]:
    """Alice's client of a gateway that hardly waits for its scheduler."""
    async with serving(scheduler, accounts, command_timeout=0.01) as gateway, client(gateway) as firecrest:
        yield firecrest


@pytest.fixture
async def alice(gateway: Gateway) -> AsyncIterator[AsyncFirecrest]:
    async with client(gateway) as firecrest:
        yield firecrest


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {mint('alice')}"}
    async with httpx.AsyncClient(base_url=gateway.url, verify=False, headers=headers) as session:
        yield session
