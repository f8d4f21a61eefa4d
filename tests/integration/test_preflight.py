"""A node that is not fit for a session, with a real hub and proxy: the page of the failed start says why."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest
from support import eventually, program

from launcher.check.session import run_in_terminal

# A file in somebody's home sets what their jobs find, another one what the node has mounted for them.
CLUSTER = {"prologue": "[ ! -f ~/prologue ] || . ~/prologue"}
NODE = """\
#!/bin/sh
[ -f ~/mounts ] || exec "$0-itself"
PATH=$PATH:/usr/sbin:/sbin exec {unshare} --map-root-user --mount sh -ec '. ~/mounts; exec "$0-itself"' "$0"
"""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def node(site, cluster_file):
    """Return a function that sets what somebody's jobs find on their node, for one test."""
    launcher = site.state / "software/bin/launcher-on-node"
    launcher.write_text(NODE.format(unshare=program("unshare")))
    launcher.chmod(0o755)
    itself = launcher.with_name("launcher-on-node-itself")
    itself.write_text(
        f"#!/bin/sh\nexec ${{CLOCK:-}} {site.state}/software/bin/python -I -m launcher.singleuser\n"
    )
    itself.chmod(0o755)
    cluster_file(launcher=str(launcher))
    written = []

    def write(person, *, mounts="", prologue=""):
        home = site.state / "home" / person.name
        for name, shell in (("mounts", mounts), ("prologue", prologue)):
            if shell:
                written.append(home / name)
                written[-1].write_text(shell)

    yield write
    for path in written:
        path.unlink()


async def failed(person):
    """Return what the page of a failed start says."""
    event = (await person.start())[-1]
    assert event["failed"]
    assert "Traceback" not in event["message"]
    await eventually(person.no_jobs)
    return event["message"]


async def test_a_full_home_is_told_with_its_file_system_and_what_to_delete(site, person, node):
    alice = await person()
    home = site.state / "home" / alice.name
    node(
        alice,
        mounts='mount -t tmpfs -o size=32k none "$HOME"\nmkdir "$HOME/.cache"\n'
        'cat /dev/zero > "$HOME/full" 2> /dev/null || :',
    )
    said = await failed(alice)
    assert "exit code 22" in said
    assert f"There is no space left in your home directory {home}." in said
    assert f"No space left on device. It is on {home} (tmpfs), which has 0 MB free." in said
    assert "Delete or move files there, first what is only a cache: ~/.cache." in said


async def test_a_read_only_home_is_told(site, person, node):
    alice = await person()
    node(alice, mounts='mount --bind "$HOME" "$HOME"\nmount -o remount,bind,ro "$HOME"')
    assert (
        f"nothing can be written to your home directory {site.state}/home/{alice.name}: it is read-only"
        in (await failed(alice))
    )


async def test_a_directory_for_temporary_files_that_takes_none_is_told_in_the_log_and_another_taken(
    site, person, node
):
    alice = await person()
    node(alice, prologue="mkdir -p ~/job-tmp\nchmod 500 ~/job-tmp\nexport TMPDIR=~/job-tmp")
    said = (await alice.start())[-1]
    assert said.get("ready"), said["message"]
    assert await alice.compute("import os; print(os.environ['TMPDIR'])") == "/tmp\n"
    (job_id,) = await site.live_jobs(alice.name)
    log = Path((await site.scheduler.job(job_id)).standard_output).read_text()
    assert "job-tmp can't be used on this node (Permission denied), /tmp is used" in log


async def test_a_user_environment_that_is_not_mounted_is_told(person, node):
    alice = await person()
    mount = "~/user-environment"
    node(alice, prologue=f"mkdir -p {mount}\nexport UENV_MOUNT_LIST=/images/prgenv.squashfs:$(echo {mount})")
    said = await failed(alice)
    assert "The image prgenv is not mounted at " in said
    assert "choose another environment" in said


async def test_a_user_environment_for_other_processors_is_told(site, person, node):
    alice = await person()
    mount = site.state / "home" / alice.name / "user-environment"
    (mount / "meta").mkdir(parents=True, exist_ok=True)
    (mount / "bin").mkdir(exist_ok=True)
    (mount / "bin/bash").write_bytes(foreign())
    values = {"list": {"PATH": [{"op": "prepend", "value": [f"{mount}/bin"]}]}}
    view = {"default": {"env": {"values": values}}}
    (mount / "meta/env.json").write_text(json.dumps({"name": "prgenv", "views": view}))
    node(
        alice,
        prologue=f"export UENV_MOUNT_LIST=/images/prgenv.squashfs:{mount} UENV_VIEW={mount}:prgenv:default",
    )
    assert "The image prgenv is for " in await failed(alice)


async def test_a_launcher_for_other_processors_is_told(site, person, cluster_file):
    alice = await person()
    other = site.state / "software/bin/launcher-for-others"
    other.write_bytes(foreign())
    other.chmod(0o755)
    cluster_file(launcher=str(other))
    said = await failed(alice)
    assert "Its environment is made for other processors than its node has." in said
    assert "Exec format error" in said


async def test_a_node_whose_clock_is_wrong_is_told(person, node):
    alice = await person()
    node(alice, prologue=f"export CLOCK='{program('faketime')} -f -10m'")
    assert "The clock of this node is 10 minutes behind the hub's." in await failed(alice)


async def test_a_range_without_a_free_port_is_told(person, cluster_file):
    alice = await person()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cluster_file(ports=[port, port])
        said = await failed(alice)
    assert f"All ports from {port} to {port} are taken on this node." in said
    assert "exit code 23" in said


async def test_proxy_variables_and_a_runtime_directory_that_is_not_fit_are_in_nobodys_way(person, node):
    alice = await person()
    proxies = (
        "export http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 all_proxy=http://127.0.0.1:9"
    )
    node(alice, prologue=f"{proxies}\nexport JUPYTER_RUNTIME_DIR=/proc TMPDIR=/nonexistent/job")
    assert (await alice.start())[-1].get("ready")
    found = await alice.compute("import os; print(os.environ['JUPYTER_RUNTIME_DIR'], os.environ['TMPDIR'])")
    directory, temporary = found.split()
    assert directory.startswith("/dev/shm/launcher-")
    assert Path(directory).stat().st_mode & 0o077 == 0
    assert temporary == "/tmp"
    await run_in_terminal(alice.browser, alice.server, "echo $((40+2))=$http_proxy", "42=http://127.0.0.1:9")
    await alice.stop()
    assert not Path(directory).exists()


def foreign():
    """Return a program for processors that this machine has not."""
    program = Path(sys.executable).read_bytes()[:4096]
    machine = b"\x3e\0" if program[18] != 0x3E else b"\xb7\0"
    return program[:18] + machine + program[20:]
