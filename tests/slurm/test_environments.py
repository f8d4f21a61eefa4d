"""Sessions in each kind of environment, with real images, in a real Slurm."""

from __future__ import annotations

import asyncio
import json
import os
import re

import httpx
import pytest
import pytest_asyncio
from container_site import container_site, of_the_node
from images import CONTAINER, CONTAINER_PREFIX, PREFIX, TOOLS, USER
from seen import IN_KERNEL, OF_A_PYTHON, assert_apart, configure, look
from support import eventually, messages

from launcher.check.session import Kernel
from launcher.sandbox.accounts import as_account
from launcher.sandbox.state import state_directory

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("mount_points")]

FOREIGN = f"{USER}/foreign"
# What Enroot's hook for PyTorch tells each task.
RANKS = {
    "RANK": "0",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "1",
    "MASTER_ADDR": "nid001",
    "MASTER_PORT": "29500",
}
SPOILT = {
    "PYTHONHOME": "/nowhere",
    "PYTHONPATH": "/nowhere/lib",
    "LD_LIBRARY_PATH": "/nowhere/lib64",
    "TMPDIR": "/dev/shm",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(images):
    with state_directory(None) as state:
        async with container_site(state, **clusters(images, state)) as site:
            for account in site.accounts:
                configure(account)
            yield site


def clusters(images, state):
    """Return a site's options: clusters that mount images in each way, and one whose tools can't run."""
    pytorch = {**of_the_node(images, state), "env": {"PYTORCH_VERSION": "2.9.0", **RANKS}}
    prgenv = {"kind": "uenv", "image": str(images.prgenv)}
    spoilt = " ".join(f"{name}={value}" for name, value in SPOILT.items())
    changes = {
        "max_nodes": 2,
        "tools": {"image": str(images.tools)},
        "uenv": {"attach": "squashfs-mount"},
        "prologue": f"export PATH={state}/bin:$PATH",
        "environments": [
            {"id": "named", "view": "default", **prgenv},
            {"id": "unnamed", **prgenv},
            {"id": "own", "launcher": f"{state}/software/bin/launcher-singleuser", **prgenv},
            {"id": "plain", "kind": "uenv", "image": str(images.plain)},
            {"id": "bare", "view": "bare", **prgenv},
            {"id": "host", "kind": "host"},
            {
                "id": "container",
                "kind": "container",
                "edf": f"{state}/edf/pytorch.toml",
                "definition": pytorch,
            },
            {"id": "spoilt", "kind": "host", "prologue": f"export {spoilt}"},
            {"id": "no-view", "view": "nowhere", **prgenv},
            {"id": "no-image", "kind": "uenv", "image": f"{images.prgenv.parent}/gone.squashfs"},
            {"id": "foreign", "kind": "uenv", "image": str(images.foreign_prgenv)},
        ],
    }
    more = {
        "plugin": {"uenv": {"attach": "directive"}, "prologue": ""},
        "run": {"uenv": {"attach": "run"}},
        "foreign": {"tools": {"image": str(images.foreign_tools)}},
    }
    return {"changes": changes, "more_clusters": more}


@pytest_asyncio.fixture(loop_scope="module")
async def alice(person):
    return await person()


async def start(someone, cluster, environment, **options):
    """Start a session; fail with what the hub said."""
    said = await someone.start(cluster=cluster, environment=environment, **options)
    assert said[-1].get("ready"), json.dumps(said, indent=1)


def is_apart(server, prefix):
    """Check that a server has nothing of its user's Python."""
    assert_apart(server, prefix)
    assert not any(name.startswith("PRGENV") for name in server["environment"])
    assert USER not in server["environment"]["PATH"]
    assert not [folder for folder in server["path"] if USER in folder]
    assert FOREIGN not in server["libraries"]


def has_default_view(environment, home):
    """Check that a program of the user's has what the view `default` sets."""
    assert environment["PATH"].startswith(f"{PREFIX}/bin:")
    assert environment["PYTHONPATH"] == f"{FOREIGN}/python"
    assert environment["LD_LIBRARY_PATH"] == f"{FOREIGN}/lib"
    assert (environment["PRGENV"], environment["PRGENV_CACHE"]) == ("test", f"{home}/.cache/prgenv")
    assert not RANKS.keys() & set(environment)
    assert not any(name.startswith("LAUNCHER_KEPT_") for name in environment)


# ---- sessions


@pytest.mark.parametrize(
    ("cluster", "environment", "nodes"),
    [
        ("sandbox", "named", 1),
        ("plugin", "named", 2),
        ("run", "named", 1),
        pytest.param("sandbox", "unnamed", 1, marks=pytest.mark.extra),
        pytest.param("plugin", "unnamed", 1, marks=pytest.mark.extra),
        pytest.param("run", "unnamed", 1, marks=pytest.mark.extra),
    ],
)
async def test_a_server_and_its_users_programs_have_environments_of_their_own(
    alice, site, cluster, environment, nodes
):
    await start(alice, cluster, environment, nodes=nodes)
    home = site.accounts[alice.name].home
    seen = await look(alice, tasks=nodes, mounts=f"{TOOLS}/meta {USER}/meta")
    is_apart(seen.server, f"{TOOLS}/env/jupyter")
    has_default_view(seen.terminal, home)
    assert seen.python == f"{PREFIX}/bin/python3"
    assert [(each["name"], each["loaded"]) for each in seen.told["images"]] == [
        ("jupyterlab", []),
        ("prgenv-test", ["default"]),
    ]
    step = [f"nid00{rank + 1} {rank} {USER}/meta {TOOLS}/meta" for rank in range(nodes)]
    assert (sorted(seen.step), seen.warnings) == (step, "")

    kernel = json.loads(await alice.compute(IN_KERNEL))
    assert kernel["prefix"] == PREFIX
    has_default_view(kernel["environment"], home)
    assert f"{FOREIGN}/python" in kernel["path"]


async def test_a_kernel_of_another_language_that_an_image_brings_runs(alice):
    await start(alice, "sandbox", "named")
    assert (await alice.browser.open(f"{alice.server}lab")).status == 200
    specs = (await alice.browser.fetch("GET", f"{alice.server}api/kernelspecs"))["kernelspecs"]
    (julia,) = [name for name, each in specs.items() if each["spec"]["language"] == "julia"]
    client = "somebody"
    wanted = {"kernel": {"name": julia}, "name": "it", "path": "it", "type": "console"}
    session = await alice.browser.fetch("POST", f"{alice.server}api/sessions", wanted)
    channels = f"{alice.server}api/kernels/{session['kernel']['id']}/channels?session_id={client}"
    socket = await alice.browser.connect(channels)
    kernel = Kernel("Julia", f"{alice.server}api/sessions/{session['id']}", alice.browser, socket, client)
    try:
        assert (await kernel.run("print(6*7)")).strip() == "42"
    finally:
        kernel.close()


@pytest.mark.extra
async def test_another_view_is_loaded_in_the_place_of_the_default_one(alice):
    await start(alice, "sandbox", "bare")
    seen = await look(alice)
    assert seen.terminal["PRGENV_BARE"] == "yes"
    assert not {"PRGENV", "PYTHONPATH", "LD_LIBRARY_PATH"} & set(seen.terminal)


@pytest.mark.extra
@pytest.mark.parametrize("cluster", ["sandbox", "plugin", "run"])
async def test_a_server_of_the_host_has_the_same_beside_it(alice, site, cluster):
    await start(alice, cluster, "own")
    seen = await look(alice, mounts=f"{USER}/meta")
    is_apart(seen.server, f"{site.state}/software")
    has_default_view(seen.terminal, site.accounts[alice.name].home)
    assert (seen.python, seen.step) == (f"{PREFIX}/bin/python3", [f"nid001 0 {USER}/meta"])


@pytest.mark.extra
@pytest.mark.parametrize("cluster", ["sandbox", "plugin"])
async def test_an_image_that_does_not_describe_itself_is_mounted(alice, cluster):
    await start(alice, cluster, "plain")
    seen = await look(alice, mounts=f"{USER}/README")
    assert (seen.python, seen.step) == ("/usr/bin/python3", [f"nid001 0 {USER}/README"])


@pytest.mark.parametrize("cluster", ["sandbox", pytest.param("plugin", marks=pytest.mark.extra)])
async def test_on_the_bare_host_programs_are_the_hosts(alice, cluster):
    await start(alice, cluster, "host")
    seen = await look(alice, mounts=f"{TOOLS}/meta")
    is_apart(seen.server, f"{TOOLS}/env/jupyter")
    assert TOOLS not in seen.terminal["PATH"]
    assert seen.python == "/usr/bin/python3"
    assert not (OF_A_PYTHON | RANKS.keys()) & set(seen.terminal)
    assert (seen.step, seen.warnings) == ([f"nid001 0 {TOOLS}/meta"], "")
    assert (await alice.compute()).strip() == "42"


async def test_in_a_container_its_variables_are_there_but_for_the_rank_of_the_server(alice):
    await start(alice, "sandbox", "container", nodes=2)
    seen = await look(alice, tasks=2)
    is_apart(seen.server, CONTAINER)
    assert seen.terminal["PYTORCH_VERSION"] == "2.9.0"
    assert not (RANKS.keys() | {"SLURM_STEP_ID", "SLURM_PROCID", "SLURM_LOCALID"}) & set(seen.terminal)
    assert seen.python == f"{CONTAINER_PREFIX}/bin/python3"
    assert (sorted(seen.step), seen.warnings) == (["nid001 0 /", "nid002 1 /"], "")
    kernel = json.loads(await alice.compute(IN_KERNEL))
    assert kernel["prefix"] == CONTAINER_PREFIX
    assert not RANKS.keys() & set(kernel["environment"])


async def test_what_a_prologue_sets_for_a_python_meets_only_its_users(alice):
    await start(alice, "sandbox", "spoilt")
    seen = await look(alice)
    is_apart(seen.server, f"{TOOLS}/env/jupyter")
    assert SPOILT.items() <= seen.terminal.items()
    assert seen.server["environment"]["TMPDIR"] == SPOILT["TMPDIR"]
    assert (await alice.compute()).strip() == "42"


@pytest.mark.parametrize("environment", ["named", "container"])
async def test_the_warning_before_the_time_limit_reaches_the_server(site, alice, environment):
    await start(alice, "sandbox", environment)
    (job_id,) = await site.live_jobs(alice.name)
    await site.scheduler._ask("scancel", "--batch", "--signal=USR1", job_id)
    await eventually(alice.no_jobs)
    assert (await site.scheduler.job(job_id)).state == "COMPLETED"


# ---- starts that fail


@pytest.mark.parametrize(
    ("cluster", "environment", "words"),
    [
        ("sandbox", "no-view", "The image {images}/prgenv-test.squashfs has no view nowhere."),
        ("plugin", "no-view", "the view nowhere is of no uenv of this session"),
        ("sandbox", "no-image", "unable to mount {images}/gone.squashfs at /user-environment: No such file"),
        ("plugin", "no-image", "no uenv matches {images}/gone.squashfs"),
        ("run", "no-image", "no uenv matches {images}/gone.squashfs"),
        ("sandbox", "foreign", "The image {images}/foreign-prgenv.squashfs is for {other} processors"),
        ("foreign", "host", "Its environment is made for other processors"),
    ],
)
async def test_the_hub_says_what_is_wrong_with_an_image(alice, images, cluster, environment, words):
    said = messages(await alice.start(cluster=cluster, environment=environment))[-1]
    other = "x86_64" if os.uname().machine == "aarch64" else "aarch64"
    assert words.format(images=images.prgenv.parent, other=other) in said


# ---- by hand


async def begin(site, images, command):
    """Run `uenv start --view=jupyter jupyterlab`, and type a command there."""
    account = next(iter(site.accounts))
    uenv = (str(site.state / "bin/uenv"), f"--repo={images.tools.parent}", "start", "--ignore-tty")
    process = await asyncio.create_subprocess_exec(
        *as_account(account, [*uenv, "--view=jupyter", "jupyterlab"], environment={"TMPDIR": "/tmp"}),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    process.stdin.write(f"cd; exec {command}\n".encode())
    return process


async def test_jupyterlab_runs_in_a_session_that_somebody_began_by_hand(site, images):
    lab = await begin(site, images, "jupyter lab --no-browser --ip=127.0.0.1 --port=0")
    try:
        while not (
            found := re.search(r"(http://127\S+/)lab\?token=(\w+)", (await lab.stderr.readline()).decode())
        ):
            assert not lab.stderr.at_eof()
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{found[1]}api/status", params={"token": found[2]})
        assert answer.json()["kernels"] == 0
    finally:
        lab.terminate()
        await lab.communicate()


async def test_the_entry_point_says_what_it_is_to_somebody_who_calls_it_by_hand(site, images):
    asked = await begin(site, images, "launcher-singleuser")
    _, said = await asked.communicate()
    assert asked.returncode == 2
    assert "the JupyterHub launcher's single-user server, and no hub has asked for it" in said.decode()
    assert "For a JupyterLab of your own: jupyter lab" in said.decode()
