"""A cluster file of a new site, written from docs/admin alone, with a batch template of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.clusters.check import check

CLUSTER_FILE = Path(__file__).parents[1] / "clusters/new_site/clusters/kestrel.yaml"

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_nothing_is_wrong_with_it():
    assert check(CLUSTER_FILE, shellcheck=None).problems == ()


async def test_a_session_on_it_starts_in_the_sandbox(site, person):
    alice = await person()
    started = await alice.start(partition="std", environment="own", time=90, start_directory="scratch")
    assert started[-1].get("ready")
    (job_id,) = await site.live_jobs(alice.name)
    script = (await site.scheduler.job(job_id)).script
    assert "\n#SBATCH --partition=std\n" in script
    assert "\n#SBATCH --comment=jupyter\n" in script
    assert "\nexport KESTREL_SESSION=1\n" in script
    seen = await alice.compute('import os; print(os.environ["KESTREL_SESSION"], os.getcwd())')
    assert seen.split() == ["1", f"{site.state}/scratch/{alice.name}"]
