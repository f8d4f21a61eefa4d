"""pyfirecrest against the gateway, with real processes as jobs and the accounts of a run."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from firecrest.FirecrestException import UnexpectedStatusException
from firecrest.v2 import Firecrest

from launcher.sandbox.accounts import Account, Accounts
from launcher.sandbox.gateway import Gateway
from launcher.sandbox.scheduler.process import ProcessScheduler
from launcher.sandbox.state import state_directory

ISSUER = "http://127.0.0.1/realms/sandbox"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
TERMINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")


@pytest.fixture
def state() -> Iterator[Path]:
    with state_directory(None) as state:
        yield state


@pytest.fixture
async def people(state: Path) -> AsyncIterator[list[Account]]:
    accounts = await asyncio.to_thread(Accounts.create, state)
    yield list(accounts)
    await asyncio.to_thread(accounts.remove)


@pytest.fixture
async def gateway(state: Path, people: list[Account]) -> AsyncIterator[Gateway]:
    scheduler = ProcessScheduler(state)
    await scheduler.start()
    key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
    gateway = Gateway(
        scheduler=scheduler,
        accounts=people,
        jwks=lambda: {"keys": [{**key, "kid": "k1"}]},
        issuer=ISSUER,
        file_systems=[state / "home"],
    )
    await gateway.start()
    yield gateway
    await gateway.stop()
    await scheduler.stop()


class Person:
    """The synchronous client, as an admin has it in a terminal."""

    def __init__(self, gateway: Gateway, account: Account) -> None:
        claims = {"iss": ISSUER, "exp": time.time() + 300, "preferred_username": account.name}
        self._token = jwt.encode(claims, KEY, algorithm="RS256", headers={"kid": "k1"})
        self._client = Firecrest(gateway.url, self, verify=False)
        self._client.timeout = 60
        self.account = account

    def get_access_token(self) -> str:
        return self._token

    async def __call__(self, name: str, /, *arguments: Any, **options: Any) -> Any:
        return await asyncio.to_thread(getattr(self._client, name), "sandbox", *arguments, **options)

    async def refused(self, name: str, /, *arguments: Any, **options: Any) -> tuple[int, str]:
        """Status and message of the error."""
        with pytest.raises(UnexpectedStatusException) as caught:
            await self(name, *arguments, **options)
        answer = caught.value.responses[-1]
        return answer.status_code, answer.json()["message"]

    async def submit(self, body: str) -> str:
        script = f"#!/bin/bash\n#SBATCH --job-name=test\n#SBATCH --output=log-%j.txt\n{body}\n"
        answer = await self("submit", working_dir=str(self.account.home), script_str=script)
        return str(answer["jobId"])

    async def until(self, job_id: str, *states: str) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while True:
                [job] = await self("job_info", job_id)
                if job["status"]["state"].split()[0] in states:
                    return dict(job)
                await asyncio.sleep(0.05)

    def close(self) -> None:
        self._client.close_session()


@pytest.fixture
def person(gateway: Gateway, people: list[Account]) -> Iterator[Callable[[int], Person]]:
    clients = [Person(gateway, account) for account in people]
    yield lambda number: clients[number]
    for client in clients:
        client.close()


async def test_a_job_runs_and_its_log_can_be_read(person: Callable[[int], Person]) -> None:
    alice = person(0)
    job_id = await alice.submit("id --user --name; sleep 1; echo bye")
    assert [job["jobId"] for job in await alice("job_info", name="test")] == [job_id]
    job = await alice.until(job_id, *TERMINAL)
    assert job["status"] == {"state": "COMPLETED", "stateReason": "None", "exitCode": 0, "interruptSignal": 0}
    assert job["user"] == alice.account.name
    [metadata] = await alice("job_metadata", job_id)
    assert metadata["standardOutput"] == f"{alice.account.home}/log-{job_id}.txt"
    shown = await alice("tail", metadata["standardOutput"], num_lines=5)
    assert shown["content"] == f"{alice.account.unix_name}\nbye\n"


async def test_a_running_job_is_cancelled_by_its_owner_only(person: Callable[[int], Person]) -> None:
    alice, bob = person(0), person(1)
    job_id = await alice.submit("sleep 600")
    job = await bob.until(job_id, "RUNNING")
    assert job["nodes"] == "nid001"
    assert job["time"]["end"] is None
    assert [step["id"] for step in job["tasks"]] == [f"{job_id}.batch"]
    assert await bob("job_info") == []
    assert (await bob("job_metadata", job_id))[0]["script"] == ""
    status, message = await bob.refused("cancel_job", job_id)
    assert (status, message.endswith("Access/permission denied\n")) == (500, True)
    assert await alice("cancel_job", job_id) == {}
    job = await alice.until(job_id, *TERMINAL)
    assert job["status"]["state"] == f"CANCELLED by {alice.account.uid}"
    status, message = await alice.refused("cancel_job", job_id)
    assert (status, message.endswith("already completing or completed\n")) == (500, True)


async def test_a_refusal_is_in_the_words_of_sbatch(person: Callable[[int], Person]) -> None:
    alice = person(0)
    script = "#!/bin/bash\n#SBATCH --partition=nosuch\n"
    status, message = await alice.refused("submit", working_dir="/", script_str=script)
    assert status == 500
    assert message == (
        "Unexpected Slurm command response. exit_status:1 std_err:"
        "sbatch: error: invalid partition specified: nosuch\n"
        "sbatch: error: Batch job submission failed: Invalid partition name specified\n"
    )


@pytest.mark.skipif(
    os.geteuid() != 0, reason="without root all accounts are one unix user: run the tests as root"
)
async def test_files_are_read_with_the_rights_of_the_account(person: Callable[[int], Person]) -> None:
    alice, bob = person(0), person(1)
    path = bob.account.home / "secret"
    path.write_text("bob's")
    os.chown(path, bob.account.uid, bob.account.gid)
    assert await bob("view", str(path)) == "bob's"
    words = f"head: cannot open '{path}' for reading: Permission denied"
    message = f"Remote process failed with exit status:1 and error message:{words}"
    assert await alice.refused("head", str(path)) == (403, message)
    assert (await alice.refused("list_files", str(bob.account.home)))[0] == 403
    link = alice.account.home / "link"
    link.symlink_to(path)
    assert (await alice.refused("tail", str(link)))[0] == 403


async def test_userinfo_and_nodes_are_those_of_the_run(person: Callable[[int], Person]) -> None:
    alice = person(0)
    info = await alice("userinfo")
    assert info["user"] == {"id": str(alice.account.uid), "name": alice.account.name}
    assert [node["name"] for node in await alice("nodes")] == ["nid001"]
    assert (await alice("partitions"))[0]["partition"] == "UP"
