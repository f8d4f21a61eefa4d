"""`launcher session` where real Slurm knows how long the job has left."""

from __future__ import annotations

import json

import pytest

SCHEDULER = "slurm"

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_it_tells_the_jobs_end_also_after_an_admin_has_moved_it(site, person):
    alice = await person()
    await alice.start(partition="debug", time=15)
    (job_id,) = await site.live_jobs(alice.name)

    async def session():
        printed = await alice.compute("import os; print(os.popen('launcher session --json').read())")
        return json.loads(printed)

    told = await session()
    assert told["job"]["id"] == job_id
    assert told["job"]["partition"] == "debug"
    assert 12 * 60 < told["time_left"] <= 14 * 60

    status, _, words = await site.scheduler._run(["scontrol", "update", f"JobId={job_id}", "TimeLimit=25"])
    assert status == 0, words
    assert 22 * 60 < (await session())["time_left"] <= 24 * 60
