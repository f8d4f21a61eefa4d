"""Kernels that appear by themselves, in a real JupyterLab of a real hub, each in the environment it needs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import psutil
import pytest
import pytest_asyncio
from programming import (
    VERSION,
    make_image,
    make_kernelspec,
    make_packages,
    make_program,
    make_venv,
    make_view,
)
from support import eventually, program

from launcher.check.session import Kernel

CLUSTER = {"prologue": "[ ! -f ~/prologue ] || . ~/prologue"}
SHOW = "import os, sys, science; print(sys.executable, science.__file__, os.environ.get('VIEW'), sep='\\n')"

pytestmark = pytest.mark.asyncio(loop_scope="module")


# In VS Code's place: it tells what it sees.
CODE_SERVER = """\
#!{python} -I
import http.server, json, os, socketserver, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(dict(os.environ)).encode())

    def log_message(self, *arguments):
        pass

path = sys.argv[sys.argv.index("--socket") + 1]
socketserver.UnixStreamServer(path, Handler).serve_forever()
"""


class Choosing:
    """A browser whose user wants another kernel than the one that the server begins with."""

    def __init__(self, browser, name):
        self._browser = browser
        self._name = name

    def __getattr__(self, name):
        return getattr(self._browser, name)

    async def fetch(self, method, url, body=None):
        answer = await self._browser.fetch(method, url, body)
        return answer | {"default": self._name} if url.endswith("api/kernelspecs") else answer


def interpreter(site):
    """Return a Python that every account can run."""
    return str((site.state / "software/bin/python").resolve())


def ipykernel(site):
    """Return a directory with ipykernel that every account can read."""
    return str(site.state / f"software/lib/python{VERSION}/site-packages")


@pytest.fixture(scope="module")
def image(site):
    """An image with two views that have ipykernel, one that has not, and a Julia."""
    mount = site.state / "user-environment"
    python = interpreter(site)
    views = {
        name: make_view(mount / name, "science", path=(ipykernel(site),), python=python)
        for name in ("default", "develop")
    }
    views["bare"] = make_view(mount / "bare", python=python)
    julia = make_program(
        mount / "default/bin/julia", f'export JULIA=$0; exec {mount}/default/bin/python3 "$@"'
    )
    make_kernelspec(
        mount / "default/share/jupyter/kernels",
        "julia-1.10",
        str(julia),
        *("-m", "ipykernel_launcher", "-f", "{connection_file}"),
        title="Julia 1.10",
        language="julia",
        env={"JULIA_PROJECT": "@.", "SEEN": "${VIEW}"},
    )
    return make_image(mount, views)


@pytest_asyncio.fixture(loop_scope="module")
async def alice(site, person, image):
    """Somebody who has a session with the image."""
    alice = await person()
    home = site.state / "home" / alice.name
    (home / "prologue").write_text(
        f"export UENV_MOUNT_LIST=/images/gnu.squashfs:{image} UENV_VIEW={image}:prgenv-gnu:default\n"
    )
    yield alice
    for path in (home / "prologue", home / "project", home / ".local/share/jupyter/kernels"):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def give(site, alice):
    """Make all that a test has put into somebody's home theirs."""
    account = site.accounts[alice.name]
    if os.geteuid() == 0:
        subprocess.run(["chown", "-hR", f"{account.uid}:{account.gid}", account.home], check=True)


async def run(alice, name, code):
    kernel = await Kernel.start(Choosing(alice.browser, name), alice.server)
    try:
        return (await kernel.run(code)).splitlines()
    finally:
        await kernel.shut_down()


async def test_each_environment_of_a_session_is_a_kernel_that_runs_in_it(site, alice, image):
    home = site.state / "home" / alice.name
    make_packages(make_venv(home / "project/.venv", base=f"{image}/default/bin/python3"), "science")
    r = (program("R"), "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}")
    make_kernelspec(home / ".local/share/jupyter/kernels", "my-r", *r, title="My R", language="R")
    give(site, alice)
    assert (await alice.start())[-1].get("ready")
    assert (await alice.browser.open(f"{alice.server}lab")).status == 200
    venv = "python-venv" + str(home / "project/.venv").replace("/", "-")
    shown = await alice.browser.fetch("GET", f"{alice.server}api/kernelspecs")
    titles = {name: each["spec"]["display_name"] for name, each in shown["kernelspecs"].items()}
    assert shown["default"] == "python3"
    assert (
        titles.items()
        >= {
            "python3": f"Python {VERSION} · prgenv-gnu default",
            "python-prgenv-gnu-develop": f"Python {VERSION} · prgenv-gnu develop",
            "python-prgenv-gnu-bare": f"Python {VERSION} · prgenv-gnu bare (no ipykernel)",
            venv.lower(): f"Python {VERSION} · venv project",
            "julia-1.10": "Julia 1.10 · prgenv-gnu default",
            "my-r": "My R",
            "python-jupyterlab": f"Python {VERSION} · JupyterLab",
        }.items()
    )
    logo = shown["kernelspecs"]["python3"]["resources"]["logo-svg"]
    assert (await alice.browser.call("GET", site.url.rstrip("/") + logo)).status_code == 200

    science = f"{image}/{{}}/site-packages/science/__init__.py"
    for name, view in (
        ("python3", "default"),
        ("python-prgenv-gnu-default", "default"),
        ("python-prgenv-gnu-develop", "develop"),
    ):
        seen = await run(alice, name, SHOW)
        assert seen == [f"{image}/{view}/bin/python3", science.format(view), view]
    packages = f"{home}/project/.venv/lib/python{VERSION}/site-packages"
    seen = await run(alice, venv, SHOW)
    assert seen == [f"{home}/project/.venv/bin/python", f"{packages}/science/__init__.py", "default"]
    own = (
        "import os, sys, jupyterhub; print(sys.prefix, os.environ.get('VIEW'), os.environ.get('PYTHONPATH'))"
    )
    assert (await run(alice, "python-jupyterlab", own))[0].endswith("None None")
    assert await run(alice, "my-r", "cat(6*7, Sys.getenv('VIEW'))") == ["42 default"]
    julia = "import os; print(os.environ['JULIA'], os.environ['SEEN'], os.environ['JULIA_PROJECT'])"
    assert await run(alice, "julia-1.10", julia) == [f"{image}/default/bin/julia default @."]


async def test_a_python_without_ipykernel_says_what_helps_and_works_after_that(site, alice, image):
    home = site.state / "home" / alice.name
    packages = make_venv(home / "empty", base=interpreter(site))
    give(site, alice)
    await alice.start()
    await alice.browser.open(f"{alice.server}lab")
    name = "python-venv" + str(home / "empty").replace("/", "-").lower()

    async def ask(body):
        return await alice.browser.call("POST", f"{alice.server}api/{body.pop('at')}", body)

    session = {"at": "sessions", "kernel": {"name": name}, "name": "a", "path": "a", "type": "console"}
    for answer in (await ask(dict(session)), await ask({"at": "kernels", "name": name})):
        assert answer.status_code in (500, 501)
        assert answer.json()["message"].startswith(f"Python {VERSION} of venv empty has no ipykernel")
        assert f"{home}/empty/bin/python" in answer.json()["message"]

    (packages / "ipykernel.pth").write_text(f"{ipykernel(site)}\n")
    assert await run(alice, name, "import sys; print(sys.prefix)") == [f"{home}/empty"]


async def test_a_restarted_kernel_is_the_same_and_one_that_is_new_appears_by_itself(site, alice, image):
    await alice.start()
    await alice.browser.open(f"{alice.server}lab")
    kernel = await Kernel.start(Choosing(alice.browser, "python-prgenv-gnu-develop"), alice.server)
    running = (await alice.browser.fetch("GET", f"{alice.server}api/kernels"))[0]["id"]
    kernel.close()
    await alice.browser.fetch("POST", f"{alice.server}api/kernels/{running}/restart")
    (process,) = [each for each in psutil.process_iter(["cmdline"]) if running in str(each.info["cmdline"])]
    assert process.environ()["VIEW"] == "develop"

    home = site.state / "home" / alice.name
    make_venv(home / ".venvs/new", "ipykernel", base=f"{image}/bare/bin/python3")
    give(site, alice)

    async def is_there():
        shown = await alice.browser.fetch("GET", f"{alice.server}api/kernelspecs")
        return any(
            each["spec"]["display_name"].endswith("venv new") for each in shown["kernelspecs"].values()
        )

    await eventually(is_there)


async def test_what_was_found_stands_in_the_sessions_directory(site, alice, image):
    await alice.start()
    await alice.browser.open(f"{alice.server}lab")
    code = "import os; print(open(os.environ['JUPYTER_RUNTIME_DIR'] + '/kernels.json').read())"
    report = {each["name"]: each for each in json.loads("".join(await run(alice, "python3", code)))}
    assert report["python3"]["program"] == f"{image}/default/bin/python3"
    assert "-m venv --system-site-packages" in report["python-prgenv-gnu-bare"]["fix"]
    assert os.path.basename(report["python-jupyterlab"]["program"]).startswith("python")  # noqa: PTH119


async def test_vs_code_has_the_environment_of_kernels(site, alice, image):
    code_server = site.state / "software/bin/code-server"
    code_server.write_text(CODE_SERVER.format(python=interpreter(site)))
    code_server.chmod(0o755)
    await alice.start()
    await alice.browser.open(f"{alice.server}lab")
    seen = (await alice.browser.call("GET", f"{alice.server}vscode/")).json()
    code_server.unlink()
    kernels = json.loads(
        "".join(await run(alice, "python3", "import json, os; print(json.dumps(dict(os.environ)))"))
    )
    same = ("PATH", "PYTHONPATH", "VIEW", "HOME", "UENV_VIEW", "JUPYTER_RUNTIME_DIR", "LAUNCHER_SESSION")
    assert {name: seen[name] for name in same} == {name: kernels[name] for name in same}
    assert not seen.get("PYTHONNOUSERSITE")
