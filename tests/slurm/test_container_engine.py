"""The container engine of tests gives a step what an environment definition file says, in a real Slurm.

https://docs.cscs.ch/software/container-engine/edf/
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio
from images import squash, system_links
from slurm.uenv import build_plugins
from support import eventually, missing, program, slurm

from launcher.sandbox.accounts import Accounts
from launcher.sandbox.scheduler.slurm import SlurmScheduler
from launcher.sandbox.state import state_directory

pytestmark = pytest.mark.asyncio(loop_scope="module")

IN_IMAGE = {
    "etc/environment": "PATH=/usr/bin:/bin\nOF_IMAGE=image\nOF_BOTH=image\nTWICE=${WHO} ${WHO}\n",
    "etc/fstab": "# Mounts\ntmpfs /cache tmpfs x-create=dir\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/rc": 'mkdir -p "/workspace" 2> /dev/null\ncd "/workspace" || exit 1\nexec /opt/entrypoint "$@"\n',
    "opt/entrypoint": '#!/bin/sh\necho "== PyTorch =="\nexport OF_ENTRYPOINT=yes\nexec "$@"\n',
    "workspace/README": "Of the image.\n",
}
BASE = 'mounts = ["/usr:/usr:ro"]\n'
"""The node's programs, for images that have none."""
ESSENTIAL = 'base_environment = "programs"\nentrypoint = false\nimage = "{image}"\n'


class Done(NamedTuple):
    """A step that has ended.

    Attributes:
        status: Its exit status, as srun's.
        lines: What it has written.
        words: What it and Slurm have written as errors.
    """

    status: int
    lines: list[str]
    words: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node():
    """A Slurm with the plugins, an account, and images."""
    slurm()
    if os.geteuid():
        missing("without root nothing can be mounted", "run the tests as root")
    with state_directory(None) as state:
        accounts = await asyncio.to_thread(Accounts.create, state, ["alice"])
        try:
            scheduler = SlurmScheduler(state, accounts)
            await scheduler.start()
            try:
                programs = state / "bin"
                programs.mkdir()
                (state / "slurm/etc/plugstack.conf").write_text(build_plugins(programs))
                yield Node(scheduler, next(iter(accounts)), state)
            finally:
                await scheduler.stop()
        finally:
            await asyncio.to_thread(accounts.remove)


class Node:
    """Where steps run.

    Attributes:
        account: Whose they are.
        state: A directory that the account can pass.
        image: One in Enroot's format.
        plain: One that is a root file system and nothing else.
    """

    def __init__(self, scheduler, account, state):
        self._scheduler = scheduler
        self.account = account
        self.state = state
        self.image = make_image(state / "enroot", IN_IMAGE)
        self.plain = make_image(state / "plain", {"README": "Plain.\n"})
        self.edfs = account.home / ".edf"
        self.edfs.mkdir()
        (self.edfs / "programs.toml").write_text(BASE)

    async def run(self, text, *command, essential=True, name="it", options=(), **variables):
        """Run a command in an environment, given as TOML beyond what all need."""
        head = ESSENTIAL.format(image=self.image) if essential else ""
        (self.edfs / f"{name}.toml").write_text(head + text)
        return await self.step(name, *command, options=options, **variables)

    async def step(self, environment, *command, options=(), **variables):
        """Run a command in an environment that is there."""
        given = [f"{key}={value}" for key, value in variables.items()]
        srun = ["srun", "--quiet", f"--environment={environment}", *options, *command]
        status, output, words = await self._scheduler._run(["env", *given, *srun], account=self.account)
        return Done(status, output.splitlines(), words)

    async def shell(self, text, script, **more):
        """Run a script in an environment; it must succeed."""
        done = await self.run(text, "sh", "-euc", script, **more)
        assert done.status == 0, done.words
        return done.lines

    def own(self, path):
        """Give a path to the account."""
        os.chown(path, self.account.uid, self.account.gid)
        return path


def make_image(directory, files):
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o755)
    for name, target in system_links():
        (directory / name).symlink_to(target)
    return squash(directory, directory.with_name(f"{directory.name}.sqsh"))


# ---- image


async def test_a_step_has_the_files_of_the_image_and_not_the_nodes(node):
    script = f"cat /workspace/README; ls {node.image} /etc/shadow 2> /dev/null || echo none"
    assert await node.shell("", script) == ["Of the image.", "none"]


async def test_the_variables_of_the_image_come_before_the_jobs(node):
    script = 'echo "$PATH $OF_IMAGE $OF_BOTH $TWICE $WHO $HOME"'
    lines = await node.shell("", script, OF_BOTH="job", WHO="me", PATH="/nowhere:/usr/bin:/bin")
    assert lines == [f"/usr/bin:/bin image image me me me {node.account.home}"]


async def test_an_image_can_be_a_plain_file_system(node):
    text = f'base_environment = "programs"\nimage = "{node.plain}"\n'
    script = 'pwd; cat README; echo "$PATH"'
    lines = await node.shell(text, script, essential=False, PATH="/elsewhere:/usr/bin:/bin")
    assert lines == ["/", "Plain.", "/elsewhere:/usr/bin:/bin"]


async def test_the_user_is_known_and_owns_the_image(node):
    script = 'id -un; id -gn; stat -c %U /workspace/README /; stat -c %U "$HOME"; getent passwd root'
    name = node.account.unix_name
    lines = await node.shell("", script)
    assert lines == [name, name, name, name, name, "root:x:0:0:root:/root:/bin/sh"]


async def test_processes_devices_and_network_are_the_nodes(node):
    lines = await node.shell("", "readlink /proc/self/ns/net; [ -c /dev/null ] && [ -d /sys/class ]")
    assert lines == [str(Path("/proc/self/ns/net").readlink())]


async def test_what_is_temporary_is_the_containers_own(node):
    lines = await node.shell("", "ls /tmp /run; touch /tmp/it /run/it; stat --file-system --format=%T /cache")
    assert lines == ["/run:", "", "/tmp:", "tmpfs"]


async def test_every_task_of_a_step_is_in_the_container(node):
    script = 'echo "$SLURMD_NODENAME $SLURM_PROCID $(cat /workspace/README)"'
    lines = await node.shell("", script, options=["--nodes=2", "--ntasks-per-node=2"])
    assert sorted(lines) == [f"nid00{1 + rank // 2} {rank} Of the image." for rank in range(4)]


async def test_nothing_stays_when_a_step_has_ended(node):
    await node.shell("", "true")

    async def gone():
        attached = subprocess.run(
            [program("losetup"), "--list", "--noheadings"], capture_output=True, text=True, check=True
        )
        return str(node.state) not in attached.stdout

    await eventually(gone)
    assert str(node.state) not in Path("/proc/self/mountinfo").read_text()
    assert [*(node.state / "bin/container").iterdir()] == []


# ---- mounts


async def test_mounts_are_where_they_are_said_to_be_and_read_only_where_that_is_said(node):
    data = node.own(make(node.state / "data"))
    file = node.state / "file"
    file.write_text("A file.\n")
    text = f'mounts = ["{data}:/a/new/place", "{data}:/fixed:ro", "{file}:/etc/told:ro+private"]\n'
    script = (
        "echo written > /a/new/place/it; cat /fixed/it /etc/told; touch /fixed/other 2>&1 || echo refused"
    )
    lines = await node.shell(text, script)
    assert lines[:2] == ["written", "A file."]
    assert "Read-only file system" in lines[2]
    assert lines[3] == "refused"
    assert (data / "it").read_text() == "written\n"


async def test_later_mounts_are_above_earlier_ones(node):
    below, above = make(node.state / "below"), make(node.state / "above")
    (below / "above").mkdir()
    (above / "here").touch()
    lines = await node.shell(f'mounts = ["{below}:/all", "{above}:/all/above"]\n', "ls -R /all")
    assert lines == ["/all:", "above", "", "/all/above:", "here"]


async def test_what_the_user_can_not_reach_is_not_mounted(node):
    secret = make(node.state / "secret")
    (secret / "inner").mkdir()
    secret.chmod(0o700)
    done = await node.run(f'mounts = ["{secret}/inner:/inner"]\n', "true")
    assert done.status != 0
    assert f"container engine: bind {secret}/inner at /inner: Permission denied" in done.words


# ---- workdir, writable, entrypoint


async def test_a_step_starts_where_the_image_says_if_the_file_says_nothing(node):
    assert await node.shell("", "pwd") == ["/workspace"]
    assert await node.shell('workdir = "/opt"\n', "pwd") == ["/opt"]


async def test_a_place_to_start_that_is_not_there_fails_the_step(node):
    done = await node.run('workdir = "/gone"\n', "true")
    assert done.status != 0
    assert "container engine: workdir /gone: No such file or directory" in done.words


async def test_what_is_written_to_a_container_is_gone_with_it(node):
    for _ in range(2):
        script = "[ ! -e /mine ]; echo 1 >> /workspace/README; wc -l < /workspace/README; touch /mine"
        assert await node.shell("writable = true\n", script) == ["2"]
    assert await node.shell("", "touch /mine; ls /mine") == ["/mine"]


async def test_a_container_that_is_not_writable_has_mounts_that_are(node):
    data = node.own(make(node.state / "writable"))
    text = f'writable = false\nmounts = ["{data}:/data"]\n'
    lines = await node.shell(text, "touch /data/it /tmp/it; touch /workspace/it 2>&1 || echo refused")
    assert "Read-only file system" in lines[0]
    assert lines[1:] == ["refused"]
    assert (data / "it").exists()


@pytest.mark.parametrize("said", ["", "entrypoint = true\n"])
async def test_the_entrypoint_runs_first_unless_the_file_says_otherwise(node, said):
    text = f'base_environment = "programs"\nimage = "{node.image}"\n{said}'
    lines = await node.shell(text, 'pwd; echo "$OF_ENTRYPOINT $#"', essential=False)
    assert lines[0] == "== PyTorch =="
    assert lines[1:] == ["/workspace", "yes 0"]
    lines = await node.shell(text + 'workdir = "/opt"\n', "pwd", essential=False)
    assert lines == ["== PyTorch ==", "/opt"]


async def test_the_entrypoint_hands_on_the_arguments_as_they_are(node):
    text = f'base_environment = "programs"\nimage = "{node.image}"\n'
    done = await node.run(text, "printf", "%s\n", "a b", "", "'\"$HOME", essential=False)
    assert done.lines == ["== PyTorch ==", "a b", "", "'\"$HOME"]


async def test_a_program_is_sought_in_the_path_of_the_container(node):
    done = await node.run('[env]\nPATH = "${PATH}:/opt"\n', "entrypoint", "pwd")
    assert done.lines == ["== PyTorch ==", "/workspace"]


async def test_without_the_entrypoint_nothing_of_it_is_there(node):
    assert await node.shell("", 'echo "${OF_ENTRYPOINT-none}"') == ["none"]


# ---- variables


async def test_the_files_variables_come_before_the_images_and_an_empty_one_unsets(node):
    text = '[env]\nOF_IMAGE = "file"\nPATH = "/first:${PATH}"\nOF_BOTH = ""\nOF_JOB = ""\n'
    script = 'echo "$OF_IMAGE $PATH ${OF_BOTH-unset} ${OF_JOB-unset}"'
    assert await node.shell(text, script, OF_JOB="job") == ["file /first:/usr/bin:/bin unset unset"]


async def test_variables_stand_for_their_values_everywhere(node):
    data = make(node.state / "expanded")
    text = (
        'mounts = ["${DATA}:/${OF_IMAGE}/data"]\nworkdir = "/${OF_IMAGE}"\n'
        '[env]\nA = "${OF_BOTH} ${NOT_SET:-}${NOT_SET:-else} $${A} $B"\n[annotations]\ncom.who = "${WHO}"\n'
    )
    script = 'pwd; ls; echo "$A"; echo "$CONTAINER_ANNOTATIONS"'
    lines = await node.shell(text, script, DATA=data, WHO="me")
    assert lines == ["/image", "data", "image else ${A} $B", '{"com.who": "me"}']


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('mounts = ["${NOWHERE}:/data"]\n', "mounts"),
        ('workdir = "${NOWHERE}"\n', "workdir"),
        ('[env]\nA = "${NOWHERE}"\n', "env.A"),
        ('[annotations]\ncom.a = "${NOWHERE}"\n', "annotations.com.a"),
    ],
)
async def test_a_variable_that_is_not_set_fails_the_step(node, text, key):
    done = await node.run(text, "echo", "started")
    assert (done.status != 0, done.lines) == (True, [])
    words = f"container engine: {key}: the variable NOWHERE is not set, neither in the job nor in the image"
    assert words in done.words


async def test_annotations_are_told_by_their_dotted_names(node):
    text = '[annotations]\ncom.hooks.cxi.enabled = "false"\n[annotations.com.hooks.ssh]\nenabled = "true"\n'
    (line,) = await node.shell(text, 'echo "$CONTAINER_ANNOTATIONS"')
    assert json.loads(line) == {"com.hooks.cxi.enabled": "false", "com.hooks.ssh.enabled": "true"}


# ---- which file, and what it builds on


async def test_base_environments_are_below_each_other_and_the_file(node):
    data = make(node.state / "based")
    (node.edfs / "first.toml").write_text(
        f'base_environment = ["programs"]\nworkdir = "/opt"\nmounts = ["{data}:/first"]\n'
        '[env]\nA = "first"\nB = "first"\n'
    )
    second = node.state / "second.toml"
    second.write_text(
        f'mounts = ["{data}:/second"]\n[env]\nB = "second"\nC = "second"\n[annotations]\na.b = "2"\n'
    )
    text = (
        f'base_environment = ["first", "{second}"]\nimage = "{node.image}"\nentrypoint = false\n'
        f'mounts = ["{data}:/third"]\n[env]\nC = "third"\n[annotations]\na.c = "3"\n'
    )
    script = 'pwd; ls -d /first /second /third; echo "$A $B $C"; echo "$CONTAINER_ANNOTATIONS"'
    lines = await node.shell(text, script, essential=False)
    assert lines == ["/opt", "/first", "/second", "/third", "first second third", '{"a.b": "2", "a.c": "3"}']


async def test_a_file_that_builds_on_itself_is_refused(node):
    done = await node.run('base_environment = "it"\n', "true", essential=False)
    assert "more than 10 base environments lie below each other" in done.words


async def test_a_file_is_named_by_its_path_or_sought_by_its_name(node):
    elsewhere = make(node.state / "edfs")
    for folder, name in ((node.edfs, "home"), (elsewhere, "elsewhere")):
        (folder / "which.toml").write_text(ESSENTIAL.format(image=node.image) + f'[env]\nWHICH = "{name}"\n')
    echo = ("sh", "-c", "echo $WHICH")
    assert (await node.step("which", *echo)).lines == ["home"]
    assert (await node.step(f"{elsewhere}/which.toml", *echo)).lines == ["elsewhere"]
    assert (await node.step("./.edf/which.toml", *echo)).lines == ["home"]
    path = f"/nowhere:{elsewhere}:{node.edfs}"
    assert (await node.step("which", *echo, EDF_PATH=path)).lines == ["elsewhere"]
    done = await node.step("gone", *echo, EDF_PATH=path)
    assert (done.status != 0, done.lines) == (True, [])
    assert f"container engine: there is no environment 'gone' in {path}" in done.words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('imagge = "/a.sqsh"\n', "unknown key 'imagge'; known are base_environment, image, mounts, workdir"),
        ('[hooks]\na = "b"\n', "unknown key 'hooks'"),
        ("image = \n", "it.toml is not TOML: Invalid value"),
        ('writable = "yes"\n', "writable can't be 'yes'"),
        ("[env]\nA = 1\n", "1 is no text"),
        ('mounts = ["/usr"]\n', "no mount SOURCE:DESTINATION[:FLAGS]: /usr"),
        ('mounts = ["/usr:/a:ro,rw"]\n', "no mount SOURCE:DESTINATION[:FLAGS]: /usr:/a:ro,rw"),
        ('mounts = ["/usr:/a:wo"]\n', "no mount SOURCE:DESTINATION[:FLAGS]: /usr:/a:wo"),
        ('workdir = "/"\n', "image is missing"),
        ('image = "nvcr.io#nvidia/pytorch:25.06-py3"\n', "is no path of a file, and nothing is pulled"),
        ('image = "/gone.sqsh"\n', "unable to read the image /gone.sqsh: No such file or directory"),
        ('image = "/etc/passwd"\n', "image /etc/passwd: Invalid argument"),
        ('base_environment = "gone"\n', "there is no environment 'gone' in"),
    ],
)
async def test_what_is_not_understood_or_not_there_fails_the_step_with_words(node, text, words):
    done = await node.run(text, "echo", "started", essential=False)
    assert (done.status != 0, done.lines) == (True, [])
    assert words in done.words
    assert "container engine: " in done.words


async def test_a_source_that_is_not_there_fails_the_step_with_words(node):
    done = await node.run('mounts = ["/gone:/data"]\n', "echo", "started")
    assert (done.status != 0, done.lines) == (True, [])
    assert "container engine: bind /gone at /data: No such file or directory" in done.words


def make(directory):
    """Make a directory that the account can pass."""
    directory.mkdir()
    return directory
