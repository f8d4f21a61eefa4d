"""A cluster file of a new site, written from docs/admin alone, with a batch template of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from launcher.clusters.check import check, load_checked
from launcher.clusters.preview import preview, preview_facts

CLUSTER_FILE = Path(__file__).parents[1] / "clusters/new_site/clusters/kestrel.yaml"

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_nothing_is_wrong_with_it():
    assert check(CLUSTER_FILE, shellcheck=None).problems == ()


async def test_a_session_on_it_starts_in_the_sandbox(site, person):
    alice = await person()
    options = {"partition": "std", "environment": "own", "time": "90", "start_directory": "scratch"}
    started = await alice.start(**options)
    assert started[-1].get("ready")
    (job_id,) = await site.live_jobs(alice.name)
    script = (await site.scheduler.job(job_id)).script
    assert "\n#SBATCH --partition=std\n" in script
    assert "\n#SBATCH --comment=jupyter\n" in script
    assert "\nexport KESTREL_SESSION=1\n" in script
    hub_api_url = f"{site.url}hub/api"
    _, shown = preview(load_checked(site.cluster_file), options, preview_facts(alice.name, hub_api_url))
    assert re.sub("[0-9a-f]{32,64}", "…", script) == re.sub("0{32}|x{64}", "…", shown)

    seen = await alice.compute('import os; print(os.environ["KESTREL_SESSION"], os.getcwd())')
    assert seen.split() == ["1", f"{site.state}/scratch/{alice.name}"]
