"""`launcher demo` as a person runs it: a program of its own, ended by signals, alone or beside another."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support import eventually

from launcher.sandbox.processes import start_time

LAUNCHER = str(Path(sys.executable).with_name("launcher"))
BASE = Path("/var/tmp")


def left_over(before: set[Path]) -> set[Path]:
    """Return the state directories that were not there before, without those of sites that run meanwhile."""
    return {path for path in set(BASE.glob("launcher-demo-*")) - before if not in_use(path)}


def in_use(state: Path) -> bool:
    """Whether the process that made a state directory lives; waits where it is about to say so, or to end."""
    for _ in range(50):
        with contextlib.suppress(OSError, ValueError):
            pid, started = (state / "owner").read_text().split()
            return start_time(int(pid)) == started
        time.sleep(0.1)
    return not state.exists()


def processes_of(state: str) -> list[int]:
    """Return the processes that have anything to do with a state directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            known = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            if state.encode() in known or str((process / "cwd").readlink()).startswith(state):
                found.append(int(process.name))
    return found


def marked_users(pid: int) -> list[str]:
    """Return the unix users that a demo made."""
    return [user.pw_name for user in pwd.getpwall() if re.search(rf"\b{pid}\b", user.pw_gecos)]


async def run(*arguments: str, timeout: float = 100) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        LAUNCHER, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(timeout):
        output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


@contextlib.asynccontextmanager
async def demo(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run a demo until it has said all that it says; yields it with what it said."""
    process = await asyncio.create_subprocess_exec(
        LAUNCHER, "demo", "--scheduler", "process", *arguments, stdout=asyncio.subprocess.PIPE
    )
    said = ""
    try:
        async with asyncio.timeout(60):
            while "Ctrl-C" not in said:
                line = await process.stdout.readline()
                assert line, said
                said += line.decode()
        yield process, said
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(60):
                await process.communicate()


def state_of(said: str) -> str:
    return re.search(r"Logs: (\S+)/hub", said)[1]


async def test_the_check_prints_json_with_every_step_and_leaves_nothing():
    before = set(BASE.glob("launcher-demo-*"))
    code, output, _ = await run("demo", "--check", "--scheduler", "process", "--json")
    report = json.loads(output)
    assert code == 0
    assert report["ok"] is True
    assert all(step["ok"] is True and step["seconds"] >= 0 for step in report["steps"])
    names = [step["name"] for step in report["steps"]]
    assert names == [
        "log in",
        "options form",
        "start",
        "JupyterLab",
        "kernel",
        "cell output",
        "terminal",
        "stop",
        "job gone",
    ]
    assert not left_over(before)


async def test_it_says_what_to_do_and_ctrl_c_leaves_nothing():
    before = set(BASE.glob("launcher-demo-*"))
    async with demo() as (process, said):
        state = state_of(said)
        assert re.search(r"JupyterHub is at http://127\.0\.0\.1:\d+/", said)
        assert re.search(r"alice\d* +password \S{12,}", said)
        assert re.search(r"bob\d* +password \S{12,}", said)
        assert processes_of(state)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(60):
            await process.communicate()
        assert process.returncode == 0
    assert not left_over(before)
    assert not processes_of(state)
    assert not marked_users(process.pid)


@pytest.mark.parametrize(
    "moment", ["Starting the scheduler", "Starting the identity provider", "Copying", "Starting JupyterHub"]
)
async def test_ctrl_c_while_it_starts_leaves_nothing(moment):
    before = set(BASE.glob("launcher-demo-*"))
    process = await start_in_own_group()
    said = ""
    async with asyncio.timeout(60):
        while moment not in said:
            said = (await process.stderr.readline()).decode()
            assert said
        await end_group(process)
    assert not left_over(before)
    assert not marked_users(process.pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="without root no users are made")
async def test_ctrl_c_while_users_are_made_leaves_nothing():
    before = set(BASE.glob("launcher-demo-*"))
    process = await start_in_own_group()
    async with asyncio.timeout(60):
        while not marked_users(process.pid):
            await asyncio.sleep(0.005)
        await end_group(process)
    assert not left_over(before)
    assert not marked_users(process.pid)


async def start_in_own_group() -> asyncio.subprocess.Process:
    """Start a demo as a shell does: a Ctrl-C reaches it and all that is in its group."""
    return await asyncio.create_subprocess_exec(
        LAUNCHER, "demo", "--scheduler", "process", stderr=asyncio.subprocess.PIPE, process_group=0
    )


async def end_group(process: asyncio.subprocess.Process) -> None:
    """Press Ctrl-C, impatiently, until it has ended."""
    errors = asyncio.create_task(process.stderr.read())
    while process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 0.3)
    # The last one may come when the interpreter itself ends.
    assert process.returncode in (0, -signal.SIGINT)
    assert "Traceback" not in (await errors).decode()


async def test_a_killed_one_leaves_no_process_and_the_next_removes_the_rest():
    async with demo() as (process, said):
        state = state_of(said)
        process.kill()
        await process.communicate()

    async def all_ended():
        return not processes_of(state)

    await eventually(all_ended)
    await run("demo", "--check", "--scheduler", "process", "--json")
    assert not Path(state).exists()
    assert not marked_users(process.pid)


@pytest.mark.extra
async def test_two_stand_side_by_side_and_a_taken_port_is_said_so():
    async with demo() as (_, said):
        port = re.search(r"127\.0\.0\.1:(\d+)/", said)[1]
        code, output, errors = await run("demo", "--port", port)
        assert code == 6
        assert f"Port {port} can't be used: Address already in use" in errors
        code, output, errors = await run("demo", "--check", "--scheduler", "process", "--json")
        assert code == 0, errors
        assert json.loads(output)["ok"]


async def test_a_hub_that_dies_is_started_again():
    async with demo() as (_, said):
        state = state_of(said)
        hub = next(
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/environ")
            if hub_of(path, f"LAUNCHER_SANDBOX_DIRECTORY={state}/hub")
        )
        os.kill(hub, signal.SIGKILL)
        log = Path(state, "hub/jupyterhub.log")

        async def started_again():
            return log.read_text().count("JupyterHub is now running") == 2

        await eventually(started_again)


def hub_of(environ: Path, variable: str) -> bool:
    with contextlib.suppress(OSError):
        return variable.encode() in environ.read_bytes().split(b"\0")
    return False


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--json"], 2, "--json goes with --check"),
        (["--scheduler", "pbs"], 2, "pbs"),
        (["--port", "99999999"], 2, "port"),
        (["--state", "/usr"], 2, "not empty"),
    ],
)
async def test_a_wrong_command_line_is_said_so_without_a_traceback(arguments, code, words):
    exit_code, _, errors = await run("demo", *arguments)
    assert exit_code == code
    assert words in errors
    assert "Traceback" not in errors


@pytest.mark.extra
async def test_a_chosen_state_directory_is_kept():
    with tempfile.TemporaryDirectory(dir=BASE) as base:
        Path(base).chmod(0o755)
        code, _, errors = await run("demo", "--check", "--scheduler", "process", "--state", f"{base}/state")
        assert code == 0, errors
        assert "JupyterHub is now running" in Path(base, "state/hub/jupyterhub.log").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="without root all accounts are the caller")
async def test_a_state_directory_that_accounts_can_not_reach_is_said_so(tmp_path):
    code, _, errors = await run(
        "demo", "--check", "--scheduler", "process", "--state", str(tmp_path / "state")
    )
    assert code == 6
    assert "Traceback" not in errors
    assert str(tmp_path / "state") in errors
