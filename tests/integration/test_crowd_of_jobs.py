"""Jobs that one program impersonates: to their hub they are as those of `launcher-singleuser`."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
import pytest_asyncio
from support import Robot, eventually, saved_record

from benchmarks.crowd import Crowd
from benchmarks.crowd.residents import settle
from launcher.protocol import PROBE_PATH, new_nonce, probe_proof

pytestmark = pytest.mark.asyncio(loop_scope="module")

MANY = 20
SCHEDULER = Crowd.of()
SITE = {
    "people": [f"user{number:02}" for number in range(MANY)],
    "own_users": False,
    "service_account": True,
    "robot": True,
    # A start is answered at once, not when its server is ready.
    "jupyterhub": {"tornado_settings": {"slow_spawn_timeout": 0}},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tokens(site):
    """Everybody's token for the hub's API."""
    return await settle(site)


async def start(site, name, token):
    """Start somebody's server; return the status of the answer."""
    async with Robot(site, token) as person:
        return (await person("POST", f"users/{name}/server", {"user_options": {}})).status_code


async def is_ready(site, name):
    """Tell whether the hub takes somebody's server for ready."""
    async with Robot(site) as robot:
        return (await robot("GET", f"users/{name}")).json()["servers"].get("", {}).get("ready", False)


async def is_gone(site, name):
    """Tell whether the hub has no server of somebody's."""
    async with Robot(site) as robot:
        return "" not in (await robot("GET", f"users/{name}")).json()["servers"]


async def proves(site, name):
    """Tell whether the hub's proxy leads to the launch of somebody's job."""
    nonce, launched = new_nonce(), site.scheduler.launched(name)
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{site.url}user/{name}/{PROBE_PATH}", params={"nonce": nonce})
    return answer.text == probe_proof(launched.launch_key, nonce)


async def progress(site, name, token):
    """Yield what the hub tells of a start, until it is over."""
    url, headers = f"{site.url}hub/api/users/{name}/server/progress", {"Authorization": f"Bearer {token}"}
    async with (
        httpx.AsyncClient(trust_env=False, timeout=60) as client,
        client.stream("GET", url, headers=headers) as answer,
    ):
        async for line in answer.aiter_lines():
            if line.startswith("data:"):
                yield (event := json.loads(line.removeprefix("data:")))
                if event.get("ready") or event.get("failed"):
                    return


async def states(site):
    return {job.state.split()[0] for job in await site.scheduler.jobs()}


async def test_twenty_start_prove_themselves_and_stop(site, tokens):
    answers = await asyncio.gather(*(start(site, name, token) for name, token in tokens.items()))
    assert set(answers) <= {201, 202}
    for name in tokens:
        await eventually(lambda name=name: is_ready(site, name))
        assert await proves(site, name)
    assert site.scheduler.ready == MANY
    async with Robot(site) as robot:
        stopped = await asyncio.gather(*(robot("DELETE", f"users/{name}/server") for name in tokens))
    assert {answer.status_code for answer in stopped} <= {202, 204}
    for name in tokens:
        await eventually(lambda name=name: is_gone(site, name))
    assert await states(site) == {"COMPLETED"}


async def test_a_job_that_waits_for_a_slot_tells_its_user_what_it_does_from_then_on(site, tokens):
    name, token = next(iter(tokens.items()))
    site.scheduler.slots = 0
    assert await start(site, name, token) == 202
    seen = []
    async for event in progress(site, name, token):
        seen.append(event["message"])
        if "Submitted as job" in seen[-1]:
            site.scheduler.slots = MANY
    told = " ".join(seen)
    for words in ("Running on nid001", "JupyterLab is starting", "is ready"):
        assert words in told
    assert saved_record(site, name)["phase"] == "ready"
    assert "200 POST /hub/api/launcher" not in site.hub.log.read_text(), "what goes well is not logged"


async def test_a_job_that_is_cancelled_says_so(site, tokens):
    name, token = list(tokens.items())[1]
    await start(site, name, token)
    await eventually(lambda: is_ready(site, name))
    job = next(job for job in reversed(await site.scheduler.jobs()) if job.account_name == name)
    await site.scheduler.cancel(site.accounts[name], job.id)
    await eventually(lambda: is_gone(site, name))
    assert "says that it ends: 'terminated'" in site.hub.log.read_text()
