"""A session whose images are not on the cluster yet, in a real Slurm."""

from __future__ import annotations

import re
import subprocess

import pytest
import pytest_asyncio
from container_site import container_site
from images import PREFIX
from slurm.uenv import Registry
from support import command_lines, eventually, messages

from launcher.sandbox.state import state_directory

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("mount_points"),
    # The first of them waits for Slurm and all images.
    pytest.mark.timeout(300),
]

TOOLS, PRGENV, GONE = "jupyterlab/v4.6:v1", "prgenv-test/24.11:v1", "gone/1:v1"
FIRST = "the first use of this image on this cluster"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(images):
    with state_directory(None) as state:
        registry = Registry(state / "registry")
        registry.add(TOOLS, images.tools)
        registry.add(PRGENV, images.prgenv)
        changes = {
            "tools": {"image": TOOLS},
            "uenv": {"attach": "run", "pull": True},
            # Less than a pull takes.
            "claim_timeout": 12,
            "prologue": f"export PATH={state}/bin:$PATH UENV_REGISTRY={registry.directory}",
            "environments": [
                {"id": "prgenv", "kind": "uenv", "image": PRGENV, "view": "default"},
                {"id": "gone", "kind": "uenv", "image": GONE},
            ],
        }
        async with container_site(state, changes=changes) as site:
            site.registry = registry
            yield site


@pytest_asyncio.fixture(loop_scope="module")
async def alice(site, person):
    """Somebody with no image in their repository."""
    alice = await person()
    subprocess.run(["rm", "-rf", site.accounts[alice.name].home / ".uenv"], check=True)
    site.registry.is_like()
    return alice


async def test_images_are_pulled_in_the_job_before_the_users_eyes_and_then_stay(site, alice):
    site.registry.is_like(pause=1.5)
    said = await alice.start(environment="prgenv")
    assert said[-1].get("ready"), said
    told = [text for text in messages(said) if "Pulling" in text]
    assert any(re.fullmatch(f"Pulling {TOOLS}, [0-9]+ of [0-9]+ MB: {FIRST}", text) for text in told), told
    assert any(PRGENV in text for text in told)
    percents = [event["progress"] for event in said if "progress" in event]
    assert percents == sorted(percents)
    assert (await alice.compute("import sys; print(sys.prefix)")).strip() == PREFIX
    assert site.registry.pulled == [TOOLS, PRGENV]
    await alice.stop()

    said = await alice.start(environment="prgenv")
    assert said[-1].get("ready"), said
    assert not any("Pulling" in text for text in messages(said))
    assert site.registry.pulled == [TOOLS, PRGENV]
    assert (await alice.compute()).strip() == "42"


async def test_an_image_that_the_registry_does_not_have_is_told(alice):
    said = messages(await alice.start(environment="gone"))[-1]
    assert "An image of its environment is not in the registry, or its label fits several there." in said
    assert "no uenv found that match 'gone/1:v1'" in said
    assert f"The image {GONE} could not be pulled" in said


async def test_a_registry_that_is_down_is_told(site, alice):
    site.registry.is_like(down=True)
    said = messages(await alice.start(environment="prgenv"))[-1]
    assert "An image of its environment could not be pulled from the registry." in said
    assert "exit code 25" in said
    assert "unable to get a listing of the uenv" in said


async def test_a_disk_that_is_full_is_told(site, alice):
    site.registry.is_like(full=True)
    assert "A disk is full" in messages(await alice.start(environment="prgenv"))[-1]


async def test_stop_ends_a_pull(site, alice):
    site.registry.is_like(pause=60)
    await alice.api("POST", f"users/{alice.name}/server", {"environment": "prgenv"})
    await alice.progress(until="Pulling")
    await alice.stop()

    async def over():
        return not any("image pull" in line for line in command_lines())

    await eventually(over)
