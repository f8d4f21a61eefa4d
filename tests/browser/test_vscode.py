"""VS Code as a scientist has it: from its tile, through hub and proxy, in a real Slurm job."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import pytest_asyncio
from code_server import assert_private, code_server, processes
from images import PREFIX
from pages import open_form, press_start
from playwright.async_api import expect
from slurm.uenv import build_programs
from support import eventually, localhost_names, slurm

from launcher.sandbox.site import Site
from launcher.sandbox.state import state_directory

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("mount_points"),
    pytest.mark.timeout(300),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(images):
    slurm()
    command = code_server()
    with state_directory(None) as state:
        programs = state / "bin"
        programs.mkdir()
        build_programs(programs)
        changes = {
            "tools": {"image": str(images.tools)},
            "uenv": {"attach": "squashfs-mount"},
            # The latter are what else could make it listen somewhere, or ask for a password.
            "prologue": f"export PATH={programs}:{command.parent}:$PATH\n"
            "export PORT=0 CODE_SERVER_HOST=0.0.0.0 PASSWORD=p",
            "environments": [
                {"id": "prgenv", "kind": "uenv", "image": str(images.prgenv), "title": "prgenv-test"}
            ],
            "start_directory": ["scratch"],
        }
        site = Site(state, scheduler="slurm", changes=changes)
        await site.start()
        try:
            with localhost_names():
                yield site
        finally:
            await site.stop()


@pytest.fixture
def start(site, alice):
    """The start directory, with a file."""
    account = site.accounts[alice]
    directory = site.state / "scratch" / alice
    script = directory / "hello.py"
    script.write_text("print('hello')\n")
    os.chown(script, account.uid, account.gid)
    return directory


async def test_a_file_is_edited_and_a_command_runs_where_kernels_run(site, page, alice, start, screenshots):
    account, server = site.accounts[alice], f"{site.url}user/{alice}/"
    await open_form(page, site, alice)
    await press_start(page, alice)

    async with page.context.expect_page() as opened:
        await page.locator(".jp-LauncherCard").filter(has_text="VS Code").click()
    window = await opened.value
    await window.wait_for_url(f"{server}vscode/?folder={start}", timeout=120_000)

    await window.get_by_role("treeitem", name="hello.py").dblclick(timeout=120_000)
    await window.locator(".monaco-editor .view-lines").get_by_text("hello").click()
    await window.keyboard.press("Control+End")
    await window.keyboard.type("print(6*7)")
    await window.keyboard.press("Control+S")

    async def is_saved():
        return (start / "hello.py").read_text() == "print('hello')\nprint(6*7)"

    await eventually(is_saved)

    await window.keyboard.press("Control+Backquote")
    # What lies in a directory that others can write to may do harm: VS Code asks once.
    await window.get_by_role("button", name="Trust Folder & Continue").click()
    terminal = window.locator(".terminal-wrapper.active")
    await terminal.locator(".xterm-screen").click(timeout=60_000)
    await expect(terminal.locator(".xterm-helper-textarea")).to_be_focused()
    await window.keyboard.type(
        "env -0 >~/seen; command -v launcher >~/found; python3 hello.py >~/said; clear\n"
    )

    async def has_run():
        said = account.home / "said"
        return said.exists() and said.read_text() == "hello\n42\n"

    await eventually(has_run)
    seen = dict(each.split("=", 1) for each in (account.home / "seen").read_text().split("\0") if each)
    directory = Path(seen["JUPYTER_RUNTIME_DIR"])
    assert seen["PRGENV"] == "test"
    assert seen["PATH"].split(":")[1] == f"{PREFIX}/bin"
    assert (account.home / "found").read_text() == f"{directory}/bin/launcher\n"
    assert not seen.get("PYTHONNOUSERSITE")
    assert not [name for name in seen if name.startswith(("LAUNCHER_TICKET", "JUPYTERHUB_SSL"))]

    # The picture is of the work alone.
    await window.keyboard.type("python3 hello.py\n")
    await window.get_by_role("button", name="Hide Secondary Side Bar").click()
    await window.mouse.move(640, 400)
    await window.wait_for_timeout(1500)
    await window.screenshot(path=screenshots / "vscode.png")

    running = processes(account.uid)
    (extensions,) = [each for each in running if "--type=extensionHost" in each.info["cmdline"]]
    assert extensions.environ()["PATH"] == seen["PATH"]
    assert_private(running, directory)
    assert not list(account.home.glob(".config/code-server"))

    # To have opened another directory changes nothing for the tile.
    request = page.context.request
    assert (await request.get(f"{server}vscode/?folder=/tmp")).ok
    again = await request.get(f"{server}vscode/", max_redirects=0)
    assert again.headers["location"].endswith(f"?folder={start}")

    await page.goto(f"{site.url}hub/home")
    await page.get_by_role("button", name="Stop My Server").click()

    async def nothing_is_left():
        return not processes(account.uid) and not directory.exists()

    await eventually(nothing_is_left)
