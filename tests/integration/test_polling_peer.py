"""What benchmarks compare with: a spawner that asks FirecREST as FirecRESTSpawner is published to do."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
import pytest_asyncio
from support import Person, eventually

import benchmarks
from launcher.check.browser import Browser
from launcher.sandbox.site import Site
from launcher.sandbox.state import state_directory

pytestmark = pytest.mark.asyncio(loop_scope="module")

JOBS = "/compute/{system}/jobs"
JOB = f"{JOBS}/{{job}}"

# What a server does that has to find a port: listen, tell the hub, answer.
SERVER = """
import http.server, json, os, urllib.request

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
url = os.environ["JUPYTERHUB_API_URL"] + "/firecrestspawner"
headers = {"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"], "Content-Type": "application/json"}
body = json.dumps({"port": server.server_port}).encode()
urllib.request.urlopen(urllib.request.Request(url, body, headers)).close()
server.serve_forever()
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def peer():
    """A site whose spawner is the peer."""
    with state_directory(None) as state:
        spawner = {
            "cmd": [f"{state}/software/bin/python", "-c", SERVER],
            "working_directory": f"{state}/home/{{username}}",
            "poll_interval": 1,
            "server_address": "127.0.0.1",
        }
        site = Site(
            state,
            scheduler="process",
            people=["alice"],
            robot=True,
            jupyterhub={"spawner_class": "benchmarks.peers.polling.PollingSpawner"},
            classes={"PollingSpawner": spawner},
            environment={"PYTHONPATH": str(Path(benchmarks.__file__).parents[1])},
        )
        await site.start()
        try:
            yield site
        finally:
            await site.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alice(peer):
    async with Browser() as browser:
        yield await Person.log_in(peer, next(iter(peer.accounts)).name, browser)


def tokens(site):
    told = site.identity.token_requests
    return sum(count for (grant, _), count in told.items() if grant == "refresh_token")


async def test_a_launch_looks_every_half_second_and_its_page_every_second(peer, alice):
    peer.scheduler.slots = 0
    before, began = tokens(peer), time.monotonic()
    starting = asyncio.create_task(alice.start())
    await eventually(alice.has_job)
    await asyncio.sleep(4)
    peer.scheduler.slots = 1
    events = await starting
    waited = time.monotonic() - began
    assert events[-1]["ready"]
    seen = peer.gateway.requests
    assert seen["POST", JOBS] == 1
    # Not more often than is published, on whatever machine.
    assert 4 < seen["GET", JOB] <= waited / 0.5 + waited / 1 + 3
    assert seen.total() == seen["POST", JOBS] + seen["GET", JOB]
    assert tokens(peer) - before == seen.total()


async def test_a_server_that_runs_is_looked_at_once_at_each_interval(peer, alice):
    before, asked, began = tokens(peer), peer.gateway.requests.total(), time.monotonic()
    await eventually(lambda: looked(peer, asked + 2))
    passed = time.monotonic() - began
    assert peer.gateway.requests.total() - asked <= passed + 1
    assert tokens(peer) - before == pytest.approx(peer.gateway.requests.total() - asked, abs=1)


async def looked(site, number):
    return site.gateway.requests["GET", JOB] >= number


async def test_a_stop_cancels_once(peer, alice):
    await alice.stop()
    await eventually(alice.is_stopped)
    assert peer.gateway.requests["DELETE", JOB] == 1
