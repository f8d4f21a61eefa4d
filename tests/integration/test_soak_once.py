"""A soak of seconds: the benchmark itself works, and it finds what it is there to find."""

from __future__ import annotations

import pytest

from benchmarks.results import by_name
from benchmarks.soak import figures
from benchmarks.soak.count import Kind, wrong
from benchmarks.soak.page import shown
from benchmarks.soak.program import Deed, Phase, program
from benchmarks.soak.server import Wish
from benchmarks.soak.soak import OPTIONS, soaking
from launcher.sandbox.scheduler import Submission

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

SCHEDULER = "process"
PEOPLE = ("soak00", "soak01", "soak02", "soak03")
SITE = {**OPTIONS, "people": PEOPLE}
SEED = 51788
"""One that draws a fault, ends of jobs, and one end of the hub."""
PARTS = (Phase(7, restarts=False, all_stop=False), Phase(7, restarts=True, all_stop=True))


async def test_a_soak_of_seconds(site):
    said = []
    async with soaking(site, said.append) as soak:
        outcome = await soak.run(SEED, PARTS)

        acts = [act.deed for acts in program(SEED, len(PEOPLE), PARTS) for act in acts]
        assert outcome.counts["acts"] == len(acts)
        assert outcome.counts[Deed.HUB_KILLED] == acts.count(Deed.HUB_KILLED) == 1
        assert outcome.counts["servers ready"] > 0
        results = by_name(figures.results(outcome))
        broken = {name: each.value for name, each in results.items() if not each.holds}
        assert not broken, "\n".join([*said, str(broken)])
        assert shown(results)

        # What is wrong is found, and only that.
        servers = list(soak.servers.values())
        soak.servers[0, ""].wish = Wish.RUNNING
        script = "#!/bin/bash\n# launch 0123456789abcdef0123456789abcdef\nsleep 60\n"
        first, second, *_ = site.accounts
        await site.scheduler.submit(second, Submission(script))
        found = await wrong(soak.scene, servers)
        assert {(each.kind, each.whose) for each in found} == {
            (Kind.LOST, first.name),
            (Kind.ORPHAN, second.name),
        }
