"""What pages hear of what a session uses, and of kernels that are killed, in a real JupyterLab of a hub."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest
from panel import Page
from support import missing

from launcher.check.session import Kernel
from launcher.errors import CheckFailed

MIB = 2**20
LIMIT = 1024 * MIB
CLUSTER = {"prologue": "[ ! -f ~/prologue ] || . ~/prologue"}
DIE = "import os; os.kill(os.getpid(), {})"

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Notebook:
    """A browser in which a kernel is that of a notebook, not of a console."""

    def __init__(self, browser, path):
        self._browser = browser
        self._path = path

    def __getattr__(self, name):
        return getattr(self._browser, name)

    async def fetch(self, method, url, body=None):
        if method == "POST" and url.endswith("api/sessions"):
            body = {**body, "path": self._path, "type": "notebook"}
        return await self._browser.fetch(method, url, body)


@pytest.fixture
def page():
    """Return a function that opens somebody's JupyterLab."""
    with contextlib.ExitStack() as opened:

        async def connect(someone):
            assert (await someone.browser.open(f"{someone.server}lab")).status == 200
            connected = await Page.open(someone)
            opened.callback(connected.close)
            return connected

        yield connect


@pytest.fixture
def kernel():
    """Return a function that starts the kernel of a notebook, or of a console."""
    with contextlib.ExitStack() as opened:

        async def start(someone, notebook=""):
            browser = Notebook(someone.browser, notebook) if notebook else someone.browser
            started = await Kernel.start(browser, someone.server)
            opened.callback(started.close)
            return started

        yield start


async def dies(kernel, code):
    with pytest.raises(CheckFailed, match="The kernel died"):
        await kernel.run(code)


async def log(site, someone):
    (job_id,) = await site.live_jobs(someone.name)
    return Path((await site.scheduler.job(job_id)).standard_output).read_text()


@pytest.fixture
def memory_group():
    """A real control group of a job, of which the next session is, below the one that the tests are in."""
    own = [
        line.split(":", 2)[2]
        for line in Path("/proc/self/cgroup").read_text().split("\n")
        if ":memory:" in line
    ]
    top = Path(f"/sys/fs/cgroup/memory{own[0]}" if own else "/none")
    if not os.access(top, os.W_OK):
        missing("no memory cgroup of version 1 can be made", "run the tests as root where there are some")
    job = top / f"job_{os.getpid()}"
    step = job / "step_batch"
    step.mkdir(parents=True)
    try:
        (job / "memory.limit_in_bytes").write_text(f"{LIMIT}")
        yield step
    finally:
        deadline = time.monotonic() + 60
        while (step / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        for path in (step, job):
            path.rmdir()


async def test_a_kernel_that_is_killed_is_told_to_pages_with_its_notebook(site, person, page, kernel):
    alice = await person()
    await alice.start()
    told = await page(alice)
    console, notebook = await kernel(alice), await kernel(alice, "a.ipynb")

    # It dies by itself, or is ended by its user, by force in the end: JupyterLab's own words do.
    await dies(console, DIE.format(11))
    stubborn = await kernel(alice, "b.ipynb")
    await stubborn.run("import os, signal; signal.signal(15, signal.SIG_IGN)")
    await alice.browser.fetch("DELETE", stubborn.url)

    await dies(notebook, DIE.format(9))
    assert await told.hear("killed") == {
        "kind": "killed",
        "path": "a.ipynb",
        "name": notebook.title,
        "memory": False,
        "limit": None,
    }
    assert "was killed: want of memory is the usual cause" in await log(site, alice)
    await dies(console, DIE.format(9))
    assert (await told.hear("killed"))["path"] is None


async def test_pages_that_watch_hear_what_the_processes_of_the_session_use(site, person, page, kernel):
    alice = await person()
    await alice.start()
    told = await page(alice)
    await told.say(kind="watch", on=True)
    use = await told.hear("use")
    assert use["memory"]["used"] > 50 * MIB
    assert use["cpu"]["of"] > 0
    assert use["gpus"] == []
    held = await kernel(alice)
    await held.run(f"held = b'x' * {400 * MIB}")
    while (await told.hear("use"))["memory"]["used"] < use["memory"]["used"] + 400 * MIB:
        pass


@pytest.mark.extra
async def test_a_kernel_that_the_system_kills_for_want_of_memory_is_told_as_that(
    site, memory_group, person, page, kernel
):
    alice = await person()
    prologue = site.state / "home" / alice.name / "prologue"
    procs = memory_group / "cgroup.procs"
    os.chown(procs, prologue.parent.stat().st_uid, -1)
    prologue.write_text(f"echo 0 > {procs}\n")
    try:
        await alice.start()
    finally:
        prologue.unlink()
    told = await page(alice)
    await told.say(kind="watch", on=True)
    use = await told.hear("use")
    assert use["memory"]["limit"] == LIMIT
    assert 50 * MIB < use["memory"]["used"] < LIMIT

    greedy = await kernel(alice, "a.ipynb")
    await dies(greedy, f"b'x' * {2 * LIMIT}")
    assert await told.hear("killed") == {
        "kind": "killed",
        "path": "a.ipynb",
        "name": greedy.title,
        "memory": True,
        "limit": LIMIT,
    }
    assert "was killed: the job was out of memory" in await log(site, alice)
    assert await alice.compute() == "42\n"
