"""A real code-server behind a real hub and proxy: where it is, what it listens on, and how it ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from code_server import assert_private, code_server, processes
from support import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

# A careless user, whose files and sockets everybody may write to, with what would have it listen somewhere.
CLUSTER = {"prologue": "umask 0\nexport PORT=0 CODE_SERVER_HOST=0.0.0.0 PASSWORD=secret", "proxy": True}
OWN = "bind-addr: 0.0.0.0:0\nauth: password\npassword: secret\ncert: true\n"


@pytest.fixture
def installed(site):
    """A node that has code-server."""
    command = site.state / "software/bin/code-server"
    command.symlink_to(code_server())
    yield
    command.unlink()


async def log_of(site, person):
    (job_id,) = await site.live_jobs(person.name)
    return Path((await site.scheduler.job(job_id)).standard_output).read_text()


async def tiles(person):
    return await person.browser.fetch("GET", f"{person.server}server-proxy/servers-info")


async def test_without_code_server_there_is_no_tile_and_nothing_is_said(site, person):
    alice = await person()
    await alice.start()
    await alice.browser.open(f"{alice.server}lab")
    assert await tiles(alice) == {"server_processes": []}
    log = await log_of(site, alice)
    assert "vscode" not in log
    assert "code-server" not in log
    assert (await alice.browser.call("GET", f"{alice.server}vscode/")).status_code == 404


async def test_it_listens_where_no_other_user_can_enter_and_ends_with_the_session(site, person, installed):
    alice = await person()
    account = site.accounts[alice.name]
    own = account.home / ".config/code-server/config.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(OWN)
    for each in (own.parents[1], own.parent, own):
        os.chown(each, account.uid, account.gid)
    await alice.start()
    directory = Path((await alice.compute("import os; print(os.environ['JUPYTER_RUNTIME_DIR'])")).strip())

    (tile,) = (await tiles(alice))["server_processes"]
    assert tile["launcher_entry"]["title"] == "VS Code"
    page = await alice.browser.call("GET", f"{alice.server}vscode/")
    assert page.status_code == 200
    assert str(page.url) == f"{alice.server}vscode/?folder={account.home}"
    assert "code-server" in page.text

    assert_private(processes(account.uid), directory)
    # Its own way to ports is shut, though the server's is open.
    assert (await alice.browser.call("GET", f"{alice.server}vscode/proxy/8000/")).status_code == 403
    (data,) = account.home.glob(f".local/share/code-server/*-{os.uname().machine}")
    assert data.stat().st_mode & 0o777 == 0o700
    assert (data / "User/settings.json").exists()
    assert own.read_text() == OWN

    await alice.stop()

    async def nothing_is_left():
        return not processes(account.uid) and not directory.exists()

    await eventually(nothing_is_left)
