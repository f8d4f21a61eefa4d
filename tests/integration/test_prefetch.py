"""`launcher prefetch` as a site runs it: on a machine that has uenv, and through FirecREST."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
import pytest_asyncio
from slurm.uenv import Registry, put_uenv
from support import command_lines, eventually

from launcher.sandbox.site import Site
from launcher.sandbox.state import state_directory

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

TOOLS, GNU, GONE = "jupyterlab/v4.6:v1", "prgenv-gnu/24.11:v1", "gone/1:v1"
COMMAND = "from launcher.cli import cli, main; from launcher.cli.prefetch import prefetch; "
COMMAND += "cli.add_command(prefetch); main()"


@pytest.fixture(scope="module")
def state():
    with state_directory(None) as state:
        yield state


@pytest.fixture(scope="module")
def registry(state):
    registry = Registry(state / "registry")
    for label in (TOOLS, GNU):
        image = state / label.partition("/")[0]
        image.write_bytes(os.urandom(2**21))
        registry.add(label, image)
    return registry


@pytest.fixture(scope="module")
def prologue(state, registry):
    programs = state / "bin"
    programs.mkdir()
    put_uenv(programs / "uenv")
    return f"export UENV_REGISTRY={registry.directory} PATH={programs}:$PATH"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(state, prologue):
    """A site with an account that has credentials of its own."""
    changes = {
        "tools": {"image": TOOLS},
        "uenv": {"attach": "run", "pull": True},
        "prologue": prologue,
        "environments": [
            {"id": "gnu", "kind": "uenv", "image": GNU},
            {"id": "gone", "kind": "uenv", "image": GONE},
            {"id": "file", "kind": "uenv", "image": f"{state}/none.squashfs"},
            {"id": "torch", "kind": "container", "edf": "pytorch"},
        ],
    }
    site = Site(state, scheduler="process", changes=changes, user_accounts={"checker": "bob"}, stand_in=True)
    await site.start()
    try:
        yield site
    finally:
        await site.stop()


class Ran:
    def __init__(self, code, output, errors):
        self.code, self.errors = code, errors
        self.report = json.loads(output) if output.startswith("{") else {}
        self.states = {each["image"]: each["state"] for each in self.report.get("images", ())}
        self.why = {each["image"]: each["why"] for each in self.report.get("images", ())}


async def begin(site, environment, *arguments):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FIRECREST_")}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMAND, "prefetch", str(site.cluster_file), *arguments),
        env={**kept, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process):
    output, errors = await process.communicate()
    assert "Traceback" not in errors.decode()
    return Ran(process.returncode, output.decode(), errors.decode())


@pytest.fixture
def account(site):
    """Return what the environment says of the account."""
    entries = Path(f"/proc/{site.hub.process.pid}/environ").read_bytes().split(b"\0")
    traits = json.loads(
        next(each for each in entries if each.startswith(b"TRAITS=")).removeprefix(b"TRAITS=")
    )
    values = traits["LauncherSpawner"]["user_accounts"]["checker"]
    return {
        "AUTH_TOKEN_URL": values["token_url"],
        "FIRECREST_CLIENT_ID": values["client_id"],
        "FIRECREST_CLIENT_SECRET": values["client_secret"],
    }


@pytest.fixture
def bob(site):
    """Return the account, with nothing in its repository."""
    bob = list(site.accounts)[1]
    shutil.rmtree(bob.home / ".uenv", ignore_errors=True)
    return bob


@pytest.fixture
def by_job(site, account, bob):
    """Return a function that begins it with credentials for FirecREST."""
    return lambda *arguments: begin(site, account, "--user", bob.name, "--json", *arguments)


@pytest.fixture
def here(site, registry, prologue, tmp_path):
    """Return a function that begins it on a machine with uenv, where all is for root."""
    environment = {
        "UENV_REGISTRY": str(registry.directory),
        "HOME": str(tmp_path),
        "PATH": f"{site.state}/bin:{os.environ['PATH']}",
    }
    return lambda *arguments: begin(site, environment, "--json", *arguments)


@pytest.fixture(params=["here", "by_job"])
def prefetch(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(autouse=True)
def as_usual(registry):
    yield
    registry.is_like()


async def test_what_is_not_there_is_fetched_and_what_fails_is_told(prefetch, registry):
    first = await ended(await prefetch())
    assert first.states == {
        TOOLS: "fetched",
        GNU: "fetched",
        GONE: "failed",
        first.report["images"][3]["image"]: "missing",
        "pytorch": "not staged",
    }
    assert first.code == 7
    assert "no uenv found that match 'gone/1:v1'" in first.why[GONE]
    assert first.why[TOOLS].endswith("/store.squashfs")
    assert "2 of 5 images are not there: gone/1:v1" in first.errors
    second = await ended(await prefetch("--environment", "gnu"))
    assert (second.code, second.states) == (0, {TOOLS: "present", GNU: "present"})


async def test_progress_is_told_meanwhile(prefetch, registry):
    registry.is_like(pause=0.4)
    done = await ended(await prefetch("--environment", "gnu"))
    assert done.code == 0
    lines = [line for line in done.errors.splitlines() if line.startswith(GNU)]
    assert lines[-1] == f"{GNU}: fetched"


async def test_a_registry_that_is_down_is_not_taken_for_success(prefetch, registry):
    registry.is_like(down=True)
    done = await ended(await prefetch("--environment", "gnu"))
    assert (done.code, set(done.states.values())) == (7, {"failed"})
    assert "unable to get a listing" in done.why[TOOLS]


async def test_an_interrupt_ends_it_and_what_it_began(site, prefetch, registry, bob):
    registry.is_like(pause=60)
    process = await prefetch("--environment", "gnu")
    async for line in process.stderr:
        if b"pulling" in line or b"RUNNING" in line:
            break
    process.send_signal(signal.SIGINT)
    _, errors = await process.communicate()
    assert process.returncode == 7
    assert b"The prefetch was interrupted." in errors

    async def over():
        return not await site.live_jobs(bob.name) and not any(
            "image pull" in line for line in command_lines()
        )

    await eventually(over)


async def test_a_job_that_is_cancelled_is_told_so(site, by_job, registry, bob):
    registry.is_like(pause=60)
    process = await by_job("--environment", "gnu")
    async for line in process.stderr:
        if b"RUNNING" in line:
            break
    (job_id,) = await site.live_jobs(bob.name)
    await site.scheduler.cancel(bob, job_id)
    done = await ended(process)
    assert (done.code, set(done.states.values())) == (7, {"failed"})
    assert done.report["trouble"].startswith(f"Job {job_id} ended as CANCELLED")


async def test_a_job_that_takes_too_long_is_cancelled(site, by_job, registry, bob):
    registry.is_like(pause=60)
    done = await ended(await by_job("--environment", "gnu", "--timeout", "10"))
    assert done.code == 7
    assert "was not over after 10 s. It is cancelled." in done.report["trouble"]
    assert await site.live_jobs(bob.name) == []


async def test_the_secret_is_nowhere_to_be_seen(site, by_job, account, registry):
    registry.is_like(pause=0.3)
    process = await by_job("--environment", "gnu")
    seen = []
    while process.returncode is None and len(seen) < 5:
        seen += command_lines()
        await asyncio.sleep(0.3)
    output, errors = await process.communicate()
    everything = "\n".join([*seen, output.decode(), errors.decode()])
    assert account["FIRECREST_CLIENT_SECRET"] not in everything


async def test_no_job_is_submitted_with_credentials_that_are_wrong(site, account, bob):
    wrong = account | {"FIRECREST_CLIENT_SECRET": "x"}
    process = await begin(site, wrong, "--user", bob.name)
    _, errors = await process.communicate()
    assert process.returncode == 8
    assert b"identity provider" in errors
