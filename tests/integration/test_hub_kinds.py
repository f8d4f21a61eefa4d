"""What a hub may be besides a person with a server: many servers, host names, programs, watchful admins."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import prometheus_client
import pytest
import pytest_asyncio
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families
from support import Robot, eventually

from launcher import metrics
from launcher.clusters import JOB_NAME
from launcher.protocol import new_launch_id
from launcher.sandbox.hub_options import ROBOT_SCOPES
from launcher.sandbox.scheduler.model import Submission

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCHEDULER = "process"
ROBOT, ERRANDS = secrets.token_hex(24), secrets.token_hex(24)
SITE = {
    "stand_in": True,
    "subdomains": True,
    "named_servers": True,
    "with_admin": True,
    # The hub itself has no log-in of this user, but credentials.
    "user_accounts": {"checker": "bob"},
    # A log-in must be renewed for each start that comes some seconds later.
    "token_lifetime": 63,
    "spawner": {"poll_interval": 1, "poll_jitter": 0, "stop_timeout": 2, "stray_grace": 1},
    "jupyterhub": {
        "init_spawners_timeout": 1,
        "services": [
            {"name": "robot", "api_token": ROBOT},
            {"name": "errands", "api_token": ERRANDS},
        ],
        "load_roles": [
            {"name": "robot", "services": ["robot"], "scopes": list(ROBOT_SCOPES)},
            {
                "name": "errands",
                "services": ["errands"],
                "scopes": ["servers!user=checker", "access:servers!user=checker"],
            },
        ],
    },
}
CANCEL = {"method": "DELETE", "path": "/compute/{system}/jobs/{job}"}
LONGEST = 60


@pytest_asyncio.fixture(loop_scope="module")
async def robot(site):
    async with Robot(site, ROBOT) as robot:
        await robot("POST", "users/checker")
        yield robot


@pytest_asyncio.fixture(loop_scope="module")
async def errands(site, robot):
    async with Robot(site, ERRANDS) as service:
        yield service
        await end_all(site, robot, "checker", list(site.accounts)[1].name)


@pytest_asyncio.fixture(loop_scope="module")
async def admin(site, robot):
    """A program that is the admin's."""
    async with Robot(site, await robot.token_of(next(iter(site.accounts)).name)) as admin:
        yield admin


def server_path(user, server=""):
    return f"users/{user}/servers/{server}" if server else f"users/{user}/server"


async def started(program, user, server="", **options):
    """Start a server; return its job's id once it is ready."""
    answer = await program("POST", server_path(user, server), {"user_options": options})
    assert answer.is_success, answer.text
    await eventually(lambda: ready(program, user, server))
    return (await launch_of(program, user, server))["job_id"]


async def end_all(site, program, user, account):
    """Stop all of a user's servers, and wait until their jobs are gone."""
    jobs = {each["job_id"] for (name, _), each in (await launches(program)).items() if name == user}
    for server in await servers(program, user):
        await program("DELETE", server_path(user, server))
    await eventually(lambda: are_gone(site, account, jobs), within=LONGEST)


async def are_gone(site, account, jobs):
    return not jobs & set(await site.live_jobs(account))


async def servers(program, user, *, stopped=False):
    query = "?include_stopped_servers" if stopped else ""
    return (await program("GET", f"users/{user}{query}")).json().get("servers", {})


async def ready(program, user, server=""):
    return (await servers(program, user)).get(server, {}).get("ready")


async def launches(program):
    """Return what the hub tells of launches, by user and server."""
    told = (await program("GET", "launcher/launches")).json()["launches"]
    return {(each["user"], each["server"]): each for each in told}


async def launch_of(program, user, server=""):
    return (await launches(program)).get((user, server))


async def no_jobs(site, account):
    return not await site.live_jobs(account)


async def measured(site, robot):
    """Return what the hub's metrics of ours are, by name and labels."""
    answer = await robot("GET", f"{site.url}hub/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name.startswith("launcher_")
    }


def value(found, name, **labels):
    """Return the sum of a metric over all labels that are not named."""
    return sum(
        each for (of, has), each in found.items() if of == name and labels.items() <= dict(has).items()
    )


@contextlib.contextmanager
def frozen(site, job_id):
    """The server of a job neither says nor answers anything."""
    (pid,) = (
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/environ")
        if holds(path, f"SLURM_JOB_ID={job_id}\0")
        and holds(path.with_name("cmdline"), f"{site.state}/software/bin/launcher-stand-in")
    )
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def holds(path, text):
    try:
        return text.encode() in path.read_bytes()
    except OSError:
        return False


async def attention(someone):
    """Return the text of the admin's page, from the launches that want attention on."""
    html = (await someone.browser.call("GET", f"{someone.hub}launcher/clusters")).text
    shown = html[html.index("<h1>Launches") : html.index("<h1>Cluster files")]
    return " ".join(re.sub("<[^>]*>", " ", shown).split())


# ---- named servers, each at a host name


async def test_named_servers_run_side_by_side_and_each_is_stopped_alone(site, person, robot):
    await person()
    bob = await person()
    jobs = {name: await started(robot, bob.name, name) for name in ("", "one", "two")}
    assert set(jobs.values()) == set(await site.live_jobs(bob.name))
    assert len(set(jobs.values())) == len(jobs)
    host = f"http://{bob.name}.hub.localhost:{site.url.rpartition(':')[2]}"
    for name in jobs:
        page = await bob.browser.open(f"{host}user/{bob.name}/{f'{name}/' if name else ''}api")
        assert page.status == 200, page.describe()

    await robot("DELETE", server_path(bob.name, "one"))
    await eventually(lambda: launch_is_gone(robot, bob.name, "one"))
    assert set(await site.live_jobs(bob.name)) == {jobs[""], jobs["two"]}
    await robot("DELETE", server_path(bob.name, "two"), {"remove": True})
    await eventually(lambda: launch_is_gone(robot, bob.name, "two"))
    assert await site.live_jobs(bob.name) == [jobs[""]]
    assert set(await servers(robot, bob.name, stopped=True)) == {"", "one"}
    await end_all(site, robot, bob.name, bob.name)


async def launch_is_gone(program, user, server=""):
    return await launch_of(program, user, server) is None


async def test_a_named_server_that_is_removed_while_its_job_ends_leaves_no_orphan(
    site, person, robot, faults
):
    admin, bob = await person(), await person()
    job_id = await started(robot, bob.name, "slow")
    with faults.error(500, "Unable to cancel.", **CANCEL) as refused, frozen(site, job_id):
        answer = await robot("DELETE", server_path(bob.name, "slow"), {"remove": True})
        assert answer.is_success
        await eventually(lambda: is_removed(robot, bob.name, "slow"))
        await refused.acted.wait()
        # Nobody has the server any more, but the hub still has its job.
        assert (await launch_of(robot, bob.name, "slow"))["phase"] == "ending"
        assert f"{bob.name}: slow sandbox {job_id} " in await attention(admin)
        assert "Its job is still ending." in await attention(admin)
        assert await site.live_jobs(bob.name) == [job_id]
    await eventually(bob.no_jobs, within=LONGEST)
    await eventually(lambda: launch_is_gone(robot, bob.name, "slow"), within=LONGEST)
    assert "None: every server reports or answers" in await attention(admin)


async def is_removed(program, user, server):
    return server not in await servers(program, user, stopped=True)


# ---- who starts a server, and whose


async def test_an_admin_starts_somebodys_server_with_json_options(site, person, admin):
    await person()
    bob = await person()
    job_id = await started(admin, bob.name, partition="debug", time=15)
    job = await site.scheduler.job(job_id)
    assert (job.account_name, job.partition, job.limit) == (bob.name, "debug", 15 * 60)


async def test_a_service_starts_the_server_of_a_user_whom_the_admin_mapped_and_nobody_elses(
    site, person, errands
):
    alice = await person()
    job_id = await started(errands, "checker", time=15)
    job = await site.scheduler.job(job_id)
    assert job.account_name == list(site.accounts)[1].name
    assert (await errands("POST", server_path(alice.name), {})).status_code in (403, 404)
    assert await alice.no_jobs()


async def test_a_service_is_told_of_the_launches_it_may_read_and_an_admin_of_all(
    person, robot, errands, admin
):
    await person()
    bob = await person()
    await started(robot, bob.name)
    await started(errands, "checker")
    assert set(await launches(errands)) == {("checker", "")}
    assert set(await launches(admin)) == {("checker", ""), (bob.name, "")}
    told = await launch_of(errands, "checker")
    assert set(told) == {
        *("user", "server", "cluster", "job_id", "node", "phase", "phase_seconds", "awaited", "in_doubt")
    }
    assert (told["phase"], told["awaited"], told["in_doubt"]) == ("ready", False, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"partition": "nope"}, "partition: must be one of normal, debug"),
        ({"time": "60; rm -rf /"}, "time"),
        ({"time": 10**9}, "time"),
        ({"colour": "blue"}, "colour"),
        ({"cluster": "elsewhere"}, "cluster: must be one of sandbox"),
    ],
)
async def test_options_of_a_program_are_refused_in_words_and_nothing_starts(site, errands, options, words):
    answer = await errands("POST", server_path("checker"), {"user_options": options})
    assert answer.status_code == 400
    assert "These options can't be used." in answer.json()["message"]
    assert words in answer.json()["message"]
    assert await servers(errands, "checker") == {}
    assert await no_jobs(site, list(site.accounts)[1].name)


async def test_a_user_without_a_log_in_whom_nobody_mapped_gets_a_plain_error(site, robot):
    await robot("POST", "users/stranger")
    answer = await robot("POST", server_path("stranger"), {})
    assert answer.status_code == 424
    assert "Your log-in can't be used to start a server.\nLog in again" in answer.json()["message"]
    assert await no_jobs(site, "stranger")
    assert "Traceback" not in site.hub.log.read_text().rpartition("can't be used to start a server")[2]


async def test_a_start_with_a_log_in_that_has_expired_says_so_with_a_link(person, token_faults):
    alice = await person()
    await asyncio.sleep(4)  # then the access token is too old to be used
    with token_faults.error(400, "invalid_grant"):
        failed = (await alice.start())[-1]
    assert failed["failed"]
    assert "Your log-in has expired.\nLog in again, then press Start once more." in failed["message"]
    (link,) = re.findall(r'<a href="([^"]+)">Log in again</a>', failed["html_message"])
    assert link == f"/hub/oauth_login?next=%2Fhub%2Fspawn%2F{alice.name}"
    # Whoever follows it is logged in anew, and gets the form.
    await alice.browser.open(f"{alice.hub.removesuffix('/hub/')}{link}")
    assert (await alice.start())[-1].get("ready")


# ---- what admins see


async def test_a_server_in_doubt_is_shown_with_what_the_scheduler_says_and_its_age(site, person, robot):
    admin, bob = await person(), await person()
    job_id = await started(robot, bob.name)
    with frozen(site, job_id):
        await site.hub.kill_hub()  # a hub that was just started has heard nothing yet
        await site.hub.start_hub()
        await eventually(lambda: in_doubt(robot, bob.name))
        told = await launch_of(robot, bob.name)
        assert (told["phase"], told["job_id"], told["in_doubt"]["scheduler"]) == ("ready", job_id, "RUNNING")
        assert 0 <= told["in_doubt"]["seconds"] < 600
        shown = await attention(admin)
        assert f"{bob.name} sandbox {job_id} " in shown
        assert "It neither reports nor answers. The scheduler says: RUNNING" in shown
        assert re.search(r"RUNNING \d+ seconds", shown)
        assert value(await measured(site, robot), "launcher_servers_in_doubt", cluster="sandbox") == 1
        assert f"Server {bob.name} of job {job_id} neither reports nor answers" in site.hub.log.read_text()
    await eventually(lambda: ready(robot, bob.name), within=LONGEST)
    assert "None: every server reports or answers" in await attention(admin)
    assert await site.live_jobs(bob.name) == [job_id]


async def in_doubt(program, user):
    return (((await launch_of(program, user)) or {}).get("in_doubt") or {}).get("scheduler")


async def test_a_firecrest_that_is_down_is_shown(person, robot, errands, faults):
    admin, bob = await person(), await person()
    with faults.error(503, "no healthy upstream"):
        starts = [
            asyncio.create_task(robot("POST", server_path("checker", name), {})) for name in ("a", "b", "c")
        ]
        await eventually(lambda: taken_for_down(robot))
        assert "FirecREST of sandbox is taken for down" in await attention(admin)
    for start in starts:
        assert (await start).status_code < 500
    await eventually(lambda: ready(robot, "checker", "a"))
    assert not await taken_for_down(robot)
    assert "FirecREST of" not in await attention(admin)
    assert (await bob.browser.open(f"{bob.hub}launcher/clusters")).status == 403


async def taken_for_down(program):
    return "sandbox" in (await program("GET", "launcher/launches")).json()["firecrest_down"]


# ---- metrics


def documented():
    """Return name → type and labels of what docs/admin/metrics.md tells."""
    page = (Path(__file__).parents[2] / "docs/admin/metrics.md").read_text()
    rows = re.findall(r"^\| `(launcher_\w+)` \| (\w+) \| (.*?) \|", page, re.MULTILINE)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


async def test_every_metric_is_documented_with_its_labels():
    ours = [each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)]
    told = documented()
    names = {}
    for each in ours:
        (family,) = each.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        names[name] = family.type
        each.labels(**dict.fromkeys(told[name][1], "documented"))  # raises where others are asked for
    assert names == {name: kind for name, (kind, _) in told.items()}
    assert prometheus_client.generate_latest()


async def test_metrics_move_with_a_launch(site, robot, errands):
    before = await measured(site, robot)
    await started(errands, "checker")
    await eventually(
        lambda: moved(site, robot, before, "launcher_verdicts_total", verdict="alive", source="event")
    )
    await end_all(site, robot, "checker", list(site.accounts)[1].name)
    for phase in ("submitting", "submitted", "claimed", "ready", "ending"):
        await eventually(
            lambda phase=phase: moved(
                site, robot, before, "launcher_phase_seconds_count", cluster="sandbox", phase=phase
            )
        )
    assert await moved(
        site,
        robot,
        before,
        "launcher_firecrest_seconds_count",
        cluster="sandbox",
        call="submit",
        outcome="200",
    )
    assert value(
        await measured(site, robot),
        "launcher_token_requests_total",
        grant="client_credentials",
        outcome="200",
    )


async def moved(site, robot, before, name, **labels):
    return value(await measured(site, robot), name, **labels) > value(before, name, **labels)


async def test_errors_and_strays_are_counted(site, person, robot, faults):
    await person()
    bob = await person()
    before = await measured(site, robot)
    secret = bytes.fromhex((site.state / "hub/cookie_secret").read_text().strip())
    script = f"#!/bin/bash\n# launch {new_launch_id(secret)}\nsleep 1000\n"
    slots, site.scheduler.slots = site.scheduler.slots, 1
    try:
        await site.scheduler.submit(site.accounts[bob.name], Submission(script, name=JOB_NAME))
        with faults.error(503, "no healthy upstream", method="POST", times=1):
            # It waits for the stray, and while it does the hub sees what jobs there are.
            assert (await bob.start())[-1].get("ready")
    finally:
        site.scheduler.slots = slots
    for done in ("seen", "cancelled"):
        assert await moved(site, robot, before, "launcher_strays_total", cluster="sandbox", done=done)
    assert await moved(site, robot, before, "launcher_firecrest_seconds_count", call="submit", outcome="503")


async def test_metrics_are_for_those_who_may_read_them(site, errands):
    async with httpx.AsyncClient(trust_env=False) as nobody:
        assert (await nobody.get(f"{site.url}hub/metrics")).status_code == 403
    assert (await errands("GET", f"{site.url}hub/metrics")).status_code == 403


# ---- older hubs


@pytest.mark.parametrize(("version", "accepted"), [("5.5.1", False), ("6.0.0", True)])
async def test_a_hub_that_is_too_old_is_told_so_plainly(version, accepted):
    program = (
        "import jupyterhub, sys\n"
        "jupyterhub.__version__ = sys.argv[1]\n"
        "jupyterhub.version_info = (*map(int, sys.argv[1].split('.')), '', '')\n"
        "import launcher.spawner\n"
    )
    run = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program, version], capture_output=True, text=True, check=False
    )
    if accepted:
        assert (run.returncode, run.stderr) == (0, "")
        return
    assert run.returncode == 1
    assert run.stderr == (
        f"firecrest-launcher's spawner needs JupyterHub 6 or newer at the hub; this is {version}. "
        "Compute nodes may run 5.5.1 or newer.\n"
    )
