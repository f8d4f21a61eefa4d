"""What a scientist sees of kernels: real images, mounted in a real Slurm job, in a real browser."""

from __future__ import annotations

import re
import subprocess

import pytest
import pytest_asyncio
from images import PREFIX
from pages import notebook_tiles, open_form, press_start, run_cell
from playwright.async_api import expect
from slurm.uenv import build_programs
from support import localhost_names, slurm

from launcher.sandbox.site import Site
from launcher.sandbox.state import state_directory

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("mount_points")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(images):
    slurm()
    with state_directory(None) as state:
        programs = state / "bin"
        programs.mkdir()
        build_programs(programs)
        changes = {
            "tools": {"image": str(images.tools)},
            "uenv": {"attach": "squashfs-mount"},
            "prologue": f"export PATH={programs}:$PATH",
            "environments": [
                {"id": "prgenv", "kind": "uenv", "image": str(images.prgenv), "title": "prgenv-test"}
            ],
        }
        site = Site(state, scheduler="slurm", changes=changes)
        await site.start()
        try:
            with localhost_names():
                yield site
        finally:
            await site.stop()


@pytest.fixture
def virtual_environment(site, alice):
    """Something of alice's that has no ipykernel."""
    account = site.accounts[alice]
    path = account.home / "analysis"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", path], check=True)
    subprocess.run(["chown", "-hR", f"{account.uid}:{account.gid}", path], check=True)
    return path


async def test_kernels_are_there_by_themselves_and_one_that_can_not_run_says_what_helps(
    site, page, alice, virtual_environment, screenshots
):
    await open_form(page, site, alice)
    await press_start(page, alice)

    notebooks = notebook_tiles(page)
    main = notebooks.filter(has_text=re.compile(r"Python 3\.\d+ · prgenv-test default"))
    broken = notebooks.filter(has_text=re.compile(r"Python 3\.\d+ · venv analysis \(no ipykernel\)"))
    own = notebooks.filter(has_text=re.compile(r"Python 3\.\d+ · JupyterLab"))
    for tile in (main, broken, own):
        await expect(tile).to_have_count(1)
    await page.screenshot(path=screenshots / "kernels.png")

    await broken.click()
    dialog = page.locator(".jp-Dialog").filter(has_text="has no ipykernel")
    await expect(dialog).to_contain_text(str(virtual_environment / "bin/python"))
    await expect(dialog).to_contain_text("install ipykernel")
    await page.screenshot(path=screenshots / "no-ipykernel.png")
    await dialog.get_by_role("button").last.click()

    await page.goto(f"{site.url}user/{alice}/lab/workspaces/fresh?reset")
    said = await run_cell(page, main, "import os, sys; print(sys.prefix, os.environ['PRGENV'])")
    assert said == f"{PREFIX} test"
