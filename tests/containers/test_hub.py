"""The hub's image runs the hub of a site, whose proxy is a stock one outside of it."""

from __future__ import annotations

import os
import subprocess

import exported_hub
import pytest
import pytest_asyncio
from support import Person, eventually

from launcher.check.browser import Browser
from launcher.export import Kind
from launcher.sandbox.processes import Program

pytestmark = pytest.mark.asyncio(loop_scope="module")

USER = 54321
"""No account of the image, nor of this machine."""
VOLUMES = {
    Kind.JUPYTERHUB: "/srv/jupyterhub",
    Kind.F7T4JHUB: "/home/juhu",
    Kind.Z2JH: "/srv/jupyterhub",
}
"""Where the only volume is that a hub can write to."""
ARGUMENTS = {Kind.Z2JH: ["jupyterhub", "--config", str(exported_hub.CONFIG), "--upgrade-db"]}
"""What a chart has the image run in the place of what it runs by itself."""
STATE = ["jupyterhub.sqlite", "jupyterhub_cookie_secret"]
WRITTEN = {
    Kind.JUPYTERHUB: [*STATE, "exported-clusters"],
    Kind.F7T4JHUB: [*STATE, "exported-clusters"],
    Kind.Z2JH: STATE,
}
"""What a hub writes."""


@pytest.fixture(params=Kind)
def kind(request):
    return request.param


@pytest.fixture
def volume(tmp_path):
    """A volume, as Kubernetes gives it to pods with an fsGroup."""
    path = tmp_path / "volume"
    path.mkdir()
    os.chown(path, 0, USER)
    path.chmod(0o2770)
    return path


@pytest_asyncio.fixture(loop_scope="module")
async def contained(kind, site, hub, engine, volume):
    """The site with its hub in a container, and everything else outside of it."""
    there, given = exported_hub.CONFIG.parent, volume.with_name("given")
    files = exported_hub.of_site(kind, site)
    exported_hub.write({given / path.relative_to(there): content for path, content in files.items()})
    environment = exported_hub.environment(site)
    await site.hub.process.stop()
    site.hub.process = Program(
        "The hub's container",
        [
            *("podman", "run", "--rm", "--pull=never", "--network=host"),
            *("--read-only", "--read-only-tmpfs=false", f"--user={USER}:{USER}", "--passwd=false"),
            *("--cap-drop=all", "--security-opt=no-new-privileges"),
            *(f"--volume={volume}:{VOLUMES[kind]}", f"--volume={given}:{there}:ro"),
            *(f"--env={name}" for name in environment),
            *(hub["image"], *ARGUMENTS.get(kind, [])),
        ],
        log=site.hub.log,
        environment={"PATH": os.environ["PATH"], **engine.environment, **environment},
        directory=given,
    )
    await site.hub.start_hub()
    yield site
    await site.hub.process.stop()


async def test_a_person_computes_in_a_session_that_outlives_the_hubs_container(kind, contained, volume):
    hub = contained.hub
    async with Browser() as browser:
        someone = await Person.log_in(contained, next(iter(contained.accounts)).name, browser)
        assert (await someone.start())[-1].get("ready")
        job = await contained.live_jobs(someone.name)

        await hub.terminate_hub()
        assert await hub.process.wait() == 0
        written = {path.name: path.stat().st_uid for path in volume.iterdir()}
        assert written == dict.fromkeys(WRITTEN[kind], USER)

        # All that the next container has is the volume.
        await hub.start_hub()
        await eventually(someone.is_ready)
        assert await contained.live_jobs(someone.name) == job
        assert await someone.compute() == "42\n"
        await someone.stop()
    assert "Traceback" not in hub.log.read_text()


async def test_the_image_holds_a_hub_and_no_proxy(hub, engine):
    programs = ["jupyterhub", "configurable-http-proxy", "traefik", "node", "nodejs", "npm"]
    names = " -o ".join(f"-name {name}" for name in programs)
    found = said_in(hub, f"find / -xdev ! -type d ( {names} )", "--user=0")
    assert found == "/opt/hub/env/hub/bin/jupyterhub\n"


async def test_the_image_runs_as_an_ordinary_user_by_itself(hub, engine):
    assert said_in(hub, "id --user") == "1000\n"


def said_in(hub, command, *options):
    """Run a command in a container of the image; return what it printed."""
    how = ["podman", "run", "--rm", "--pull=never", "--network=none", *options, hub["image"]]
    return subprocess.run([*how, *command.split()], check=True, stdout=subprocess.PIPE, text=True).stdout
