"""The sandbox's own Slurm, for real."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_asyncio
from scheduler_spec import (
    FOREVER,
    People,
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
from support import eventually, missing, slurm

import launcher
from launcher.errors import SandboxError
from launcher.sandbox.accounts import Accounts, as_account
from launcher.sandbox.scheduler import slurm_conf, slurm_daemons
from launcher.sandbox.scheduler.choice import choose
from launcher.sandbox.scheduler.slurm import SlurmScheduler

__all__ = ["people"]


@pytest.fixture(scope="module", autouse=True)
def installed():
    slurm()


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def scheduler(people):
    scheduler = SlurmScheduler(people.state, [people.alice, people.bob])
    await scheduler.start()
    yield scheduler
    await scheduler.stop()


@pytest.mark.asyncio(loop_scope="class")
class TestSlurmScheduler(SchedulerSpec):
    async def test_the_version_is_slurms(self, scheduler, people):
        assert re.fullmatch(r"\d\d\.\d\d\.\d+", scheduler.version)

    async def test_a_script_can_not_change_its_owner(self, scheduler, people):
        job_id = await submit(scheduler, people.alice, f"#!/bin/bash\n#SBATCH --comment={people.bob.name}\n")
        assert (await scheduler.job(job_id)).account_name == people.alice.name

    async def test_a_job_that_a_job_submits_is_known_with_its_script(self, scheduler, people):
        script = "#!/bin/bash\nprintf '#!/bin/bash\\n# inner\\n' | sbatch --parsable\n"
        job_id = await submit(scheduler, people.alice, script)
        inner = output(await job_when(scheduler, job_id, has_ended)).strip()
        job = await scheduler.job(inner)
        assert job.script == "#!/bin/bash\n# inner\n"
        assert job.account_name == people.alice.name


@pytest.fixture
def accounting():
    """The argument of a run of its own that has accounting, and so more daemons; empty where it can't."""
    return "" if slurm_daemons.missing(accounting=True) else "yes"


@pytest.fixture
def state():
    with state_directory() as state:
        yield state


@pytest.fixture
def users(state):
    return People(state, *borrowed(state))


@contextlib.asynccontextmanager
async def running(users):
    scheduler = SlurmScheduler(users.state, [users.alice, users.bob])
    await scheduler.start()
    try:
        yield scheduler
    finally:
        await scheduler.stop()


async def test_it_has_room_for_as_many_jobs_as_it_is_told(users):
    scheduler = SlurmScheduler(users.state, [users.alice], slots=24)
    await scheduler.start()
    try:
        assert sum(node.cpus for node in await scheduler.nodes()) == 24
    finally:
        await scheduler.stop()


def listeners(names: str) -> list[str]:
    """Addresses on which programs of these names listen to TCP."""
    found = subprocess.run(["ss", "-Hltnp"], check=True, capture_output=True, text=True).stdout
    return [line.split()[3] for line in found.splitlines() if re.search(rf'"({names})"', line)]


def daemons(state: Path) -> list[str]:
    """Processes whose environment or arguments name a state directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.name != str(os.getpid()) and any(
                str(state).encode() in (process / part).read_bytes() for part in ("environ", "cmdline")
            ):
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


async def test_it_listens_to_this_machine_alone_and_leaves_nothing_behind(users):
    before = listeners("slurmctld|slurmd|munged")
    async with running(users) as scheduler:
        job_id = await submit(scheduler, users.alice, "#!/bin/bash\nsrun sleep 600\n")
        await job_when(scheduler, job_id, runs)
        found = listeners("slurmctld|slurmd|slurmstepd|srun|munged")
        assert len(found) >= len(before) + 3
        assert all(address.startswith("127.") for address in found), found
        assert daemons(users.state)
    assert daemons(users.state) == []
    assert listeners("slurmctld|slurmd|munged") == before


async def test_it_leaves_an_installed_slurm_alone(users):
    def look() -> dict[str, tuple[float, bytes]]:
        paths = [Path("/etc/hosts"), *Path("/etc/slurm").rglob("*"), *Path("/etc/munge").rglob("*")]
        paths += [*Path("/var/log/munge").rglob("*"), *Path("/run/munge").rglob("*")]
        return {str(path): (path.stat().st_mtime, path.is_file() and path.read_bytes()) for path in paths}

    before = look()
    async with running(users) as scheduler:
        job_id = await submit(scheduler, users.alice, "#!/bin/bash\n")
        await job_when(scheduler, job_id, has_ended)
    assert look() == before


async def test_a_job_that_ignores_its_end_does_not_outlive_it(users):
    mark = f"500{os.getpid()}"
    async with running(users) as scheduler:
        script = f"#!/bin/bash\ntrap '' TERM\nsetsid sleep {mark} &\nsleep {mark}; sleep {mark}\n"
        job_id = await submit(scheduler, users.alice, script)
        await job_when(scheduler, job_id, runs)
    assert not sleepers(mark)


async def test_a_new_job_starts_soon(users):
    async with running(users) as scheduler:
        job_id = await submit(scheduler, users.alice, "#!/bin/bash\n")
        job = await job_when(scheduler, job_id, has_ended)
        assert job.start - job.submitted <= 2


async def test_a_job_near_its_end_is_warned_and_one_over_its_time_is_ended(users):
    script = (
        "#!/bin/bash\n#SBATCH --time=1 --signal=B:USR1@50\n"
        "trap 'echo warned' USR1\nwhile :; do sleep 0.1; done\n"
    )
    async with running(users) as scheduler:
        near, over = [await submit(scheduler, users.alice, script) for _ in range(2)]
        # Limits are whole minutes, and slurmctld looks every 30 s: then the one has some time left.
        for job_id, end in ((near, "now+55"), (over, "now+1")):
            await job_when(scheduler, job_id, runs)
            await scheduler._ask("scontrol", "update", f"JobId={job_id}", f"EndTime={end}")

        async def looked() -> bool:
            return has_ended(await scheduler.job(over)) and output(await scheduler.job(near)) == "warned\n"

        await eventually(looked, within=60)
        job = await scheduler.job(over)
        assert (job.state, job.reason, job.exit_code, job.signal, job.limit) == ("TIMEOUT", "None", 0, 0, 60)
        assert runs(await scheduler.job(near))


async def test_two_stand_side_by_side(users):
    with state_directory() as other:
        others = People(other, *borrowed(other))
        async with running(users) as one, running(others) as two:
            await submit(one, users.alice, FOREVER)
            assert len(await one.jobs()) == 1
            assert await two.jobs() == []


async def test_a_daemon_that_dies_is_told_with_its_log(users):
    async with running(users) as scheduler:
        kept = scheduler._daemons._kept["slurmctld"]
        (slurmctld,) = Path(f"/proc/{kept.pid}/task/{kept.pid}/children").read_text().split()
        os.kill(int(slurmctld), signal.SIGKILL)
        await kept.wait()
        with pytest.raises(SandboxError, match="The sandbox's slurmctld has ended") as error:
            await scheduler.jobs()
        assert "Running as primary controller" in error.value.why
    assert daemons(users.state) == []


async def test_without_its_daemons_it_does_not_answer_and_stops_at_once(users):
    scheduler = SlurmScheduler(users.state, [users.alice])
    with pytest.raises(SandboxError, match="not running"):
        await scheduler.jobs()
    await scheduler.stop()


async def test_a_daemon_that_does_not_come_up_is_told_with_its_log(users, monkeypatch):
    monkeypatch.setattr(slurm_conf, "_CONFIGURATION", slurm_conf._CONFIGURATION + "NoSuchKey=1\n")
    with pytest.raises(SandboxError, match="has ended") as error:
        async with running(users):
            pass
    assert "NoSuchKey" in error.value.why
    assert daemons(users.state) == []


async def test_a_state_directory_with_too_long_a_path_is_refused(users):
    long = users.state / ("x" * 80)
    long.mkdir()
    scheduler = SlurmScheduler(long, [users.alice])
    with pytest.raises(SandboxError, match="too long"):
        await scheduler.start()


async def test_a_host_name_that_leads_to_the_network_is_replaced(users, monkeypatch):
    if os.geteuid():
        missing("this needs root", "run the tests as root")
    real = socket.gethostbyname
    ours = socket.gethostname()
    monkeypatch.setattr(socket, "gethostbyname", lambda name: "192.0.2.1" if name == ours else real(name))
    before = listeners("slurmctld|slurmd")
    async with running(users) as scheduler:
        job_id = await submit(scheduler, users.alice, "#!/bin/bash\nhostname\n")
        assert output(await job_when(scheduler, job_id, has_ended)) == "localhost\n"
        assert all(address.startswith("127.") for address in listeners("slurmctld|slurmd"))
    assert listeners("slurmctld|slurmd") == before
    assert socket.gethostname() == ours


async def test_it_is_chosen_where_it_is_installed_and_answers(users):
    scheduler = await choose("auto", users.state, [users.alice])
    assert (scheduler.kind, scheduler.note) == ("slurm", "")
    await scheduler.start()  # once more does nothing
    await scheduler.stop()
    assert daemons(users.state) == []


async def test_plain_processes_are_chosen_where_it_does_not_answer(users, monkeypatch):
    monkeypatch.setattr(slurm_conf, "_CONFIGURATION", slurm_conf._CONFIGURATION + "NoSuchKey=1\n")
    scheduler = await choose("auto", users.state, [users.alice])
    assert scheduler.kind == "process"
    assert re.fullmatch("Jobs run as plain processes: The sandbox's .* has ended.", scheduler.note)


STANDALONE = """
import asyncio, pathlib, sys
from launcher.sandbox.accounts import Accounts
from launcher.sandbox.scheduler import Submission
from launcher.sandbox.scheduler.slurm import SlurmScheduler

async def main():
    state = pathlib.Path(sys.argv[1])
    accounts = Accounts.create(state)
    scheduler = SlurmScheduler(state, accounts, accounting=bool(sys.argv[3]))
    await scheduler.start()
    script = f"#!/bin/bash\\n(setsid sleep {sys.argv[2]} &)\\nid -un\\nsleep {sys.argv[2]}\\n"
    for account in accounts:
        options = {"working_directory": str(account.home), "environment": {"A": "b"}}
        job_id = await scheduler.submit(account, Submission(script, **options))
    while (await scheduler.known(job_id)).state != "RUNNING":
        await asyncio.sleep(0.1)
    print(*(f"{job.account_name}:{job.unix_user}" for job in await scheduler.jobs()), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await scheduler.stop()
    accounts.remove()

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def standalone(command, **options):
    """A run in a process of its own."""
    pipe = asyncio.subprocess.PIPE
    run = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, **options)
    try:
        yield run
    finally:
        if run.returncode is None:
            run.kill()
        await run.communicate()


async def test_nothing_is_left_when_we_are_killed(state, accounting):
    mark = f"600{os.getpid()}"
    async with standalone([sys.executable, "-c", STANDALONE, str(state), mark, accounting]) as ours:
        assert await ours.stdout.readline()

        async def there() -> bool:
            return sleepers(mark) == 4

        await eventually(there)
        ours.kill()

        async def gone() -> bool:
            return not daemons(state) and not sleepers(mark)

        await eventually(gone, within=60)
    # The next run removes the users.
    accounts = await asyncio.to_thread(Accounts.create, state, ())
    await asyncio.to_thread(accounts.remove)


async def test_it_works_for_an_ordinary_user(state, accounting):
    if os.geteuid():
        missing("this needs root", "run the tests as root")
    mark = f"700{os.getpid()}"
    # Neither our interpreter nor our clone may be within the user's reach.
    shutil.copytree(
        Path(launcher.__file__).parent, state / "lib/launcher", ignore=shutil.ignore_patterns("__pycache__")
    )
    accounts = await asyncio.to_thread(Accounts.create, state, ["carol"])
    try:
        (carol,) = accounts
        own = carol.home / "s"
        own.mkdir()
        os.chown(own, carol.uid, carol.gid)
        interpreter = next(
            (path for path in (sys.executable, "/usr/bin/python3") if reaches(carol, path)), None
        )
        if not interpreter:
            missing("no python3 of at least 3.11 is there for all users", "as root: apt-get install python3")
        command = as_account(
            carol,
            [interpreter, "-c", STANDALONE, str(own), mark, accounting],
            environment={"PYTHONPATH": str(state / "lib")},
        )
        async with standalone(command, cwd=state) as ours:
            words = (await ours.stdout.readline()).decode().split()
            assert words == [f"alice:{carol.name}", f"bob:{carol.name}"]
            assert all(
                address.startswith("127.") for address in listeners("slurmctld|slurmd|slurmdbd|mariadbd")
            )
            ours.stdin.close()
            assert await ours.wait() == 0
        assert not sleepers(mark)
        assert not daemons(own)
        assert (own / "home/bob/slurm-2.out").read_text().startswith(f"{carol.name}\n")
    finally:
        await asyncio.to_thread(accounts.remove)


def reaches(account, interpreter: str) -> bool:
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    command = as_account(account, [interpreter, "-c", check])
    return not subprocess.run(command, check=False, capture_output=True).returncode
