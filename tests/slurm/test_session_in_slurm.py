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

    async def job():
        printed = await alice.compute("import os; print(os.popen('launcher session --json').read())")
        return json.loads(printed)["job"]

    told = await job()
    assert told["id"] == job_id
    assert told["partition"] == "debug"
    assert 13 * 60 < told["time_left"] <= 15 * 60

    status, _, words = await site.scheduler._run(["scontrol", "update", f"JobId={job_id}", "TimeLimit=25"])
    assert status == 0, words
    assert 23 * 60 < (await job())["time_left"] <= 25 * 60
