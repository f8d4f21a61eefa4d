"""Sessions in containers as they are built, in a real Slurm: JupyterLab beside the Python of the base."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import pytest_asyncio
from container_bases import TORCH
from container_site import container_site
from pages import another, headless, notebook_tiles, open_form, press_start, press_stop, run_cell
from playwright.async_api import expect
from quiet import Silent
from seen import IN_KERNEL, assert_apart, configure, look
from support import eventually, messages

from launcher.builder.container.engine import engine as engine_named
from launcher.builder.container.verify import pack
from launcher.check.session import run_in_terminal
from launcher.sandbox.state import state_directory

pytestmark = pytest.mark.asyncio(loop_scope="module")

PREFIX = "/opt/launcher/env/jupyter"
"""That of JupyterLab's Python."""
BANNER = "== PyTorch =="
"""What the base's entrypoint says."""
CELL = (
    "import os, sys, torch; "
    "print(sys.prefix, torch.__version__, torch.ones(6).sum().item() * 7, os.environ['OF_EDF'])"
)
WRITE = """\
for path in ("/opt/launcher/it", "/workspace/it", "/tmp/it"):
    try:
        open(path, "w").close()
        print("written")
    except OSError as error:
        print(error.strerror)
"""
# An image of somebody's own, who has done no more than the documentation says.
OWN = """\
FROM {tools} AS tools
FROM {base}
COPY --from=tools /opt/launcher /opt/launcher
"""


@pytest.fixture(scope="module")
def own(engine, bases, pytorch, tmp_path_factory):
    """A squashfs file of an image that was made without this project's builder."""
    name, directory = "localhost/of-ones-own", tmp_path_factory.mktemp("own")
    (directory / "Dockerfile").write_text(OWN.format(tools=pytorch["image"], base=bases.without_ipykernel))
    build = ["buildah", "build", "--isolation=chroot", "--pull=never", "--quiet", f"--tag={name}"]
    subprocess.run([*build, directory], check=True)
    buildah = engine_named("buildah")
    image = buildah.find(name)
    with state_directory(None) as place:
        pack(buildah, image, place / "own.sqsh", 0, Silent())
        yield place / "own.sqsh"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(pytorch, own):
    with state_directory(None) as state:
        definition = {
            "image": pytorch["sqsh"],
            "mounts": [f"{state}/home:{state}/home"],
            "workdir": "/workspace",
            "env": {"OF_EDF": "of the EDF"},
            "annotations": {"com.hooks.aws_ofi_nccl.enabled": "true"},
        }

        def container(name, **more):
            return {
                "id": name,
                "title": f"My {name}",
                "kind": "container",
                "edf": f"{state}/edf/{name}.toml",
                "definition": definition | more,
            }

        environments = [
            {"id": "host", "kind": "host"},
            container("pytorch", writable=False),
            container("entrypoint", entrypoint=True),
            container("own", image=str(own)),
        ]
        async with container_site(state, changes={"environments": environments}) as site:
            for account in site.accounts:
                configure(account)
            yield site


@pytest_asyncio.fixture(loop_scope="module")
async def page():
    """A page of a headless Chromium."""
    async with headless() as chromium, another(chromium) as page:
        yield page


@pytest_asyncio.fixture(loop_scope="module")
async def alice(person):
    return await person()


async def start(someone, environment):
    """Start a session; return the job's log, as soon as it is there."""
    said = await someone.start(environment=environment)
    assert said[-1].get("ready"), messages(said)
    (job_id,) = await someone.site.live_jobs(someone.name)
    return Path((await someone.site.scheduler.job(job_id)).standard_output).read_text()


async def test_a_cell_computes_with_the_pytorch_of_the_base(site, page):
    bob = [account.name for account in site.accounts][1]
    await open_form(page, site, bob)
    await page.get_by_label("Environment", exact=True).select_option("pytorch")
    await press_start(page, bob)
    titles = [re.compile(r"Python 3\.11 · My pytorch$"), re.compile(r"Python 3\.\d+ · JupyterLab$")]
    await expect(notebook_tiles(page)).to_have_text(titles)
    said = await run_cell(page, notebook_tiles(page).first, CELL)
    assert said == f"/usr {TORCH} 42.0 of the EDF"
    await press_stop(page, site)

    async def no_jobs():
        return not await site.live_jobs(bob)

    await eventually(no_jobs)


@pytest.mark.parametrize(
    ("environment", "banner", "written"),
    [
        ("pytorch", 0, ["Read-only file system", "Read-only file system", "written"]),
        ("entrypoint", 1, ["written", "written", "written"]),
    ],
    ids=["read-only", "with its entrypoint"],
)
async def test_jupyterlab_has_nothing_of_the_base_and_programs_have_nothing_of_jupyterlab(
    alice, environment, banner, written
):
    log = await start(alice, environment)
    assert log.count(BANNER) == banner
    seen = await look(alice, tasks=0)
    assert_apart(seen.server, PREFIX)
    assert not [folder for folder in seen.server["path"] if not folder.startswith("/opt/launcher/")]
    assert "dist-packages" not in seen.server["libraries"]
    assert seen.told["environment"] == {"title": f"My {environment}", "kind": "container"}
    kernel = json.loads(await alice.compute(IN_KERNEL))
    assert (seen.python, kernel["prefix"]) == ("/usr/bin/python3", "/usr")
    assert not [folder for folder in kernel["path"] if "/opt/launcher" in folder]
    for variables in (seen.terminal, kernel["environment"]):
        assert variables["OF_EDF"] == "of the EDF"
        assert variables["PIP_CONSTRAINT"] == "/etc/pip/constraint.txt"
        assert variables["LD_LIBRARY_PATH"].startswith("/usr/local/cuda/")
        assert variables["PYTHONIOENCODING"] == "utf-8"
        assert variables["PATH"].startswith("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:")
        assert "/opt/launcher" not in variables["PATH"]
    assert (await alice.compute(WRITE)).splitlines() == written


async def test_an_image_of_ones_own_without_ipykernel_starts_and_says_what_helps(site, alice):
    await start(alice, "own")
    assert (await alice.browser.open(f"{alice.server}lab")).status == 200
    # The answer comes when all have been found.
    await alice.browser.fetch("GET", f"{alice.server}api/kernelspecs")
    main, jupyterlabs = (await look(alice, tasks=0)).told["kernels"]
    assert (main["name"], main["title"]) == ("python3", "Python 3.11 · My own (no ipykernel)")
    assert main["problem"] == "Python 3.11 of My own has no ipykernel, which notebooks need."
    assert not jupyterlabs["problem"]
    # All of the advice but what comes from the Internet.
    make, _, install = main["fix"].partition(" && ")
    assert install.endswith(" -m pip install ipykernel")
    pip = install.removesuffix("install ipykernel")
    await run_in_terminal(
        alice.browser, alice.server, f"{make} && {pip} --version >~/pip; echo do''ne", "done"
    )
    assert (site.accounts[alice.name].home / "pip").read_text().startswith("pip ")
