"""Small programs in JupyterLab's place, on a hub whose servers have host names of their own."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from support import eventually, saved_record

from launcher.protocol import (
    PROBE_PATH,
    SIGNATURE_HEADER,
    STOP_PATH,
    Stop,
    derive_launch_key,
    encode,
    new_nonce,
    probe_proof,
    stop_proof,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCHEDULER = "process"
SITE = {
    "stand_in": True,
    "subdomains": True,
    "people": ("alice", "bob", "carol"),
}


def launch_key(site, record) -> str:
    secret = bytes.fromhex((site.state / "hub/cookie_secret").read_text().strip())
    return derive_launch_key(secret, record["launch_id"])


async def test_a_person_starts_one_at_a_host_of_their_own(site, person):
    someone = await person()
    events = await someone.start()
    assert events[-1].get("ready"), events
    host = f"http://{someone.name}.hub.localhost:{site.url.rpartition(':')[2]}"
    page = await someone.browser.open(f"{host}user/{someone.name}/api")
    assert page.status == 200
    await someone.stop()


async def test_it_is_a_python_process_of_a_few_megabytes(site, person):
    someone = await person()
    await someone.start()
    sizes = [
        int(path.read_text().split("VmRSS:")[1].split()[0])
        for path in Path("/proc").glob("[0-9]*/status")
        if f"{site.state}/software/bin/launcher-stand-in" in (path.parent / "cmdline").read_text()
    ]
    assert len(sizes) == 1
    assert sizes[0] < 40_000
    await someone.stop()


async def test_it_proves_its_launch_and_ends_when_its_hub_asks(site, person):
    someone = await person()
    await someone.start()
    record = saved_record(site, someone.name)
    key, base = launch_key(site, record), f"{record['url']}/user/{someone.name}/"
    nonce = new_nonce()
    body = encode(Stop(nonce))
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{base}{PROBE_PATH}", params={"nonce": nonce})
        assert answer.text == probe_proof(key, nonce)
        for proof in ("", stop_proof(key, new_nonce())):
            refused = await client.post(f"{base}{STOP_PATH}", content=body, headers={SIGNATURE_HEADER: proof})
            assert refused.status_code == 403
        assert await someone.has_job()
        asked = await client.post(
            f"{base}{STOP_PATH}", content=body, headers={SIGNATURE_HEADER: stop_proof(key, nonce)}
        )
        assert (asked.status_code, asked.text) == (202, probe_proof(key, nonce))
    await eventually(someone.no_jobs)
    await eventually(someone.is_stopped)
