"""A rendered script as a job of a real Slurm that has the options of production sites."""

from __future__ import annotations

import pytest
import pytest_asyncio
from rendering import TICKET, cluster_file, script
from running import hub
from scheduler_spec import borrowed, has_ended, job_when, state_directory, submit
from slurm.spank import build
from support import command_lines, eventually, missing

from launcher.protocol import ScriptExit, parse_event
from launcher.sandbox.scheduler import slurm_daemons
from launcher.sandbox.scheduler.slurm import SlurmScheduler
from launcher.singleuser.environment import without_step
from launcher.singleuser.isolation import KEPT

__all__ = ["hub"]

SERVER = """\
#!/bin/bash
trap 'echo TERM >> signals; code=17' TERM
trap 'echo USR1 >> signals; code=18' USR1
env -0 > environment.new
mv environment.new environment
while [ -z "$code" ] && [ ! -e end ]; do sleep 0.05; done
[ -z "$code" ] || for each in {1..10}; do sleep 0.05; done
echo saved > saved
exit "${code:-7}"
"""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def state():
    if absent := slurm_daemons.missing():
        missing(absent, "as root: apt-get install slurmctld slurmd slurm-client munge")
    with state_directory() as state:
        yield state


@pytest.fixture(scope="module")
def account(state):
    return next(borrowed(state))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def slurm(state, account):
    slurm = SlurmScheduler(state, [account])
    await slurm.start()
    try:
        plugin = build(state)
        (state / "slurm/etc/plugstack.conf").write_text(f"required {plugin}\n")
        yield slurm
    finally:
        await slurm.stop()


@pytest.fixture(scope="module")
def file(state):
    server = state / "launcher-singleuser"
    server.write_text(SERVER)
    server.chmod(0o755)
    return cluster_file(
        state,
        launcher=None,
        tools={"image": "/images/tools.squashfs", "launcher": str(server)},
        environments=[
            {"id": "uenv", "kind": "uenv", "image": "prgenv-gnu/24.11:v1", "view": "default"},
            {"id": "container", "kind": "container", "edf": "/edf/a.toml", "launcher": str(server)},
        ],
    )


class Session:
    """A job whose server is up.

    Attributes:
        hub: What it reports to.
        home: Where it runs.
        job_id: Slurm's id.
    """

    def __init__(self, slurm, hub, home, job_id):
        self._slurm, self.hub, self.home, self.job_id = slurm, hub, home, job_id

    @property
    def environment(self):
        items = (self.home / "environment").read_text().rstrip("\0").split("\0")
        return dict(item.split("=", 1) for item in items)

    @property
    def signals(self):
        return (self.home / "signals").read_text().split()

    async def ended(self):
        """Return the job when it has ended, and what its script told the hub."""
        job = await job_when(self._slurm, self.job_id, has_ended)

        async def told():
            return self.hub.posts

        await eventually(told)
        return job, [parse_event(post.body) for post in self.hub.posts]


@pytest.fixture
def start(slurm, account, file, hub):
    """Return a function that starts a job in an environment."""

    async def start(environment):
        for name in ("environment", "signals", "end", "saved"):
            (account.home / name).unlink(missing_ok=True)
        text = script(file, {"environment": environment}, url=hub.url)
        job_id = await submit(slurm, account, text, environment={"FROM_FIRECREST": "yes"})

        async def up():
            return (account.home / "environment").exists()

        await eventually(up)
        return Session(slurm, hub, account.home, job_id)

    return start


async def ends_well(session):
    """Look at what all environments have in common; then let the server end."""
    seen = command_lines()
    given = session.environment
    ours = {name: value for name, value in given.items() if name.startswith("LAUNCHER_")}
    assert {name: value for name, value in ours.items() if not name.startswith(KEPT)} == {
        "LAUNCHER_HUB_URL": session.hub.url,
        "LAUNCHER_TICKET": TICKET,
        "LAUNCHER_CLAIM_TIMEOUT": "90",
    }
    assert (given["SLURM_JOB_ID"], given["FROM_FIRECREST"]) == (session.job_id, "yes")
    assert any("launcher-singleuser" in line for line in seen)
    assert not any(TICKET in line for line in seen)
    (session.home / "end").touch()
    job, reports = await session.ended()
    assert (job.state, job.exit_code) == ("FAILED", 7)
    assert reports == [ScriptExit(TICKET, 7, session.job_id)]


async def test_the_images_and_the_view_reach_the_job_through_uenvs_plugin(start):
    session = await start("uenv")
    environment = session.environment
    assert environment["UENV_MOUNT_LIST"] == (
        "/images/tools.squashfs:/user-tools,prgenv-gnu/24.11:v1:/user-environment"
    )
    assert environment["UENV_VIEW"] == "prgenv-gnu:default"
    assert "SLURM_STEP_ID" not in environment, "MPI does not work from within an srun"
    await ends_well(session)


async def test_the_container_is_started_by_srun(start):
    session = await start("container")
    environment = session.environment
    assert environment["CONTAINER_ENVIRONMENT"] == "/edf/a.toml"
    assert "UENV_MOUNT_LIST" not in environment
    assert environment["SLURM_STEP_ID"] == "0"
    await ends_well(session)


async def test_what_is_started_in_a_container_sees_the_job_as_in_a_batch_script(start):
    """An srun tells its task more than srun(1) says; a later Slurm may tell it more still."""
    seen = []
    for environment in ("uenv", "container"):
        session = await start(environment)
        left = without_step(session.environment).items()
        seen.append({item for item in left if item[0].startswith(("SLURM_", "SRUN_"))})
        (session.home / "end").touch()
        await session.ended()
    batch, step = seen
    assert {name for name, _ in batch ^ step if "SPANK" not in name} <= {
        "SLURM_JOBID",
        "SLURM_JOB_CPUS_PER_NODE_PACK_GROUP_0",
        "SLURM_JOB_ID",
        "SLURM_JOB_NAME",
    }


@pytest.mark.parametrize("environment", ["uenv", "container"])
@pytest.mark.parametrize(("signal", "code"), [("USR1", 18), ("TERM", 17)])
async def test_a_signal_to_the_batch_shell_reaches_the_server(start, slurm, environment, signal, code):
    session = await start(environment)
    await slurm._ask("scancel", "--batch", f"--signal={signal}", session.job_id)
    job, reports = await session.ended()
    assert session.signals == [signal]
    assert (session.home / "saved").exists()
    assert job.exit_code == code
    assert reports == [ScriptExit(TICKET, code, session.job_id)]


@pytest.mark.parametrize("environment", ["uenv", "container"])
async def test_a_server_whose_job_is_cancelled_may_end_in_its_own_way(start, slurm, account, environment):
    session = await start(environment)
    await slurm.cancel(account, session.job_id)
    job, reports = await session.ended()
    assert job.state.startswith("CANCELLED")
    assert set(session.signals) == {"TERM"}
    assert (session.home / "saved").exists()
    assert reports == [ScriptExit(TICKET, 17, session.job_id)]
