"""A session that consists of the two images that the launcher's recipes make, in a real Slurm."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import pytest_asyncio
from container_site import container_site
from images import TOOLS, USER, write_views

from launcher.builder import squashfs
from launcher.check.session import Kernel
from launcher.sandbox.state import state_directory

pytestmark = pytest.mark.asyncio(loop_scope="module")

JUPYTER, SCIENCE = f"{TOOLS}/env/jupyter", f"{USER}/env/default"
PACKAGES = f"{SCIENCE}/lib/python3.11/site-packages"
LOOK = """\
import json, os, sys
found = {"prefix": sys.prefix, "base": sys.base_prefix, "executable": sys.executable, "path": sys.path}
"""
# The one file of its user's that the server runs.
IN_SERVER = f"""{LOOK}
with open(os.path.expanduser("~/server.json"), "w") as file:
    json.dump(found, file)
"""
IN_KERNEL = f"""{LOOK}
import numpy
found |= {{"numpy": numpy.__file__, "product": float(numpy.ones(3) @ numpy.ones(3))}}
print(json.dumps(found))
"""
NO_PYTHON = "#!/bin/sh\necho 'The host has no Python.' >&2\nexit 127\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(built, mount_points):
    with state_directory(None) as state:
        state.chmod(0o755)
        tools, science = (shutil.copy(image, state) for image in built)
        for image in (tools, science):
            described = json.loads(squashfs.read(Path(image), "meta/env.json"))
            views = {name: view["env"]["values"] for name, view in described["views"].items()}
            write_views(Path(image), views)
        async with container_site(state, **clusters(tools, science, state / "bin")) as site:
            for account in site.accounts:
                prepare(account)
            yield site


def clusters(tools, science, programs):
    """Return a site's options: a cluster for each way to have both images mounted."""
    changes = {
        "tools": {"image": tools},
        "uenv": {"attach": "squashfs-mount"},
        "prologue": f"export PATH=$HOME/first:{programs}:$PATH",
        "environments": [{"id": "science", "kind": "uenv", "image": science, "view": "default"}],
    }
    directive = {"uenv": {"attach": "directive"}, "prologue": "export PATH=$HOME/first:$PATH"}
    return {"changes": changes, "more_clusters": {"plugin": directive, "run": {"uenv": {"attach": "run"}}}}


def prepare(account):
    """Let an account's servers tell which Python they are, and hide the host's from its programs."""
    configuration = account.home / ".jupyter/jupyter_server_config.py"
    configuration.parent.mkdir()
    configuration.write_text(IN_SERVER)
    first = account.home / "first"
    first.mkdir()
    for name in ("python", "python3"):
        (first / name).write_text(NO_PYTHON)
        (first / name).chmod(0o755)
    subprocess.run(["chown", "-R", f"{account.uid}:{account.gid}", account.home], check=True)


def pythons(account) -> dict[str, str]:
    """Return the files of Pythons that an account's processes have mapped: file → a command line."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.stat().st_uid == account.uid:
                command = (process / "cmdline").read_text().replace("\0", " ")
                files = re.findall(r"/\S*python3\S*$", (process / "maps").read_text(), re.MULTILINE)
                found |= dict.fromkeys(files, command)
    return found


@pytest_asyncio.fixture(loop_scope="module")
async def started(person):
    """Somebody's session on a cluster, with JupyterLab open."""

    async def start(cluster):
        alice = await person()
        said = await alice.start(cluster=cluster, environment="science")
        assert said[-1].get("ready"), json.dumps(said, indent=1)
        assert (await alice.browser.open(f"{alice.server}lab")).status == 200
        return alice

    return start


@pytest.mark.parametrize("cluster", ["sandbox", "plugin", "run"])
async def test_a_session_needs_no_python_but_those_of_its_images(site, started, cluster):
    alice = await started(cluster)
    account = site.accounts[alice.name]
    server = json.loads((account.home / "server.json").read_text())
    assert (server["prefix"], server["base"]) == (JUPYTER, f"{TOOLS}/python")
    assert server["executable"].startswith(f"{JUPYTER}/bin/python")
    assert [path for path in server["path"] if not path.startswith(f"{TOOLS}/")] == []

    kernel = await Kernel.start(alice.browser, alice.server)
    try:
        seen = json.loads(await kernel.run(IN_KERNEL))
        mapped = pythons(account)
    finally:
        await kernel.shut_down()
    assert (seen["prefix"], seen["base"]) == (SCIENCE, f"{USER}/python")
    assert seen["executable"].startswith(f"{SCIENCE}/bin/python")
    assert (seen["numpy"], seen["product"]) == (f"{PACKAGES}/numpy/__init__.py", 3.0)
    assert {Path(file).parts[1] for file in mapped} == {Path(TOOLS).name, Path(USER).name}, mapped


async def test_a_view_without_packages_says_what_helps(started):
    alice = await started("sandbox")
    specs = (await alice.browser.fetch("GET", f"{alice.server}api/kernelspecs"))["kernelspecs"]
    titles = {name: each["spec"]["display_name"] for name, each in specs.items()}
    (bare,) = [name for name, title in titles.items() if title.endswith("python-science bare (no ipykernel)")]
    answer = await alice.browser.call("POST", f"{alice.server}api/kernels", {"name": bare})
    assert answer.status_code in (500, 501)
    assert "has no ipykernel, which notebooks need" in answer.json()["message"]
    assert f"{USER}/python/bin/python3" in answer.json()["message"]
