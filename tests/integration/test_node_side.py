"""The keys of the cluster file that reach the compute node, with a real hub, proxy and JupyterLab."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from panel import Page
from support import saved_record

from launcher.check.session import run_in_terminal

# The nodes of the sandbox are this machine, which calls itself anything: one name is known everywhere.
CLUSTER = {
    "node_addresses": {"names": ["local*"], "interface": "lo"},
    "start_directory": ["home", "scratch"],
    "idle": {"server": 90, "kernel": 30},
    "vscode": False,
    "prologue": "export SLURMD_NODENAME=localhost\n[ ! -f ~/prologue ] || . ~/prologue",
}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def prologue(site):
    """Return a function that sets what somebody's jobs run before the server, for one test."""
    written = []

    def write(name: str, shell: str) -> None:
        written.append(site.state / "home" / name / "prologue")
        written[-1].write_text(shell)

    yield write
    for path in written:
        path.unlink()


async def test_a_server_is_found_by_its_nodes_name_and_listens_on_the_interface(site, person):
    alice = await person()
    assert (await alice.start())[-1].get("ready")
    assert saved_record(site, alice.name)["url"].startswith("http://localhost:")
    assert await alice.compute() == "42\n"


async def test_a_node_of_another_name_is_told_so(site, person, prologue):
    alice = await person()
    prologue(alice.name, "export SLURMD_NODENAME=hub.example.org")
    failed = (await alice.start())[-1]
    assert "hub.example.org" in failed["message"]
    assert "node_addresses.names of the cluster file does not fit this node" in failed["message"]


async def test_jupyterlab_opens_in_the_start_directory_with_everything_else_in_reach(site, person):
    alice = await person()
    start = site.state / "scratch" / alice.name
    await alice.start(start_directory="scratch")
    path = str(start).lstrip("/")

    page = await alice.browser.open(alice.server)
    assert page.path == f"/user/{alice.name}/lab/tree/{path}"
    config = json.loads(page.data["jupyter-config-data"])
    assert (config["serverRoot"], config["preferredPath"]) == ("/", path)
    await run_in_terminal(alice.browser, alice.server, "echo $((40+2))=$PWD", f"42={start}")
    assert await alice.compute("import os; print(os.getcwd())") == f"{start}\n"
    for directory in (path, str(site.state / "home" / alice.name).lstrip("/")):
        answer = await alice.browser.call("GET", f"{alice.server}api/contents/{directory}")
        assert answer.json()["type"] == "directory"


async def test_terminals_have_the_environment_of_the_job_which_no_profile_sets_anew(site, person, prologue):
    alice = await person()
    prologue(alice.name, "export PATH=/opt/mine/bin:$PATH FROM_THE_JOB=here")
    await alice.start()
    await alice.browser.open(f"{alice.server}lab")
    asked = "shopt -q login_shell; echo $((40+2))=$?=$FROM_THE_JOB=${PATH%%:*}"
    await run_in_terminal(alice.browser, alice.server, asked, "42=1=here=/opt/mine/bin")


async def test_a_start_directory_that_is_not_there_is_told_before_jupyterlab_starts(site, person):
    alice = await person()
    start = site.state / "scratch" / alice.name
    start.rename(start.with_name("elsewhere"))
    try:
        failed = (await alice.start(start_directory="scratch"))[-1]
    finally:
        start.with_name("elsewhere").rename(start)
    assert f"start directory {start}" in failed["message"]
    assert "No such file or directory" in failed["message"]
    assert "Choose another start directory" in failed["message"]


async def test_idle_times_reach_the_server_and_neither_vs_codes_tile_nor_its_address_is_there(site, person):
    alice = await person()
    await alice.start()
    installed = await alice.compute("import jupyter_vscode_proxy as found; print(found.__name__)")
    assert installed == "jupyter_vscode_proxy\n"
    with contextlib.closing(await Page.open(alice)) as page:
        assert (await page.hear("session"))["idle"] == 90
    tiles = await alice.browser.fetch("GET", f"{alice.server}server-proxy/servers-info")
    assert tiles == {"server_processes": []}
    assert (await alice.browser.call("GET", f"{alice.server}vscode/")).status_code == 404
    (job_id,) = await site.live_jobs(alice.name)
    log = Path((await site.scheduler.job(job_id)).standard_output).read_text()
    assert "Culling kernels with idle durations > 1800 seconds at 60 second intervals" in log
    assert "jupyter_vscode_proxy" not in log
