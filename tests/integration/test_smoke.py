"""`launcher smoke` as a site runs it: a program of its own, against a real hub, with a token of its API."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from support import command_lines, eventually

from launcher.sandbox.site import Site
from launcher.sandbox.state import state_directory

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

LAUNCHER = str(Path(sys.executable).with_name("launcher"))
ALL_STEPS = ["token", "request", "start", "JupyterLab", "kernel", "cell output", "stop", "job gone"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Site]:
    """A site whose hub has a service that may start servers, and a user who needs no log-in."""
    with state_directory(None) as state:
        site = Site(
            state, scheduler="process", robot=True, named_servers=True, user_accounts={"checker": "bob"}
        )
        await site.start()
        try:
            yield site
        finally:
            await site.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def alice(person):
    return await person()


async def token_of(someone, **rights):
    """Make an API token of somebody's, as the page /hub/token does."""
    return (await someone.api("POST", f"users/{someone.name}/tokens", rights)).json()["token"]


async def begin(site, token, *arguments):
    environment = {**os.environ, "JUPYTERHUB_API_TOKEN": token}
    return await asyncio.create_subprocess_exec(
        *(LAUNCHER, "smoke", site.url, *arguments),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def smoke(site, token, *arguments):
    """Run it; return its exit code, the result that it prints, and its errors."""
    process = await begin(site, token, "--json", *arguments)
    output, errors = await process.communicate()
    assert "Traceback" not in errors.decode()
    for text in (output, errors):
        assert token not in text.decode()
    return process.returncode, json.loads(output), errors.decode()


def names(report):
    return [step["name"] for step in report["steps"]]


def failed(report):
    return {step["name"]: step["detail"] for step in report["steps"] if not step["ok"]}


@contextlib.contextmanager
def full(site):
    """All nodes are busy: jobs wait in the queue."""
    slots, site.scheduler.slots = site.scheduler.slots, 0
    try:
        yield
    finally:
        site.scheduler.slots = slots


async def test_with_a_users_own_token_every_step_holds_and_nothing_is_left(site, alice):
    token = await token_of(alice)
    running = asyncio.create_task(smoke(site, token, "-o", "partition=debug", "-o", "time=15"))
    arguments = []
    while not running.done():
        arguments += command_lines()
        await asyncio.sleep(0.2)
    code, report, _ = await running
    details = {step["name"]: step["detail"] for step in report["steps"]}
    assert (code, report["ok"], failed(report)) == (0, True, {})
    assert names(report) == ALL_STEPS
    assert details["token"] == f"of the user {alice.name}, for a server of {alice.name}"
    assert details["request"] == "partition: debug, time: 15"
    assert "Submitted as job" in details["start"]
    assert f"/user/{alice.name}/lab" in details["JupyterLab"]
    assert details["cell output"] == "print(6*7) printed 42"
    assert details["job gone"] == "the hub shows no server any more; its job is gone"
    assert await alice.is_stopped()
    assert await alice.no_jobs()
    assert not [line for line in arguments if token in line]
    for log in ("jupyterhub.log", "proxy.log"):
        assert token not in (site.state / "hub" / log).read_text()


async def test_with_a_services_token_a_named_server_is_tried_and_removed(site, alice):
    code, report, _ = await smoke(site, site.hub.api_token, "--user", alice.name, "--server", "smoke")
    assert (code, failed(report)) == (0, {})
    assert report["steps"][0]["detail"] == f"of the service robot, for a server of {alice.name}"
    assert f"/user/{alice.name}/smoke/lab" in next(
        step["detail"] for step in report["steps"] if step["name"] == "JupyterLab"
    )
    known = (await alice.api("GET", f"users/{alice.name}?include_stopped_servers")).json()["servers"]
    assert "smoke" not in known
    assert await alice.no_jobs()


async def test_a_service_needs_nobody_to_have_logged_in(site):
    token = site.hub.api_token
    headers = {"Authorization": f"token {token}"}
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.post(f"{site.url}hub/api/users/checker", headers=headers)).status_code == 201
    code, report, _ = await smoke(site, token, "--user", "checker")
    assert (code, failed(report)) == (0, {})
    assert not await site.live_jobs(next(account.name for account in site.accounts if "bob" in account.name))


async def test_people_get_a_table(site, alice):
    process = await begin(site, await token_of(alice), "--user", "nobody")
    output, errors = await process.communicate()
    assert process.returncode == 7
    assert output.decode().startswith("step   seconds\ntoken  ")
    assert errors.decode().startswith("token: FAILED\nError: The step 'token' did not hold.\n")


class TestRefusals:
    async def test_a_services_token_alone_says_whose_server_is_missing(self, site):
        code, report, _ = await smoke(site, site.hub.api_token)
        assert code == 7
        assert failed(report) == {
            "token": "The token is that of the service robot, which has no servers.\n"
            "Say whose server to start: --user NAME"
        }

    async def test_a_wrong_token(self, site):
        code, report, _ = await smoke(site, "0123456789abcdef")
        assert code == 7
        assert failed(report)["token"].startswith("The hub does not accept the token.\nIt answered 403")

    async def test_a_user_whom_the_hub_does_not_know(self, site):
        code, report, _ = await smoke(site, site.hub.api_token, "--user", "nobody")
        assert code == 7
        assert failed(report)["token"].startswith("The hub knows no user nobody.")

    async def test_a_token_without_the_rights_names_those_it_needs(self, site, alice):
        token = await token_of(alice, scopes=[f"read:servers!user={alice.name}", "access:servers!user"])
        code, report, _ = await smoke(site, token)
        assert code == 7
        assert failed(report)["token"].startswith(
            f"The token has no right to start:servers, delete:servers of {alice.name}."
        )
        assert f"servers!user={alice.name}" in failed(report)["token"]

    async def test_somebody_elses_token(self, site, alice, person):
        bob = await person()
        code, report, _ = await smoke(site, await token_of(bob), "--user", alice.name)
        assert code == 7
        assert "The token has no right to" in failed(report)["token"]

    async def test_a_server_that_was_there_before_is_left_alone(self, site, alice):
        await alice.start()
        jobs = await site.live_jobs(alice.name)
        code, report, _ = await smoke(site, await token_of(alice))
        assert code == 7
        assert names(report) == ["token", "request"]
        assert "has that server already; it is running" in failed(report)["request"]
        assert await alice.is_ready()
        assert await site.live_jobs(alice.name) == jobs

    async def test_one_that_waits_is_left_alone_too(self, site, alice):
        with full(site):
            starting = asyncio.create_task(alice.start())
            await eventually(alice.has_job)
            code, report, _ = await smoke(site, await token_of(alice))
            assert code == 7
            assert "it is pending spawn" in failed(report)["request"]
        assert (await starting)[-1].get("ready")


class TestFailedStarts:
    async def test_refused_options_are_told_in_the_words_of_the_hub(self, site, alice):
        code, report, _ = await smoke(site, await token_of(alice), "-o", "colour=blue")
        assert code == 7
        assert "colour: is not an option" in next(iter(failed(report).values()))
        assert "JupyterLab" not in names(report)

    async def test_the_schedulers_refusal_is_told(self, site, alice, cluster_file):
        cluster_file(partitions=[{"name": "nowhere", "time_limit": 240}])
        code, report, _ = await smoke(site, await token_of(alice))
        assert code == 7
        assert list(failed(report)) == ["start"]
        assert "invalid partition specified: nowhere" in failed(report)["start"].lower()
        assert report["steps"][-1]["name"] == "job gone"

    async def test_a_start_that_takes_too_long_is_taken_back(self, site, alice):
        with full(site):
            code, report, _ = await smoke(site, await token_of(alice), "--timeout", "4")
        assert code == 7
        assert failed(report)["start"].startswith("It was not done after 4 s.")
        assert names(report)[-2:] == ["stop", "job gone"]
        await eventually(alice.no_jobs)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
class TestSignals:
    async def ended(self, process):
        output, errors = await process.communicate()
        report = json.loads(output)
        assert process.returncode == 7
        assert "Traceback" not in errors.decode()
        assert not report["ok"]
        assert next(iter(failed(report).values())).startswith("It was interrupted.")
        assert names(report)[-2:] == ["stop", "job gone"]
        assert [step["ok"] for step in report["steps"][-2:]] == [True, True]

    async def test_a_start_that_waits_is_taken_back(self, site, alice, number):
        with full(site):
            process = await begin(site, await token_of(alice), "--json")
            await eventually(alice.has_job)
            process.send_signal(number)
            await self.ended(process)
        assert await alice.is_stopped()
        await eventually(alice.no_jobs)

    async def test_a_start_that_was_just_asked_for_is_taken_back(self, site, alice, number):
        process = await begin(site, await token_of(alice), "--json")

        async def asked():
            return await alice.server_model() is not None

        await eventually(asked)
        process.send_signal(number)
        await self.ended(process)
        assert await alice.is_stopped()
        await eventually(alice.no_jobs)

    async def test_a_server_that_is_ready_is_stopped_however_often_it_is_asked(self, site, alice, number):
        process = await begin(site, await token_of(alice), "--json")
        await eventually(alice.is_ready)
        for _ in range(3):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            await asyncio.sleep(0.05)
        await self.ended(process)
        assert await alice.is_stopped()
        await eventually(alice.no_jobs)


@pytest.mark.extra
async def test_a_hub_that_restarts_while_the_job_waits_leaves_nothing_behind(site, alice):
    with full(site):
        process = await begin(site, await token_of(alice), "--json", "--timeout", "60")
        await eventually(alice.has_job)
        await alice.progress(until="Submitted as job")
        await site.hub.kill_hub()
        await site.hub.start_hub()
    output, _ = await process.communicate()
    assert names(json.loads(output))[-1] == "job gone"
    assert await alice.is_stopped()
    await eventually(alice.no_jobs, within=60)
