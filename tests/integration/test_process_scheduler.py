"""Plain processes behave like Slurm's jobs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
import pytest_asyncio
from scheduler_spec import (
    FOREVER,
    SLOTS,
    SchedulerSpec,
    borrowed,
    has_ended,
    job_when,
    output,
    people,
    runs,
    sleepers,
    state_directory,
    submit,
)
from support import eventually

from launcher.errors import MissingPart
from launcher.sandbox.scheduler import JobState, SubmitRefused, slurm_daemons
from launcher.sandbox.scheduler.choice import choose
from launcher.sandbox.scheduler.process import ProcessScheduler

__all__ = ["people"]


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def scheduler(people):
    scheduler = ProcessScheduler(people.state, slots=SLOTS, kill_wait=1)
    await scheduler.start()
    yield scheduler
    await scheduler.stop()


@pytest.mark.asyncio(loop_scope="class")
class TestProcessScheduler(SchedulerSpec):
    pass


@pytest.fixture
def state():
    with state_directory() as state:
        yield state


@pytest.fixture
def alice(state):
    return next(borrowed(state))


@pytest.fixture
async def plain(state):
    scheduler = ProcessScheduler(state, kill_wait=0.5)
    await scheduler.start()
    yield scheduler
    await scheduler.stop()


async def test_without_slots_all_jobs_wait_and_nobody_knows_until_when(state, alice):
    scheduler = ProcessScheduler(state, slots=0)
    await scheduler.start()
    first, second = [await submit(scheduler, alice, FOREVER) for _ in range(2)]
    jobs = {job.id: job for job in await scheduler.jobs()}
    assert [(job.state, job.start) for job in jobs.values()] == [("PENDING", None)] * 2
    assert [jobs[first].reason, jobs[second].reason] == ["Resources", "Priority"]
    await scheduler.stop()
    assert {job.state for job in await scheduler.jobs()} == {f"CANCELLED by {alice.uid}"}


async def test_a_job_over_its_time_is_ended_and_warned_before(plain, alice):
    script = (
        "#!/bin/bash\n#SBATCH --time=0:03\n#SBATCH --signal=B:USR1@2\n"
        "trap 'echo warned' USR1\ntrap 'echo ended; exit' TERM\nwhile :; do sleep 0.1; done\n"
    )
    job = await job_when(plain, await submit(plain, alice, script), has_ended)
    assert (job.state, job.reason, job.exit_code, job.signal, job.limit) == ("TIMEOUT", "None", 0, 0, 3)
    assert job.elapsed >= 3

    async def ended() -> bool:
        return output(job).startswith("warned\n") and "ended\n" in output(job)

    await eventually(ended)


async def test_a_job_that_ignores_its_end_is_killed(plain, alice):
    script = "#!/bin/bash\ntrap '' TERM\necho ready\nwhile :; do sleep 0.1; done\n"
    job_id = await submit(plain, alice, script)
    job = await job_when(plain, job_id, runs)

    async def ready() -> bool:
        return output(job) == "ready\n"

    await eventually(ready)
    await plain.cancel(alice, job_id)
    assert (await job_when(plain, job_id, lambda job: job.signal)).signal == signal.SIGKILL


async def test_a_job_can_be_cancelled_while_it_starts(plain, alice):
    job_id = await submit(plain, alice, FOREVER)
    await asyncio.sleep(0)
    await plain.cancel(alice, job_id)
    await plain.stop()
    job = await plain.job(job_id)
    assert (job.nodes, job.start, job.signal) == ("None assigned", None, 0)


async def test_a_finished_jobs_script_file_is_gone(plain, alice, state):
    job_id = await submit(plain, alice, "#!/bin/bash\n")
    await job_when(plain, job_id, has_ended)

    async def gone() -> bool:
        return not list((state / "spool").iterdir())

    await eventually(gone)


TRAPPED = """\
#!/bin/bash
exec 2>/dev/null
trap 'echo trapped' EXIT
trap 'exit 143' TERM
echo started $SLURM_RESTART_COUNT
while :; do sleep 0.1; done
"""
ENDS = {
    # State → whether at once, exit code and signal that accounting shows, and what the script could say.
    "NODE_FAIL": (True, (0, 0), "started\n"),
    "OUT_OF_MEMORY": (True, (0, 125), "started\n"),
    "PREEMPTED": (False, (0, 0), "started\ntrapped\n"),
    "CANCELLED": (False, (143, 0), "started\ntrapped\n"),
}


async def started(scheduler, account, script):
    """Submit a script and wait for its first line; return the job's id."""
    job_id = await submit(scheduler, account, script)
    job = await job_when(scheduler, job_id, runs)

    async def speaks() -> bool:
        return output(job).startswith("started")

    await eventually(speaks)
    return job_id


@pytest.mark.parametrize("word", ENDS)
async def test_a_job_can_be_ended_by_others_than_its_owner(plain, alice, word):
    at_once, result, said = ENDS[word]
    job_id = await started(plain, alice, TRAPPED)
    plain.end(job_id, JobState[word], at_once=at_once)
    job = await plain.job(job_id)
    assert job.state == ("CANCELLED by 0" if word == "CANCELLED" else word)

    async def ended() -> bool:
        return not plain._busy()

    await eventually(ended)
    job = await plain.job(job_id)
    assert (output(job), (job.exit_code, job.signal), job.nodes) == (said, result, "nid001")


async def test_a_requeued_job_waits_and_runs_the_same_script_under_the_same_id(plain, alice):
    job_id = await started(plain, alice, TRAPPED)
    plain.requeue(job_id, after=3600)
    job = await job_when(plain, job_id, lambda job: job.state == "PENDING")
    assert (job.reason, job.nodes, job.exit_code) == ("BeginTime", "", None)
    assert job.start > job.submitted + 3000
    await plain.cancel(alice, job_id)
    assert (await plain.job(job_id)).state == f"CANCELLED by {alice.uid}"

    job_id = await started(plain, alice, TRAPPED)
    plain.requeue(job_id, after=0)
    job = await job_when(plain, job_id, runs)

    async def again() -> bool:
        return output(job) == "started 1\n"

    await eventually(again)
    assert (await plain.job(job_id)).state == "RUNNING"


async def test_why_jobs_wait_and_until_when_can_be_said(state, alice):
    scheduler = ProcessScheduler(state, slots=0)
    await scheduler.start()
    job_id = await submit(scheduler, alice, FOREVER)
    scheduler.reason, scheduler.expected_start = "ReqNodeNotAvail, Reserved for maintenance", 2e9
    job = await scheduler.job(job_id)
    assert (job.reason, job.start) == ("ReqNodeNotAvail, Reserved for maintenance", 2_000_000_000)
    scheduler.reason, scheduler.expected_start = "", None
    job = await scheduler.job(job_id)
    assert (job.reason, job.start) == ("Resources", None)
    await scheduler.stop()


async def test_a_stopped_scheduler_takes_no_jobs(plain, alice):
    await plain.stop()
    with pytest.raises(SubmitRefused, match="Unable to contact slurm controller"):
        await submit(plain, alice, FOREVER)


async def test_no_process_is_left_when_the_scheduler_has_stopped(plain, alice):
    mark = f"300{os.getpid()}"
    script = f"#!/bin/bash\ntrap '' TERM\nsetsid sleep {mark} &\nsleep {mark}; sleep {mark}\n"
    for _ in range(2):
        job_id = await submit(plain, alice, script)
        await job_when(plain, job_id, runs)
    await plain.stop()
    assert not sleepers(mark)


async def test_they_are_chosen_where_there_is_no_slurm(state, alice, monkeypatch):
    monkeypatch.setattr(slurm_daemons, "missing", lambda **_: "slurmctld, slurmd not installed")
    scheduler = await choose("auto", state, [alice])
    note = "Jobs run as plain processes: Slurm is not complete: slurmctld, slurmd not installed."
    assert (scheduler.kind, scheduler.note) == ("process", note)


async def test_they_can_be_asked_for(state, alice):
    scheduler = await choose("process", state, [alice])
    assert (scheduler.kind, scheduler.note) == ("process", "")


async def test_slurm_is_not_replaced_where_it_is_asked_for(state, alice, monkeypatch):
    monkeypatch.setattr(slurm_daemons, "missing", lambda **_: "slurmctld not installed")
    scheduler = await choose("slurm", state, [alice])
    with pytest.raises(MissingPart, match="slurmctld not installed"):
        await scheduler.start()


async def test_jobs_end_when_we_are_killed(state):
    mark = f"400{os.getpid()}"
    program = f"""
import asyncio, pathlib, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from scheduler_spec import borrowed, submit
from launcher.sandbox.scheduler.process import ProcessScheduler
async def main():
    scheduler = ProcessScheduler(pathlib.Path({str(state)!r}), kill_wait=0.5)
    await scheduler.start()
    alice, _ = borrowed(pathlib.Path({str(state)!r}))
    await submit(scheduler, alice, "#!/bin/bash\\n(setsid sleep {mark} &)\\nsleep {mark}\\n")
    await asyncio.sleep(1000)
asyncio.run(main())
"""
    ours = await asyncio.create_subprocess_exec(sys.executable, "-c", program)

    async def running() -> bool:
        return sleepers(mark) == 2

    try:
        await eventually(running)
    finally:
        ours.kill()
        await ours.wait()

    async def gone() -> bool:
        return not sleepers(mark)

    await eventually(gone)
