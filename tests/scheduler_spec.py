"""What holds for both schedulers of the sandbox.

A subclass gives the fixture `scheduler`; its fixture `people` comes from here.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support import command_lines, eventually, missing

from launcher.sandbox.accounts import Account, Accounts, as_account
from launcher.sandbox.scheduler import CancelRefused, Job, JobState, Scheduler, Submission, SubmitRefused
from launcher.sandbox.unix_users import caller

FOREVER = "#!/bin/bash\nsleep 1000\n"
SLOTS = 8
REFUSALS = {
    "no interpreter": (
        "echo\n",
        1,
        (
            "sbatch: error: This does not look like a batch script.  The first\n"
            "sbatch: error: line must start with #! followed by the path to an interpreter.\n"
            "sbatch: error: For instance: #!/bin/sh\n"
        ),
    ),
    "only whitespace": (" \n", 1, "sbatch: error: Batch script contains only whitespace!\n"),
    "DOS line ends": (
        "#!/bin/bash\r\ntrue\r\n",
        1,
        (
            "sbatch: error: Batch script contains DOS line breaks (\\r\\n)\n"
            "sbatch: error: instead of expected UNIX line breaks (\\n).\n"
        ),
    ),
    "time": ("#!/bin/bash\n#SBATCH --time=soon\n", 255, "sbatch: error: Invalid --time specification\n"),
    "signal": (
        "#!/bin/bash\n#SBATCH --signal=B:NO@1\n",
        255,
        "sbatch: error: Invalid --signal specification\n",
    ),
    "nodes": ("#!/bin/bash\n#SBATCH -N many\n", 255, 'sbatch: error: "many" is not a valid node count\n'),
    "no nodes": (
        "#!/bin/bash\n#SBATCH -N 0\n",
        1,
        "sbatch: error: Batch job submission failed: Node count specification invalid\n",
    ),
    "partition": (
        "#!/bin/bash\n#SBATCH -p nosuch\n",
        1,
        (
            "sbatch: error: invalid partition specified: nosuch\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified\n"
        ),
    ),
    "reservation": (
        "#!/bin/bash\n#SBATCH --reservation=nosuch\n",
        1,
        "sbatch: error: Batch job submission failed: Requested reservation is invalid\n",
    ),
    "constraint": (
        "#!/bin/bash\n#SBATCH --constraint nosuch\n",
        1,
        "sbatch: error: Batch job submission failed: Invalid feature specification\n",
    ),
    "option": (
        "#!/bin/bash\n#SBATCH --nosuch=1\n",
        255,
        "sbatch: unrecognized option '--nosuch=1'\nTry \"sbatch --help\" for more information\n",
    ),
    "short option": (
        "#!/bin/bash\n#SBATCH -Z\n",
        255,
        "sbatch: invalid option -- 'Z'\nTry \"sbatch --help\" for more information\n",
    ),
    "ambiguous option": (
        "#!/bin/bash\n#SBATCH --q=1\n",
        255,
        (
            "sbatch: option '--q=1' is ambiguous; possibilities: '--qos' '--quiet'\n"
            'Try "sbatch --help" for more information\n'
        ),
    ),
    "value too many": (
        "#!/bin/bash\n#SBATCH --no-requeue=1\n",
        255,
        (
            "sbatch: option '--no-requeue' doesn't allow an argument\n"
            'Try "sbatch --help" for more information\n'
        ),
    ),
    "value missing": (
        "#!/bin/bash\n#SBATCH --time\n",
        255,
        "sbatch: option '--time' requires an argument\nTry \"sbatch --help\" for more information\n",
    ),
    "word": (
        "#!/bin/bash\n#SBATCH -J one two\n",
        255,
        "sbatch: error: Invalid directive found in batch script: two\n",
    ),
    "quote": (
        '#!/bin/bash\n#SBATCH -J "one\n',
        1,
        'sbatch: fatal: stdin: line 2: Unmatched `"` in [ "one]\n',
    ),
}


@dataclass(frozen=True)
class People:
    """Who submits jobs, and where."""

    state: Path
    alice: Account
    bob: Account


@pytest_asyncio.fixture(scope="class", loop_scope="class", params=["their own users", "one user"])
async def people(request: pytest.FixtureRequest) -> AsyncIterator[People]:
    """As root two unix users, then again as in a run without root: one user under two names."""
    with state_directory() as state:
        if request.param == "one user":
            yield People(state, *borrowed(state))
            return
        if os.geteuid():
            missing("root", "run the tests as root")
        accounts = await asyncio.to_thread(Accounts.create, state)
        alice, bob = accounts
        try:
            yield People(state, alice, bob)
        finally:
            await asyncio.to_thread(accounts.remove)


class state_directory(tempfile.TemporaryDirectory):  # noqa: N801 - used as a function
    """A state directory that other users can pass, with a short path."""

    def __init__(self) -> None:
        super().__init__(prefix="sb-", dir="/var/tmp", ignore_cleanup_errors=True)

    def __enter__(self) -> Path:
        Path(self.name).chmod(0o711)
        return Path(self.name)


def borrowed(state: Path) -> Iterator[Account]:
    for name in ("alice", "bob"):
        home = state / "home" / name
        home.mkdir(parents=True)
        user = caller()
        yield Account(name, "secret", user.pw_uid, user.pw_gid, home, user.pw_name)


async def submit(scheduler: Scheduler, account: Account, script: str, **options: Any) -> str:
    options = {"working_directory": str(account.home), "environment": {}} | options
    return await scheduler.submit(account, Submission(script, **options))


async def job_when(scheduler: Scheduler, job_id: str, holds: Callable[[Job], object]) -> Job:
    """A job as soon as something holds for it."""
    found: list[Job] = []

    async def look() -> bool:
        job = await scheduler.job(job_id)
        assert job
        found.append(job)
        return bool(holds(job))

    await eventually(look, within=60)
    return found[-1]


def has_ended(job: Job) -> bool:
    return JobState(job.state.split()[0]).ended


def runs(job: Job) -> bool:
    return job.state == "RUNNING"


def output(job: Job) -> str:
    path = Path(job.standard_output)
    return path.read_text() if path.exists() else ""


def sleepers(seconds: str) -> int:
    return sum(line.strip() == f"sleep {seconds}" for line in command_lines())


class SchedulerSpec:
    """The behaviour; `scheduler` and `people` last for all tests of the class."""

    async def test_ids_count_up_and_the_list_is_in_their_order(self, scheduler, people):
        first = await submit(scheduler, people.alice, "#!/bin/bash\n")
        second = await submit(scheduler, people.bob, "#!/bin/bash\n")
        assert int(second) == int(first) + 1
        ids = [int(job.id) for job in await scheduler.jobs()]
        assert ids == sorted(ids)
        assert {int(first), int(second)} <= set(ids)

    async def test_a_job_is_its_submitters_and_runs_as_that_user(self, scheduler, people):
        job_id = await submit(scheduler, people.bob, "#!/bin/bash\nid -un; id -u; pwd\n")
        job = await job_when(scheduler, job_id, has_ended)
        bob = people.bob
        assert (job.account_name, job.unix_user) == (bob.name, bob.unix_name)
        assert output(job).splitlines() == [bob.unix_name, str(bob.uid), str(bob.home)]

    async def test_a_new_job_waits_for_nothing_yet(self, scheduler, people):
        # Plain processes know no --begin, but start none before submit has returned.
        script = "#!/bin/bash\n#SBATCH --begin=now+1hour\nsleep 1000\n"
        job = await scheduler.job(await submit(scheduler, people.alice, script, partition="debug"))
        assert job
        assert (job.state, job.nodes) == ("PENDING", "")
        assert (job.exit_code, job.signal, job.elapsed) == (None, None, 0)
        assert (job.partition, job.limit, job.allocation_nodes) == ("debug", 1800, 1)
        await scheduler.cancel(people.alice, job.id)

    async def test_a_running_job(self, scheduler, people):
        before = int(time.time())
        job_id = await submit(scheduler, people.alice, FOREVER)
        job = await job_when(scheduler, job_id, runs)
        assert (job.reason, job.exit_code, job.signal, job.nodes) == ("None", 0, 0, "nid001")
        assert job.start is not None
        assert before <= job.start <= time.time()
        assert (job.limit, job.end) == (4 * 3600, job.start + 4 * 3600)
        await scheduler.cancel(people.alice, job_id)

    async def test_a_job_that_ends_well(self, scheduler, people):
        job_id = await submit(scheduler, people.alice, "#!/bin/bash\ntrue\n")
        job = await job_when(scheduler, job_id, has_ended)
        assert (job.state, job.reason, job.exit_code, job.signal) == ("COMPLETED", "None", 0, 0)
        assert job.nodes in ("nid001", "nid002")
        assert job.start is not None
        assert job.end is not None
        assert job.submitted <= job.start + 1
        assert job.elapsed == job.end - job.start

    @pytest.mark.parametrize(
        ("script", "exit_code", "signal"),
        [("exit 3", 3, 0), ("kill -KILL $$", 0, 9), ("kill -TERM $$", 0, 15)],
    )
    async def test_a_job_that_fails_tells_how(self, scheduler, people, script, exit_code, signal):
        job_id = await submit(scheduler, people.alice, f"#!/bin/bash\n{script}\n")
        job = await job_when(scheduler, job_id, has_ended)
        assert (job.state, job.reason, job.exit_code, job.signal) == ("FAILED", "None", exit_code, signal)

    async def test_files_are_named_by_patterns_and_keep_the_streams_apart(self, scheduler, people):
        names = "#SBATCH -J x --output=%x-%u-%j.out\n#SBATCH -e %x-%5j-%%-%t.err"
        job_id = await submit(scheduler, people.alice, f"#!/bin/bash\n{names}\necho o; echo e >&2\n")
        job = await job_when(scheduler, job_id, has_ended)
        home = people.alice.home
        assert job.standard_output == f"{home}/x-{people.alice.unix_name}-{job_id}.out"
        # Only a running step knows the rest.
        assert job.standard_error == f"{home}/x-%5j-%%-%t.err"
        assert job.standard_input == "/dev/null"
        assert output(job) == "o\n"
        assert (home / f"x-{int(job_id):05}-%-0.err").read_text() == "e\n"

    async def test_both_streams_share_a_file_unless_told_otherwise(self, scheduler, people):
        job_id = await submit(scheduler, people.alice, "#!/bin/bash\necho o; echo e >&2\n")
        job = await job_when(scheduler, job_id, has_ended)
        assert job.standard_output == job.standard_error == f"{people.alice.home}/slurm-{job_id}.out"
        assert output(job) == "o\ne\n"

    async def test_the_environment_is_a_log_ins_and_slurms_and_what_was_exported(
        self, scheduler, people, monkeypatch
    ):
        monkeypatch.setenv("SECRET_OF_OURS", "x")
        exported = {"SEEN": "a b", "CUT": "one,TWO=2,three", "EQUAL": "a=b", "HOME": "/elsewhere"}
        options = {"environment": exported, "name": "a job", "project": "proj", "working_directory": "/"}
        options["standard_output"] = str(people.alice.home / "env.out")
        job_id = await submit(scheduler, people.alice, "#!/bin/bash\nenv\n", **options)
        job = await job_when(scheduler, job_id, has_ended)
        found = dict(line.split("=", 1) for line in output(job).splitlines())
        assert "SECRET_OF_OURS" not in found
        assert "three" not in found
        expected = {
            "SEEN": "a b",
            "CUT": "one",
            "TWO": "2",
            "EQUAL": "a=b",
            "HOME": "/elsewhere",
            "USER": people.alice.unix_name,
            "LOGNAME": people.alice.unix_name,
            "SHELL": "/bin/bash",
            "SLURM_JOB_ID": job_id,
            "SLURM_JOB_NAME": "a job",
            "SLURM_JOB_PARTITION": "normal",
            "SLURM_JOB_USER": people.alice.unix_name,
            "SLURM_JOB_ACCOUNT": "proj",
            "SLURM_CLUSTER_NAME": "sandbox",
            "SLURM_SUBMIT_DIR": str(people.alice.home),
            "SLURM_NODELIST": job.nodes,
            "SLURM_JOB_NODELIST": job.nodes,
            "SLURMD_NODENAME": job.nodes,
        }
        assert {name: found.get(name) for name in expected} == expected
        assert job.project == "proj"

    async def test_what_is_asked_with_the_submission_wins_over_the_script(self, scheduler, people):
        script = "#!/bin/bash\n#SBATCH -J script -p normal -A a -o script.out -D /nowhere\n"
        options = {"name": "given", "partition": "debug", "project": "b", "standard_output": "given.out"}
        job = await scheduler.job(await submit(scheduler, people.alice, script, **options))
        assert job
        assert (job.name, job.partition, job.project) == ("given", "debug", "b")
        assert job.standard_output == f"{people.alice.home}/given.out"
        assert job.working_directory == str(people.alice.home)

    async def test_directives_end_at_the_first_command(self, scheduler, people):
        script = "#!/bin/bash\n\n# words\n#SBATCH --job-name=seen # more words\ntrue\n#SBATCH --nosuch\n"
        job = await scheduler.job(await submit(scheduler, people.alice, script))
        assert job
        assert job.name == "seen"

    async def test_any_name_is_shown_as_it_is(self, scheduler, people):
        name = "a | b\n~c~ UserId=root(0) 'x' \"y\" ü"
        job = await scheduler.job(await submit(scheduler, people.alice, "#!/bin/bash\n", name=name))
        assert job
        assert (job.name, job.account_name) == (name, people.alice.name)

    async def test_any_interpreter_runs_a_script(self, scheduler, people):
        job_id = await submit(scheduler, people.alice, '#!/usr/bin/awk -f\nBEGIN { print "awk" }\n')
        assert output(await job_when(scheduler, job_id, has_ended)) == "awk\n"

    async def test_the_script_is_kept(self, scheduler, people):
        script = "#!/bin/bash\n# kept\n"
        job = await scheduler.job(await submit(scheduler, people.alice, script))
        assert job
        assert job.script == script
        assert script not in repr(job)

    async def test_nobody_else_reads_the_script_anywhere(self, scheduler, people):
        script = '#!/bin/bash\n# a ticket\nstat -c %a "$0"\necho "$0"\nsleep 1000\n'
        job_id = await submit(scheduler, people.alice, script)
        job = await job_when(scheduler, job_id, runs)

        async def told() -> bool:
            return len(output(job).splitlines()) == 2

        await eventually(told)
        mode, path = output(job).splitlines()
        assert not int(mode, 8) & 0o077
        assert not any("a ticket" in line for line in command_lines())
        if people.bob.uid != people.alice.uid:
            command = as_account(people.bob, ["cat", str(people.alice.home / path)])
            assert (await (await asyncio.create_subprocess_exec(*command, stderr=-3)).wait()) == 1
        await scheduler.cancel(people.alice, job_id)

    @pytest.mark.parametrize("case", REFUSALS)
    async def test_a_bad_script_is_refused_in_sbatchs_words(self, scheduler, people, case):
        script, exit_status, words = REFUSALS[case]
        with pytest.raises(SubmitRefused) as refused:
            await submit(scheduler, people.alice, script)
        assert (str(refused.value), refused.value.exit_status) == (words, exit_status)

    async def test_an_unusable_environment_is_no_crash(self, scheduler, people):
        try:
            job_id = await submit(
                scheduler, people.alice, "#!/bin/bash\n", environment={"A": "\0", "B": "\ud800"}
            )
        except SubmitRefused:
            return
        assert (await job_when(scheduler, job_id, has_ended)).state == "FAILED"

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ("--time=5:00:00", "PartitionTimeLimit"),
            ("--time=0", "PartitionTimeLimit"),
            ("-N 3", "PartitionNodeLimit"),
        ],
    )
    async def test_an_impossible_job_waits_for_ever(self, scheduler, people, options, reason):
        job_id = await submit(scheduler, people.alice, f"#!/bin/bash\n#SBATCH {options}\n")
        job = await job_when(scheduler, job_id, lambda job: job.reason == reason)
        assert (job.state, job.nodes, job.start) == ("PENDING", "", None)
        await scheduler.cancel(people.alice, job_id)

    async def test_a_job_that_was_cancelled_before_it_ran(self, scheduler, people):
        job_id = await submit(scheduler, people.alice, "#!/bin/bash\n#SBATCH --time=5:00:00\n")
        await job_when(scheduler, job_id, lambda job: job.reason == "PartitionTimeLimit")
        await scheduler.cancel(people.alice, job_id)
        job = await scheduler.job(job_id)
        assert job
        assert (job.state, job.reason) == (f"CANCELLED by {people.alice.uid}", "PartitionTimeLimit")
        assert (job.nodes, job.allocation_nodes, job.start, job.elapsed) == ("None assigned", 0, None, 0)
        assert (job.exit_code, job.signal) == (0, 0)
        assert job.end

    async def test_a_cancelled_job_shows_at_once_and_all_its_processes_end(self, scheduler, people):
        mark = f"100{time.time_ns() % 10**9}"
        script = f"#!/bin/bash\n(setsid sleep {mark} &)\nsetsid setsid sleep {mark} & sleep {mark}\n"
        job_id = await submit(scheduler, people.alice, script)

        async def all_there() -> bool:
            return sleepers(mark) == 3

        await eventually(all_there)
        await scheduler.cancel(people.alice, job_id)
        job = await scheduler.job(job_id)
        assert job
        assert (job.state, job.reason) == (f"CANCELLED by {people.alice.uid}", "None")
        assert job.nodes in ("nid001", "nid002")

        async def all_gone() -> bool:
            return not sleepers(mark)

        await eventually(all_gone)

    async def test_a_job_gets_a_moment_to_end(self, scheduler, people):
        script = "#!/bin/bash\ntrap 'echo bye; exit 0' TERM\necho ready\nwhile :; do sleep 0.1; done\n"
        job_id = await submit(scheduler, people.alice, script)
        job = await job_when(scheduler, job_id, runs)

        async def ready() -> bool:
            return "ready" in output(job)

        await eventually(ready)
        await scheduler.cancel(people.alice, job_id)

        async def said() -> bool:
            return "bye" in output(job)

        await eventually(said)

    async def test_what_a_script_leaves_behind_ends_with_it(self, scheduler, people):
        mark = f"200{time.time_ns() % 10**9}"
        job_id = await submit(scheduler, people.alice, f"#!/bin/bash\nsetsid sleep {mark} &\nsleep 0.2\n")
        job = await job_when(scheduler, job_id, has_ended)
        assert job.state == "COMPLETED"

        async def gone() -> bool:
            return not sleepers(mark)

        await eventually(gone)

    async def test_an_unknown_job_can_not_be_cancelled(self, scheduler, people):
        with pytest.raises(CancelRefused, match="Invalid job id specified"):
            await scheduler.cancel(people.alice, "99999")
        assert await scheduler.job("99999") is None

    async def test_a_job_ends_once(self, scheduler, people):
        job_id = await submit(scheduler, people.alice, "#!/bin/bash\n")
        await job_when(scheduler, job_id, has_ended)
        with pytest.raises(CancelRefused, match="Job/step already completing or completed") as refused:
            await scheduler.cancel(people.alice, job_id)
        assert refused.value.exit_status == 0

    async def test_another_ones_job_can_not_be_cancelled(self, scheduler, people):
        job_id = await submit(scheduler, people.alice, FOREVER)
        with pytest.raises(CancelRefused) as refused:
            await scheduler.cancel(people.bob, job_id)
        assert str(refused.value) == (
            f"scancel: Terminating job {job_id}\n"
            f"scancel: error: Kill job error on job id {job_id}: Access/permission denied\n"
        )
        assert refused.value.exit_status == 210
        await scheduler.cancel(people.alice, job_id)

    async def test_a_job_fails_whose_output_can_not_be_written(self, scheduler, people):
        script = "#!/bin/bash\n#SBATCH --output=/nowhere/out\n"
        job = await job_when(scheduler, await submit(scheduler, people.alice, script), has_ended)
        assert (job.state, job.reason, job.exit_code, job.signal) == ("FAILED", "None", 0, 53)

    async def test_a_job_whose_directory_is_missing_starts_elsewhere(self, scheduler, people):
        path = people.alice.home / "elsewhere.out"
        options = {"working_directory": "/nowhere", "standard_output": str(path)}
        job_id = await submit(scheduler, people.alice, "#!/bin/bash\npwd\n", **options)
        job = await job_when(scheduler, job_id, has_ended)
        assert output(job).splitlines()[-1] == "/tmp"

    async def test_one_job_too_many_waits_for_its_turn(self, scheduler, people):
        first, *_, last = [await submit(scheduler, people.alice, FOREVER) for _ in range(SLOTS + 1)]
        job = await job_when(scheduler, last, lambda job: job.reason == "Resources")
        assert (job.state, job.nodes, job.exit_code) == ("PENDING", "", None)
        job = await job_when(scheduler, last, lambda job: job.start)
        assert job.start > time.time()
        assert job.end == job.start + job.limit
        cpus = sum(node.cpus for node in await scheduler.nodes())
        assert sum(node.allocated_cpus for node in await scheduler.nodes()) == cpus == SLOTS
        await scheduler.cancel(people.alice, first)
        await job_when(scheduler, last, runs)
        for job_id in range(int(first) + 1, int(last) + 1):
            await scheduler.cancel(people.alice, str(job_id))

    async def test_partitions_and_nodes(self, scheduler, people):
        normal, debug = await scheduler.partitions()
        assert (normal.name, normal.default, normal.limit, normal.state) == ("normal", True, 4 * 3600, "UP")
        assert (debug.name, debug.default, debug.limit, debug.cpus) == ("debug", False, 1800, SLOTS)
        for node in await scheduler.nodes():
            assert node.partitions == ("normal", "debug")
            assert node.name.startswith("nid00")
            assert node.state[0] in ("IDLE", "MIXED", "ALLOCATED")
