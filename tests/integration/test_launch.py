"""One launch, end to end, with a real hub, proxy, gateway and JupyterLab; jobs are plain processes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from support import command_lines, eventually, messages, saved_record, signal_jobs, taken_port

from launcher.check.session import run_in_terminal
from launcher.protocol import derive_launch_key
from launcher.sandbox.gateway import Answer

pytestmark = pytest.mark.asyncio(loop_scope="module")

SITE = {"spawner": {"stop_timeout": 5}}


async def test_progress_follows_the_real_phases_and_ends_in_jupyterlab(site, person):
    alice = await person()
    said = messages(await alice.start(partition="debug", time=15))
    phases = [
        "Submitted as job [0-9]+",
        "Running on [a-z0-9]+ as job [0-9]+",
        "JupyterLab is starting",
        "Server ready at /user/.*",
    ]
    found = [next((i for i, text in enumerate(said) if re.fullmatch(each, text)), None) for each in phases]
    assert None not in found, said
    assert found == sorted(found)
    assert await alice.compute() == "42\n"
    await alice.stop()
    assert await alice.server_model() is None


async def test_two_people_at_once_reach_only_their_own_server(site, person):
    alice, bob = await person(), await person()
    await asyncio.gather(alice.start(), bob.start())
    assert (
        await alice.compute("import getpass, os; print(os.environ['JUPYTERHUB_USER'])") == f"{alice.name}\n"
    )
    assert await bob.compute("import os; print(os.environ['JUPYTERHUB_USER'])") == f"{bob.name}\n"
    for path in ("api/kernels", "api/contents", "api/terminals"):
        answer = await bob.browser.call("GET", f"{alice.server}{path}")
        assert answer.status_code in (403, 404), (path, answer.status_code)
    assert (await bob.browser.open(f"{alice.server}lab")).status == 403
    assert (await bob.api("DELETE", f"users/{alice.name}/server")).status_code in (403, 404)
    assert (await bob.api("GET", f"users/{alice.name}/server/progress")).status_code in (403, 404)


async def test_kernels_see_no_ticket_and_of_the_launchers_variables_only_where_their_session_is(site, person):
    alice = await person()
    await alice.start()
    names = await alice.compute(
        "import os; print(*sorted(name for name in os.environ if name.startswith('LAUNCHER')))"
    )
    assert names == "LAUNCHER_PYTHON LAUNCHER_SESSION\n"


async def test_no_secret_is_in_scripts_arguments_or_logs(site, person):
    alice = await person()
    arguments = []
    starting = asyncio.create_task(alice.start())
    while not starting.done():
        arguments += command_lines()
        await asyncio.sleep(0.05)
    arguments += command_lines()
    (job_id,) = await site.live_jobs(alice.name)
    job = await site.scheduler.job(job_id)
    record = saved_record(site, alice.name)
    cookie_secret = bytes.fromhex((site.state / "hub/cookie_secret").read_text().strip())
    ticket = re.search(r"^launch_ticket=([0-9a-f]{64})$", job.script, re.MULTILINE)[1]
    token = (await alice.compute("import os; print(os.environ['JUPYTERHUB_API_TOKEN'])")).strip()
    assert len(token) >= 32
    secrets = {
        "API token": token,
        "launch key": derive_launch_key(cookie_secret, record["launch_id"]),
        "cookie secret": cookie_secret.hex(),
        "client secret": site.hub.client_secret,
        "password": site.accounts[alice.name].password,
    }
    await alice.stop()
    places = {
        "script": job.script,
        "arguments": "\n".join(arguments),
        "job's log": Path(job.standard_output).read_text(),
        "hub's log": site.hub.log.read_text(),
        "proxy's log": (site.state / "hub/proxy.log").read_text(),
        "gateway's log": (site.state / "hub/gateway.log").read_text(),
        "saved state": json.dumps(record),
    }
    assert all(places[name] for name in ("script", "arguments", "job's log", "hub's log", "gateway's log"))
    for place, text in places.items():
        for name, secret in secrets.items():
            assert secret not in text, f"{name} in {place}"
        assert not re.search(r"eyJ[\w-]{20,}\.[\w-]{20,}", text), f"an access token in {place}"
        if place != "script":
            assert ticket not in text, f"ticket in {place}"


async def test_an_unknown_option_is_refused_before_anything_is_submitted(site, person):
    alice = await person()
    before = site.gateway.requests["POST", "/compute/{system}/jobs"]
    answer = await alice.api("POST", f"users/{alice.name}/server", {"user_options": {"cmd": "rm -rf /"}})
    assert answer.status_code == 400
    assert "cmd: is not an option" in answer.json()["message"]
    assert site.gateway.requests["POST", "/compute/{system}/jobs"] == before


async def test_the_schedulers_refusal_reaches_the_user_in_its_own_words(site, person, cluster_file):
    cluster_file(partitions=[{"name": "nowhere", "time_limit": 240}])
    alice = await person()
    failed = (await alice.start())[-1]
    assert failed["failed"]
    assert "invalid partition specified: nowhere" in failed["message"].lower()
    assert await alice.no_jobs()


async def test_jupyterlab_missing_on_the_node_is_said_so(site, person, cluster_file):
    program = site.state / "software/bin/launcher-without-jupyterlab"
    program.write_text(
        f"#!/bin/sh\nexec {site.state}/software/bin/python -c '"
        'import sys; sys.modules["jupyterlab"] = None\n'
        "from launcher.singleuser import main; sys.exit(main())'\n"
    )
    program.chmod(0o755)
    cluster_file(launcher=str(program))
    alice = await person()
    began = time.monotonic()
    failed = (await alice.start())[-1]
    assert failed["failed"]
    assert "JupyterLab is not installed on this node" in failed["message"]
    assert "exit code 24" in failed["message"]
    assert time.monotonic() - began < 60
    await eventually(alice.no_jobs)


async def test_a_launcher_missing_on_the_node_fails_at_once_with_the_end_of_the_log(
    site, person, cluster_file
):
    cluster_file(launcher="/nonexistent/launcher-singleuser")
    alice = await person()
    failed = (await alice.start())[-1]
    assert failed["failed"]
    assert "exit code 127" in failed["message"]
    assert "No such file or directory" in failed["message"]
    assert "<pre" in failed["html_message"]


async def test_a_taken_port_is_passed_over_and_a_full_range_is_said_so(site, person, cluster_file):
    with taken_port() as taken:
        cluster_file(ports=[taken, taken])
        alice = await person()
        failed = (await alice.start())[-1]
        assert failed["failed"]
        assert f"All ports from {taken} to {taken} are taken" in failed["message"]


async def test_stop_while_submitting_or_pending_leaves_no_job(site, person):
    alice = await person()
    slots, site.scheduler.slots = site.scheduler.slots, 0
    try:
        starting = asyncio.create_task(alice.start())
        await eventually(alice.has_job)
        began = time.monotonic()
        answer = await alice.api("DELETE", f"users/{alice.name}/server")
        assert answer.status_code in (202, 204)
        assert time.monotonic() - began < 10
        await eventually(alice.no_jobs)
        await starting
        await eventually(alice.is_stopped)
    finally:
        site.scheduler.slots = slots
    assert (await alice.start())[-1].get("ready")


async def test_a_job_whose_id_comes_after_stop_is_cancelled(site, person):
    alice = await person()

    async def answer_late(_, carry_out):
        answer = await carry_out()
        await asyncio.sleep(4)
        return answer

    slots, site.scheduler.slots = site.scheduler.slots, 0
    try:
        with site.gateway.faults.add(answer_late, method="POST") as late:
            starting = asyncio.create_task(alice.start())
            await late.acted.wait()
            await eventually(alice.has_job)
            answer = await alice.api("DELETE", f"users/{alice.name}/server")
            assert answer.status_code in (202, 204)
            await eventually(alice.no_jobs)
            await starting
            await eventually(alice.is_stopped)
    finally:
        site.scheduler.slots = slots


async def test_a_server_that_is_killed_is_noticed_at_once(site, person):
    alice = await person()
    await alice.start()
    server = int(await alice.compute("import os; print(os.getppid())"))
    os.kill(server, signal.SIGKILL)
    began = time.monotonic()
    await eventually(alice.is_stopped)
    assert time.monotonic() - began < 20
    await eventually(alice.no_jobs)


async def test_ctrl_c_works_in_terminals(site, person):
    alice = await person()
    await alice.start()
    assert (await alice.browser.open(f"{alice.server}lab")).status == 200
    ignored = "print(42 + (int(open('/proc/self/status').read().split('SigIgn:')[1].split()[0], 16) & 6))"
    await run_in_terminal(alice.browser, alice.server, f'python3 -c "{ignored}"', "42")


async def test_a_start_waits_for_the_end_of_the_job_before(site, person):
    alice = await person()
    await alice.start()
    (job_id,) = await site.live_jobs(alice.name)
    signal_jobs(site.accounts[alice.name], signal.SIGSTOP)
    try:
        with site.gateway.faults.answer(Answer(204, None), method="DELETE"):
            await alice.api("DELETE", f"users/{alice.name}/server")
            await eventually(alice.is_stopped, within=60)
            failed = (await alice.start())[-1]
    finally:
        signal_jobs(site.accounts[alice.name], signal.SIGCONT)
    assert f"Job {job_id} of your last session is still ending" in failed["message"]
    await eventually(alice.no_jobs)
    assert (await alice.start())[-1].get("ready")
