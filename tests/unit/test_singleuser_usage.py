"""What a session uses: of its job's control group, or else of its processes."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from launcher.singleuser.cgroup import Memory
from launcher.singleuser.environment import Environments
from launcher.singleuser.panel import usage as module
from launcher.singleuser.panel.usage import Usage

GIB = 2**30


class Cgroup:
    """A job's control group that says what a test wants."""

    def __init__(self, memory=None, cpu=()):
        self._memory = memory
        self._cpu = list(cpu)

    def memory(self):
        return self._memory

    def cpu(self):
        return self._cpu.pop(0) if self._cpu else None


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self):
        self.now = 0.0
        self.naps = []

    def monotonic(self):
        return self.now

    async def sleep(self, seconds):
        self.naps.append(seconds)
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(asyncio, "sleep", clock.sleep)
    return clock


def usage(cgroup, **job):
    return Usage(cgroup, Environments({"PATH": "/nowhere"}, {"PATH": "/nowhere"}, job, [], []))


async def test_the_first_answer_already_knows_what_is_in_use_now(clock):
    it = usage(Cgroup(Memory(2 * GIB, 8 * GIB), cpu=[100.0, 101.5, 111.5]), SLURM_CPUS_ON_NODE="1")
    assert await it.read() == {
        "kind": "use",
        "memory": {"used": 2 * GIB, "limit": 8 * GIB},
        "cpu": {"used": 1.5, "of": 1},
        "gpus": [],
    }
    await clock.sleep(5)
    assert (await it.read())["cpu"]["used"] == 2.0


async def test_after_a_long_time_unwatched_it_is_not_the_average_since(clock):
    it = usage(Cgroup(Memory(1, 2), cpu=[0.0, 1.0, 5000.0, 5003.0]))
    await it.read()
    await clock.sleep(3600)
    assert (await it.read())["cpu"]["used"] == 3.0


async def test_where_nothing_limits_the_job_slurms_word_counts():
    limits = [
        (await usage(Cgroup(Memory(1, None)), **job).read())["memory"]["limit"]
        for job in (
            {"SLURM_MEM_PER_NODE": "4096"},
            {"SLURM_MEM_PER_CPU": "1024", "SLURM_CPUS_ON_NODE": "4"},
            {"SLURM_MEM_PER_NODE": "0"},
            {"SLURM_MEM_PER_NODE": "many"},
            {},
        )
    ]
    assert limits == [4 * GIB, 4 * GIB, None, None, None]


async def test_without_a_control_group_it_is_the_sum_of_the_sessions_processes():
    spend = "import sys; b = b'x' * 2**26; [None for _ in range(10**7)]; print(flush=True); sys.stdin.read()"
    it = usage(Cgroup())
    alone = await it.read()
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", spend, stdin=-1, stdout=-1)
    await child.stdout.readline()
    both = await it.read()
    child.stdin.close()
    await child.wait()
    assert both["memory"]["used"] - alone["memory"]["used"] > 2**25
    assert both["memory"]["limit"] is None
    assert both["cpu"]["used"] > 0
    assert both["cpu"]["of"] == len(os.sched_getaffinity(0))
    assert (await it.read())["cpu"]["used"] >= 0


async def test_without_psutil_nothing_is_known(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert await usage(Cgroup()).read() == {"kind": "use", "memory": None, "cpu": None, "gpus": []}


class Pages:
    """Pages, of which one watches until it has seen three messages."""

    def __init__(self):
        self.seen = []

    @property
    def watched(self):
        return len(self.seen) % 3 < 2 or not self.seen

    def tell(self, message, *, watching):
        assert watching
        self.seen.append(message)


async def test_pages_are_told_every_5_seconds_while_one_watches(clock):
    pages, it = Pages(), usage(Cgroup(Memory(1, 2), cpu=map(float, range(9))))
    await it.watch(pages)
    assert [message["kind"] for message in pages.seen] == ["use", "use"]
    assert clock.naps == [1, 5, 5]


async def test_a_page_that_opens_meanwhile_does_not_double_it(clock):
    pages, it = Pages(), usage(Cgroup(Memory(1, 2), cpu=map(float, range(9))))
    await asyncio.gather(it.watch(pages), it.watch(pages))
    assert clock.naps == [1, 5, 5]
