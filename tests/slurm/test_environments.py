"""Sessions in each kind of environment, with real images, in a real Slurm."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio
from images import CONTAINER, CONTAINER_PREFIX, PREFIX, TOOLS, USER
from slurm.uenv import build_plugins, build_programs
from support import eventually, localhost_names, messages, slurm

from launcher.check.session import Kernel, run_in_terminal
from launcher.sandbox.accounts import as_account
from launcher.sandbox.site import Site
from launcher.sandbox.state import state_directory

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("mount_points")]

EDF = "/edf/pytorch.toml"
FOREIGN = f"{USER}/foreign"
RANKS = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
SPOILT = {
    "PYTHONHOME": "/nowhere",
    "PYTHONPATH": "/nowhere/lib",
    "LD_LIBRARY_PATH": "/nowhere/lib64",
    "TMPDIR": "/dev/shm",
}
OF_A_PYTHON = {"PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LD_PRELOAD"}

# What the server's own process has, told by the one file of its user's that it runs.
CONFIGURATION = """\
import json, os, sys
from pathlib import Path
home = Path.home()
seen = {"environment": dict(os.environ), "path": sys.path, "prefix": sys.prefix,
        "libraries": Path("/proc/self/maps").read_text()}
(home / "server.json").write_text(json.dumps(seen))
"""
IN_KERNEL = """\
import json, os, sys
print(json.dumps({"environment": dict(os.environ), "path": sys.path, "prefix": sys.prefix}))
"""
IN_TERMINAL = """\
cd ~
env -0 > environment
command -v python3 > python
launcher session --json > told
srun -n{tasks} sh -c 'echo $SLURMD_NODENAME $SLURM_PROCID $(ls -d {mounts})' > step 2> warnings
"""


class Seen(NamedTuple):
    """What programs of a session see.

    Attributes:
        server: JupyterLab itself: `environment`, `path`, `prefix`, `libraries`.
        terminal: The environment of a terminal.
        python: The `python3` of a terminal.
        step: What a step of the job has written: node, rank, and which of the mount points are there.
        warnings: What srun has written besides.
        told: What `launcher session` tells.
    """

    server: dict[str, Any]
    terminal: dict[str, str]
    python: str
    step: list[str]
    warnings: str
    told: dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(images):
    slurm()
    with state_directory(None) as state:
        programs = state / "bin"
        programs.mkdir()
        build_programs(programs)
        site = Site(state, scheduler="slurm", **clusters(images, programs))
        await site.start()
        try:
            plugins = build_plugins(programs, images.opt)
            (state / "slurm/etc/plugstack.conf").write_text(plugins)
            for account in site.accounts:
                configure(account)
            with localhost_names():
                yield site
        finally:
            await site.stop()


def clusters(images, programs):
    """Return a site's options: clusters that mount images in each way, and one whose tools can't run."""
    prgenv = {"kind": "uenv", "image": str(images.prgenv)}
    spoilt = " ".join(f"{name}={value}" for name, value in SPOILT.items())
    changes = {
        "max_nodes": 2,
        "tools": {"image": str(images.tools)},
        "uenv": {"attach": "squashfs-mount"},
        "prologue": f"export PATH={programs}:$PATH",
        "environments": [
            {"id": "named", "view": "default", **prgenv},
            {"id": "unnamed", **prgenv},
            {"id": "own", "launcher": f"{programs.parent}/software/bin/launcher-singleuser", **prgenv},
            {"id": "plain", "kind": "uenv", "image": str(images.plain)},
            {"id": "bare", "view": "bare", **prgenv},
            {"id": "host", "kind": "host"},
            {"id": "container", "kind": "container", "edf": EDF},
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


def configure(account):
    """Let an account's servers tell what they see, and break what pip has put into its home."""
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for name, content in {
        ".jupyter/jupyter_server_config.py": CONFIGURATION,
        f".local/lib/{python}/site-packages/jupyter_server.py": "raise ImportError('too old')\n",
    }.items():
        file = account.home / name
        file.parent.mkdir(parents=True)
        file.write_text(content)
    subprocess.run(["chown", "-R", f"{account.uid}:{account.gid}", account.home], check=True)


@pytest_asyncio.fixture(loop_scope="module")
async def alice(person):
    return await person()


async def start(someone, cluster, environment, **options):
    """Start a session; fail with what the hub said."""
    said = await someone.start(cluster=cluster, environment=environment, **options)
    assert said[-1].get("ready"), json.dumps(said, indent=1)


async def look(someone, *, tasks=1, mounts="/"):
    """Return what the programs of a session see."""
    home = someone.site.accounts[someone.name].home
    assert (await someone.browser.open(f"{someone.server}lab")).status == 200
    (home / "look").write_text(IN_TERMINAL.format(tasks=tasks, mounts=mounts))
    await run_in_terminal(someone.browser, someone.server, f". {home}/look; echo lo''oked", "looked")
    return Seen(
        json.loads((home / "server.json").read_text()),
        dict(entry.split("=", 1) for entry in (home / "environment").read_text().split("\0") if entry),
        (home / "python").read_text().strip(),
        (home / "step").read_text().splitlines(),
        (home / "warnings").read_text(),
        json.loads((home / "told").read_text()),
    )


def is_apart(server, prefix):
    """Check that a server has nothing of its user's Python."""
    assert server["prefix"] == prefix
    assert not OF_A_PYTHON & set(server["environment"])
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
    assert not RANKS & set(environment)
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
    assert not (OF_A_PYTHON | RANKS) & set(seen.terminal)
    assert (seen.step, seen.warnings) == ([f"nid001 0 {TOOLS}/meta"], "")
    assert (await alice.compute()).strip() == "42"


async def test_in_a_container_its_variables_are_there_but_for_the_rank_of_the_server(alice):
    await start(alice, "sandbox", "container", nodes=2)
    seen = await look(alice, tasks=2)
    is_apart(seen.server, CONTAINER)
    assert seen.terminal["PYTORCH_VERSION"] == "2.9.0"
    assert not (RANKS | {"SLURM_STEP_ID", "SLURM_PROCID", "SLURM_LOCALID"}) & set(seen.terminal)
    assert seen.python == f"{CONTAINER_PREFIX}/bin/python3"
    assert (sorted(seen.step), seen.warnings) == (["nid001 0 /", "nid002 1 /"], "")
    kernel = json.loads(await alice.compute(IN_KERNEL))
    assert kernel["prefix"] == CONTAINER_PREFIX
    assert not RANKS & set(kernel["environment"])


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
