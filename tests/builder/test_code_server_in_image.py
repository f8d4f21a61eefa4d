"""VS Code in an image: it starts, and the image's JupyterLab offers it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from code_server import release
from support import missing

from launcher.builder import squashfs
from launcher.builder.code_server import pinned
from launcher.builder.mount.namespace import namespace_problem
from launcher.builder.recipe import recipes_directory

LAUNCHER = Path(sys.executable).with_name("launcher")
PLACE = Path(sys.prefix) / "images"
TOKEN = "secret"

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not shutil.which("apt-get"), reason="the pinned Pythons come from Debian"),
]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A tools image with the code-server of the tests, packed as a release and pinned as one."""
    if problem := namespace_problem():
        missing("no private mount namespaces", problem)
    here = tmp_path_factory.mktemp("code-server")
    archive = release(here)
    recipe = here / "recipe"
    shutil.copytree(recipes_directory() / "jupyterlab", recipe)
    pin = recipe / "code-server.yaml"
    pin.write_text(pinned(pin, [archive]))
    command = [LAUNCHER, "build", "uenv", recipe, "--code-server", archive, "--json"]
    places = ["--output", here, "--cache", PLACE / "cache"]
    done = subprocess.run([*command, *places], check=False, stdout=subprocess.PIPE, text=True)
    archive.unlink()
    # What it says as it goes is in the output of the test.
    assert done.returncode == 0
    return Path(json.loads(done.stdout)["image"])


def test_its_jupyterlab_offers_vs_code_and_starts_it(image, tmp_path):
    path, home = tmp_path / "lab.sock", tmp_path / "home"
    home.mkdir()
    options = (f"--ServerApp.sock={path}", "--ServerApp.open_browser=False", "--allow-root")
    command = [LAUNCHER, "run", image, "--", "jupyter-lab", *options]
    environment = {"HOME": str(home), "PATH": os.defpath, "JUPYTER_TOKEN": TOKEN}
    with subprocess.Popen(command, cwd=home, env=environment) as process:
        try:
            with httpx.Client(
                transport=httpx.HTTPTransport(uds=str(path)),
                base_url="http://localhost",
                headers={"Authorization": f"token {TOKEN}"},
                follow_redirects=True,
                timeout=60,
            ) as client:
                wait_for(path, process)
                (offered,) = client.get("/server-proxy/servers-info").json()["server_processes"]
                assert offered["launcher_entry"]["title"] == "VS Code"
                page = client.get(f"/{offered['launcher_entry']['path_info']}")
        finally:
            process.terminate()
    assert page.status_code == 200
    assert "vscode-workbench-web-configuration" in page.text


def wait_for(path, process):
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_it_holds_programs_of_its_own_processors_and_no_keys_of_tests(image):
    held = [each.path for each in squashfs.entries(image) if each.path.startswith("code-server/")]
    assert "code-server/lib/node" in held
    assert not [path for path in held if "/fixtures/id_" in path or "win32-x64/" in path]


def test_the_bill_of_materials_names_it(image):
    components = json.loads(squashfs.read(image, "meta/sbom.cdx.json"))["components"]
    assert [each["version"] for each in components if each["name"] == "code-server"]
