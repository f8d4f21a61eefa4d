"""A site whose inner traffic is all encrypted (`internal_ssl`), and whose public URL has a CA of its own."""

from __future__ import annotations

import shutil
import ssl
import sys
from pathlib import Path

import pytest
import pytest_asyncio
from certipy import Certipy
from support import Person, eventually, messages, saved_record

from launcher import server
from launcher.check.browser import Browser
from launcher.protocol import derive_launch_key
from launcher.sandbox.hub import Hub
from launcher.sandbox.processes import Program
from launcher.sandbox.site import Site
from launcher.sandbox.state import state_directory

pytestmark = pytest.mark.asyncio(loop_scope="module")

# What the sandbox's own configuration says of plain http.
CONFIG = """
import os
load_subconfig({path!r})
c.JupyterHub.public_url = os.environ["LAUNCHER_SANDBOX_URL"]
c.JupyterHub.internal_ssl = True
c.JupyterHub.internal_certs_location = {certificates!r}
c.ConfigurableHTTPProxy.api_url = f"https://127.0.0.1:{{os.environ['LAUNCHER_SANDBOX_PROXY_API_PORT']}}"
c.LauncherSpawner.hub_connect_url = None
"""

BEGINS_LIKE_A_KEY = "-----BEGIN PRIVATE KEY-----"
FIND_KEYS = f"""
import os
for top in ("/dev/shm", "/tmp", os.path.expanduser("~"), f"/proc/{{os.getpid()}}/fd"):
    for place, folders, names in os.walk(top):
        # Of a checkout there; some packages bring keys for their tests.
        folders[:] = set(folders) - {{"site-packages", "node_modules"}}
        for path in (os.path.join(place, name) for name in names):
            try:
                if os.path.isfile(path) and open(path, "rb").read(27) == {BEGINS_LIKE_A_KEY.encode()!r}:
                    print(path)
            except OSError:
                pass
"""


class SecureHub(Hub):
    """The sandbox's JupyterHub and proxy with certificates; the public CA is its own."""

    def __init__(self, directory: Path, *arguments) -> None:
        super().__init__(directory, *arguments)
        # A name, not an address: the proxy looks for it in the servers' certificates, whatever their nodes.
        self.url = self._local_url = f"https://localhost:{self._port}/"
        self.callback_url = f"{self.url}hub/oauth_callback"
        self._certificates = directory / "internal-ssl"
        public = Certipy(store_dir=str(directory / "public"))
        authority = public.create_ca("site")["files"]["cert"]
        self._public = public.create_signed_pair("hub", "site", alt_names=["DNS:localhost"])["files"]
        shutil.copy(authority, authority_of(directory.parent))

    async def start(self, *arguments, **options) -> None:
        command = (sys.executable, "-m", "jupyterhub", "--generate-certs", "--log-level=ERROR")
        making = Program(
            "JupyterHub",
            [*command, f"--JupyterHub.internal_certs_location={self._certificates}"],
            log=self.log,
            environment=self._environment(),
            directory=self._directory,
        )
        await making.start()
        assert await making.wait() == 0
        self.proxy = self._with_certificates(self.proxy)
        await super().start(*arguments, **options)

    def _with_certificates(self, proxy: Program) -> Program:
        store = Certipy(store_dir=str(self._certificates)).store
        options = ["--ssl-key", self._public["key"], "--ssl-cert", self._public["cert"]]
        for part, component in (("api", "proxy-api"), ("client", "proxy-client")):
            files = store.get_record(component)["files"]
            options += [f"--{part}-ssl-key", files["key"], f"--{part}-ssl-cert", files["cert"]]
            options += [f"--{part}-ssl-ca", str(self._certificates / f"{component}-ca_trust.crt")]
            options += [f"--{part}-ssl-request-cert", f"--{part}-ssl-reject-unauthorized"]
        command = [word.replace("http://127.0.0.1", "https://127.0.0.1") for word in proxy._command]
        return Program(
            proxy.name,
            [*command, *options],
            log=proxy.log,
            environment=proxy._environment,
            directory=self._directory,
        )

    async def start_hub(self) -> None:
        own = self.process._command[-1]
        config = self._directory / "secure_config.py"
        if own != str(config):
            config.write_text(CONFIG.format(path=own, certificates=str(self._certificates)))
            self.process._command[-1] = str(config)
        await super().start_hub()


def authority_of(state: Path) -> Path:
    return state / "site-ca.pem"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site():
    with state_directory(None) as state, pytest.MonkeyPatch.context() as patch:
        patch.setattr("launcher.sandbox.site.Hub", SecureHub)
        site = Site(state, scheduler="process", changes={"hub_ca": str(authority_of(state))})
        await site.start()
        try:
            yield site
        finally:
            await site.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def alice(site):
    trust = ssl.create_default_context(cafile=str(authority_of(site.state)))
    async with Browser(trust) as browser:
        alice = await Person.log_in(site, next(iter(site.accounts)).name, browser)
        yield alice
        await alice.stop()


@pytest.fixture
def as_hub(site):
    """What the hub asks servers with."""
    store = site.state / "hub/internal-ssl"
    context = ssl.create_default_context(cafile=str(store / "hub-ca_trust.crt"))
    context.load_cert_chain(*(store / f"hub-internal/hub-internal.{end}" for end in ("crt", "key")))
    return context


def address_and_key(site, alice):
    """Return where a server is, and its launch key."""
    record = saved_record(site, alice.name)
    secret = bytes.fromhex((site.state / "hub/cookie_secret").read_text().strip())
    return f"{record['url']}/user/{alice.name}/", derive_launch_key(secret, record["launch_id"])


async def log_of(site, job_id):
    return Path((await site.scheduler.job(job_id)).standard_output).read_text()


async def test_a_session_claims_at_the_public_url_and_all_its_later_traffic_has_certificates(site, alice):
    said = await alice.start()
    assert said[-1].get("ready"), messages(said)
    assert await alice.compute() == "42\n"
    (job_id,) = await site.live_jobs(alice.name)
    assert f"launch_hub={site.url}hub/api\n" in (await site.scheduler.job(job_id)).script
    assert saved_record(site, alice.name)["url"].startswith("https://127.0.0.1:")
    api = await alice.compute("import os; print(os.environ['JUPYTERHUB_API_URL'])")
    assert api == f"https://127.0.0.1:{site.hub._hub_port}/hub/api\n"


async def test_only_who_has_a_certificate_of_the_hub_reaches_a_server(site, alice, as_hub):
    await alice.start()
    url, key = address_and_key(site, alice)
    assert await server.proves(url, key, as_hub)
    without = ssl.create_default_context(cafile=str(site.state / "hub/internal-ssl/hub-ca_trust.crt"))
    assert not await server.proves(url, key, without)
    assert not await server.proves(url, key, None)
    assert not await server.proves(url.replace("https:", "http:"), key, as_hub)
    # Nor does a server that another name leads to pass for this one.
    assert not await server.proves(url.replace("127.0.0.1", "127.0.0.2"), key, as_hub)


async def test_kernels_see_neither_the_certificates_variables_nor_their_files(site, alice):
    await alice.start()
    names = await alice.compute("import os; print(*[name for name in os.environ if 'SSL' in name])")
    assert names == "\n"
    (site.state / "home" / alice.name / "decoy").write_text(BEGINS_LIKE_A_KEY)
    assert await alice.compute(FIND_KEYS) == f"{site.state}/home/{alice.name}/decoy\n"


async def test_a_session_outlives_a_restart_of_the_hub(site, alice):
    await alice.start()
    (job_id,) = await site.live_jobs(alice.name)
    await site.hub.kill_hub()
    await site.hub.start_hub()
    await eventually(alice.is_ready)
    assert await alice.compute() == "42\n"
    assert await site.live_jobs(alice.name) == [job_id]


async def test_the_first_start_after_a_restart_has_a_certificate_too(site, alice):
    await site.hub.kill_hub()
    await site.hub.start_hub()
    assert (await alice.start())[-1].get("ready")
    assert await alice.compute() == "42\n"


async def test_the_hub_asks_the_server_itself_to_end(site, alice, as_hub):
    await alice.start()
    url, key = address_and_key(site, alice)
    (job_id,) = await site.live_jobs(alice.name)
    assert not await server.stop(url, "0" * 64, as_hub)
    assert not await server.stop(url, key, None)
    assert await alice.has_job()
    assert await server.stop(url, key, as_hub)
    await eventually(alice.no_jobs)
    await eventually(alice.is_stopped)
    assert (await site.scheduler.job(job_id)).state == "COMPLETED"
    assert "Traceback" not in await log_of(site, job_id)


async def test_the_script_tells_of_its_end_through_the_public_url(site, alice, cluster_file):
    cluster_file(launcher="/nonexistent/launcher-singleuser")
    failed = (await alice.start())[-1]
    assert "exit code 127" in failed["message"]


async def test_a_ca_file_that_is_not_there_is_told_in_the_jobs_log(site, alice, cluster_file):
    cluster_file(hub_ca="/nonexistent/ca.pem")
    failed = (await alice.start())[-1]
    assert "/nonexistent/ca.pem, the file of certificates that this node is to trust" in failed["message"]
    assert "hub_ca of the cluster file does not fit this node" in failed["message"]
