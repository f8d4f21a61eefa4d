"""Images and directories mounted for a command: read-only, for nobody else, and gone with it."""

import json
import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import missing, program

from launcher.builder import squashfs
from launcher.builder.mount import Mounted, bound, command, run
from launcher.builder.mount.namespace import found, namespace_problem

ABSENT = "/absent-from-this-machine/toys"
LAUNCHER = Path(sys.executable).with_name("launcher")
PRINTS = '#!/bin/sh\necho "$TOY|$UENV_MOUNT_LIST|$UENV_VIEW|$*"\n'


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    program("mksquashfs")
    directory = tmp_path_factory.mktemp("mount")
    for each in (directory, *directory.parents[:2]):
        each.chmod(each.stat().st_mode | 0o055)
    tree = directory / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/hello").write_text(PRINTS)
    (tree / "bin/hello").chmod(0o755)
    (tree / "meta").mkdir()
    values = {"list": {"PATH": [{"op": "prepend", "value": [f"{ABSENT}/bin"]}]}, "scalar": {"TOY": "a b"}}
    views = {"all": {"description": "", "env": {"version": 1, "type": "augment", "values": values}}}
    told = {"name": "toys", "mount": ABSENT, "default-view": "all", "views": views}
    (tree / "meta/env.json").write_text(json.dumps(told))
    squashfs.pack(tree, directory / "toys.squashfs", 0, "zstd")
    return directory / "toys.squashfs"


@pytest.fixture(params=["namespace", "squashfuse"])
def how(request):
    """A way of mounting that this machine has."""
    if problem := namespace_problem():
        missing("no private mount namespaces", problem)
    if request.param == "namespace" and (os.geteuid() or not Path("/dev/loop-control").exists()):
        pytest.skip("loop devices are root's")
    if request.param == "squashfuse":
        if not found("squashfuse"):
            missing("squashfuse is not installed", "as root: apt-get install squashfuse")
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            pytest.skip("/dev/fuse is missing")
    return request.param


def told(image, how, *argv, mount=ABSENT, user=None):
    done = run([Mounted(image, mount)], argv, how=how, user=user, timeout=60)
    return done.returncode, done.stdout.decode().strip()


def test_an_image_is_there_for_the_command_only(image, how):
    assert told(image, how, f"{ABSENT}/bin/hello", "x") == (0, "|||x")
    assert not Path(ABSENT).parent.exists()


def test_it_is_read_only_and_holds_no_devices_or_setuid_programs(image, how):
    code, options = told(image, how, "findmnt", "-n", "-o", "OPTIONS", ABSENT)
    assert code == 0
    assert {"ro", "nosuid", "nodev"} <= set(options.split(","))
    assert told(image, how, "touch", f"{ABSENT}/new")[0] == 1


def test_a_mount_point_that_exists_is_used(image, how, tmp_path):
    (tmp_path / "hidden").touch()
    assert told(image, how, "ls", str(tmp_path), mount=str(tmp_path)) == (0, "bin\nmeta")
    assert [each.name for each in tmp_path.iterdir()] == ["hidden"]


def test_what_is_beside_a_new_mount_point_stays(image, how, tmp_path):
    for name in ("a b", ".hidden", "two\nlines"):
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("a b")
    (tmp_path / "folder").mkdir()
    script = (
        f'cd {tmp_path} && cat "a b" .hidden two* link && touch folder/new && readlink link; touch new 2>&1'
    )
    code, text = told(image, how, "sh", "-c", script, mount=f"{tmp_path}/x/y")
    assert code == 1
    assert text.startswith("a b.hiddentwo\nlinesa ba b\n")
    assert "Read-only" in text
    assert (tmp_path / "folder/new").exists()


def test_the_directory_of_the_command_stays(image, how, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert told(image, how, "sh", "-c", "pwd; touch here") == (0, str(tmp_path))
    assert (tmp_path / "here").exists()


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -TERM $$", -signal.SIGTERM)])
def test_the_end_of_the_command_is_its_own(image, how, script, code):
    assert told(image, how, "sh", "-c", script)[0] == code


def test_a_signal_reaches_the_command(image, how):
    argv = command(
        [Mounted(image, ABSENT)],
        ["sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done"],
        how=how,
    )
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    process.terminate()
    assert process.wait(30) == 9
    process.stdout.close()


def test_nothing_is_left_of_a_command_that_is_killed(image, how):
    argv = command([Mounted(image, ABSENT)], ["sh", "-c", "echo up; exec sleep 600"], how=how)
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    process.kill()
    process.wait(30)
    process.stdout.close()
    end = time.monotonic() + 30
    while holders(image) and time.monotonic() < end:
        time.sleep(0.1)
    assert holders(image) == []


def holders(image):
    """Return the loop devices and processes that have something to do with an image."""
    devices = [
        str(each)
        for each in Path("/sys/block").glob("loop*/loop/backing_file")
        if backing(each) == str(image)
    ]
    processes = subprocess.run(
        ["ps", "-eo", "stat=,args="], capture_output=True, text=True, check=True
    ).stdout
    return devices + [
        each
        for each in processes.splitlines()
        if str(image) in each and "squashfuse" in each and each[0] != "Z"
    ]


def backing(path):
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def test_a_file_in_the_way_is_named(image, how):
    done = run([Mounted(image, "/etc/passwd")], ["true"], how=how, timeout=60)
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"/etc/passwd is no directory" in done.stderr


def test_an_image_that_can_not_be_mounted_is_named(how, tmp_path):
    (tmp_path / "no.squashfs").write_bytes(b"\0" * 8192)
    done = run([Mounted(tmp_path / "no.squashfs", ABSENT)], ["true"], how=how, timeout=60)
    assert done.returncode == 125
    assert b"no.squashfs" in done.stderr


def test_root_can_try_an_image_as_somebody_else(image, how):
    if os.geteuid():
        pytest.skip("only root can")
    code, text = told(
        image,
        how,
        "sh",
        "-c",
        f"id -un; echo $HOME; {ABSENT}/bin/hello; cat /proc/self/status",
        user="nobody",
    )
    lines = text.splitlines()
    assert code == 0
    assert lines[:3] == ["nobody", pwd.getpwnam("nobody").pw_dir, "|||"]
    assert "NoNewPrivs:\t1" in lines
    assert "CapEff:\t0000000000000000" in lines


def test_the_command_line_loads_the_default_view(image, how):
    done = subprocess.run(
        [LAUNCHER, "run", "--with", how, image, "--", "hello", "x"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"a b|{image}:{ABSENT}|{ABSENT}:toys:all|x\n"


AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
# The project's own environment may be where only root can read.
USE = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from launcher.builder.mount import Mounted, bound, command
kind, source, mount, *argv = sys.argv[2:]
full = bound(Path(source), mount, argv) if kind == "bound" else command([Mounted(Path(source), mount)], argv)
os.execvp(full[0], full)
"""


def as_nobody(kind, source, mount, *argv):
    own = Path(squashfs.__file__).parents[2]
    full = [*AS_NOBODY, "/usr/bin/python3", "-B", "-c", USE, own, kind, source, mount, *argv]
    return subprocess.run(full, capture_output=True, text=True, check=False, cwd="/")


@pytest.fixture
def anybody():
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    tried = subprocess.run([*AS_NOBODY, "unshare", "--user", "true"], capture_output=True, check=False)
    if tried.returncode:
        missing("users can't make namespaces", "sysctl user.max_user_namespaces")


def test_an_ordinary_user_mounts_by_squashfuse(image, anybody):
    if not found("squashfuse"):
        missing("squashfuse is not installed", "as root: apt-get install squashfuse")
    fuse = Path("/dev/fuse")
    mode = fuse.stat().st_mode & 0o777
    fuse.chmod(0o666)
    try:
        done = as_nobody("image", image, ABSENT, "sh", "-c", f"{ABSENT}/bin/hello; id -u; exit 4")
    finally:
        fuse.chmod(mode)
    assert (done.returncode, done.stdout) == (4, "|||\n65534\n")


@pytest.mark.parametrize("mount", [ABSENT, "/opt/absent-toys", "/usr/share"])
def test_a_directory_lies_writable_at_a_mount_path(tmp_path, mount):
    argv = bound(tmp_path, mount, ["sh", "-c", f"pwd; echo content >{mount}/file; exit 3"])
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, f"{tmp_path}\n")
    assert (tmp_path / "file").read_text() == "content\n"
    assert mount == "/usr/share" or not Path(mount).exists()


@pytest.mark.parametrize("mount", [ABSENT, "/opt/absent-toys", "/usr/share"])
def test_an_ordinary_user_has_a_directory_at_a_mount_path(image, mount, anybody):
    own = image.with_name("own")
    own.mkdir(exist_ok=True)
    os.chown(own, 65534, 65534)
    done = as_nobody(
        "bound", own, mount, "sh", "-c", f"echo content >{mount}/file && grep CapEff /proc/self/status"
    )
    assert (done.returncode, done.stdout) == (0, "CapEff:\t0000000000000000\n")
    assert (own / "file").stat().st_uid == 65534
    (own / "file").unlink()
