"""Whole builds of a small image: the same bytes everywhere and always, and nothing half-made."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_recipe import small_recipe
from support import missing, program

from launcher.builder import squashfs
from launcher.builder.mount.namespace import namespace_problem

LAUNCHER = Path(sys.executable).with_name("launcher")
KEPT = Path(sys.prefix) / "images/cache"
"""What the builds of all tests keep: downloads, and the Pythons."""
FAILS = """
import checks

@checks.check("two and two are five")
def sum(image):
    raise checks.Failed("They are four.")

checks.main()
"""
STEPS = ("Installing", "Compiling", "Packing", "Verifying")
MACHINE = platform.machine()
EXPECTED = {"x86_64": 62, "aarch64": 183}
"""`e_machine` of ELF files."""

# The Python that runs the tests may lie in root's home, which others can't enter.
OPEN_HOME = """
mkdir "$1"
mount --rbind /root "$1"
mount -t tmpfs -o mode=755 none /root
for each in "$1"/* "$1"/.[!.]*; do
    [ ! -d "$each" ] || { mkdir "/root/${each##*/}"; mount --rbind "$each" "/root/${each##*/}"; }
done
shift
exec "$@"
"""

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not shutil.which("apt-get"), reason="the pinned Pythons come from Debian"),
]


class Place:
    """A recipe, a directory for images, and a cache that has the downloads and nothing else."""

    def __init__(self, directory: Path, recipe: Path) -> None:
        self.recipe = recipe
        self.output = directory / "out"
        self.cache = directory / "cache"
        self.output.mkdir(parents=True)
        self.cache.mkdir()
        for name in ("interpreters", "wheels"):
            (KEPT / name).mkdir(parents=True, exist_ok=True)
            (self.cache / name).symlink_to(KEPT / name)

    def command(self, *options: str) -> list[str]:
        told = ("--output", self.output, "--cache", self.cache, "--json", *options)
        return [str(each) for each in (LAUNCHER, "build", "uenv", self.recipe, *told)]

    def build(self, *options: str, through: tuple[str, ...] = (), **variables: str) -> dict[str, object]:
        done = self.run(*options, through=through, **variables)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) | {"said": done.stderr}

    def run(self, *options: str, through: tuple[str, ...] = (), **variables: str) -> Done:
        command = [*through, *self.command(*options)]
        environment = os.environ | variables
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.output.iterdir())


Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    if problem := namespace_problem():
        missing("no private mount namespaces", problem)
    program("mksquashfs")
    return small_recipe(tmp_path_factory.mktemp("recipes") / "small", "markupsafe")


@pytest.fixture(scope="module")
def first(recipe, tmp_path_factory):
    """The image of the recipe for this machine."""
    return Place(tmp_path_factory.mktemp("first"), recipe).build()


@pytest.fixture
def place(tmp_path, recipe):
    # Who is no administrator must come this far, too.
    for each in (tmp_path, *tmp_path.parents[:2], recipe.parent):
        each.chmod(0o755)
    return Place(tmp_path / "place", recipe)


def test_the_same_recipe_gives_the_same_bytes_elsewhere_and_later(first, place, tmp_path):
    copy = tmp_path / "somewhere else/recipe"
    shutil.copytree(place.recipe, copy)
    copy.chmod(0o700)
    place.recipe = copy
    (tmp_path / "home").mkdir()
    umask = ("sh", "-c", 'umask 077; cd /; exec "$@"', "sh")
    later = (program("faketime"), "+3 days")
    there = {"TZ": "Asia/Kathmandu", "LANG": "de_DE.UTF-8", "LC_ALL": "C", "HOME": str(tmp_path / "home")}
    second = place.build(through=(*umask, *later), **there)
    assert second["sha256"] == first["sha256"]
    assert not second["unchanged"]
    assert second["verified"] == first["verified"]
    assert second["verified"]["ran"]


def test_an_ordinary_user_makes_the_same_bytes(first, place, tmp_path):
    if os.geteuid():
        pytest.skip("it is one already")
    if not shutil.which("squashfuse"):
        missing("squashfuse is not installed", "as root: apt-get install squashfuse")
    wheels = place.cache / "wheels"
    wheels.unlink()
    shutil.copytree(KEPT / "wheels", wheels)
    for each in (place.output, place.cache, wheels, *wheels.rglob("*")):
        os.chown(each, 4711, 4711)
    home = ("unshare", "--mount", "sh", "-euc", OPEN_HOME, "sh", str(tmp_path / "home"))
    user = (*home, "setpriv", "--reuid=4711", "--regid=4711", "--clear-groups", "--")
    fuse = Path("/dev/fuse")
    mode = fuse.stat().st_mode & 0o777
    fuse.chmod(0o666)
    try:
        assert place.build(through=user, HOME="/nonexistent")["sha256"] == first["sha256"]
    finally:
        fuse.chmod(mode)


@pytest.fixture
def slowly(place, tmp_path, monkeypatch):
    """Have the quick steps of a build take seconds, in which signals can reach it."""
    place.recipe = Path(shutil.copytree(place.recipe, tmp_path / "slow"))
    verify = place.recipe / "verify"
    verify.write_text(f"import time\n\ntime.sleep(3)\n{verify.read_text()}")
    wrapper = tmp_path / "bin/mksquashfs"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nsleep 2\nexec {program("mksquashfs")} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")


@pytest.mark.usefixtures("slowly")
def test_an_interrupted_build_leaves_nothing_behind_and_goes_on_where_it_was(place):
    interrupted = [
        ("Installing", signal.SIGKILL),
        ("Installing", signal.SIGINT),
        ("Compiling", signal.SIGTERM),
        ("Compiling", signal.SIGINT),
        ("Packing", signal.SIGINT),
        ("Packing", signal.SIGKILL),
        ("Verifying", signal.SIGTERM),
        ("Verifying", signal.SIGINT),
        ("Verifying", signal.SIGKILL),
    ]
    taken = []
    for step, number in interrupted:
        said = interrupt(place, step, number)
        taken.append([line.split()[0] for line in said if line.startswith(STEPS)])
        assert place.names() == []
        wait_until_nothing_is_left(place)
    built = place.build()
    # Each build began with the step after the last one that was done.
    assert [steps[0] for steps in taken] == [*["Installing"] * 5, *["Packing"] * 2, *["Verifying"] * 2]
    assert str(built["said"]).split()[0] == "Verifying"
    assert [path.suffix for path in (place.cache / "work").iterdir()] == [".lock"]
    Path(str(built["image"])).unlink()
    assert place.build()["sha256"] == built["sha256"]


def interrupt(place, step, number):
    """Send a signal to a build when it begins a step: SIGINT as a terminal does; return what it said."""
    said = []
    with subprocess.Popen(
        place.command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        for line in process.stderr:
            said.append(line)
            if line.startswith(step):
                break
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        said += process.stderr.readlines()
    assert process.returncode
    assert "Traceback" not in "".join(said)
    return said


def wait_until_nothing_is_left(place, within=60):
    """Wait for programs that were at work: they end when they find that nobody listens."""
    deadline = time.monotonic() + within
    while left := [*processes(place), *loop_devices(place)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def processes(place):
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            mounted = (path.parent / "mountinfo").read_text()
            if str(place.cache) in command or "/small-tools" in command or "/small-tools" in mounted:
                yield command


def loop_devices(place):
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if str(place.cache) in path.read_text():
                yield path.read_text()


def test_one_that_does_not_pass_leaves_the_older_image_of_its_name(first, place, tmp_path):
    place.recipe = Path(shutil.copytree(place.recipe, tmp_path / "recipe"))
    shutil.copytree(Path(first["image"]).parent, place.output, dirs_exist_ok=True)
    assert place.build()["unchanged"]
    before = {path: path.read_bytes() for path in place.output.iterdir()}
    (place.recipe / "verify").write_text(FAILS)
    done = place.run()
    assert done.returncode == 7
    assert "two and two are five: They are four." in done.stderr
    assert {path: path.read_bytes() for path in place.output.iterdir()} == before


def test_two_builds_of_the_same_at_once_make_one_image(first, place):
    both = [
        subprocess.Popen(place.command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    built = [json.loads(out) for out, _ in told]
    assert {each["sha256"] for each in built} == {first["sha256"]}
    assert sum("Packing" in said for _, said in told) == 1
    assert sorted(each["unchanged"] for each in built) == [False, True]
    assert len(place.names()) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
@pytest.mark.parametrize(
    ("full", "room", "step"),
    [
        ("cache", (0.4, 0), "Installing"),
        ("cache", (0.9, 0), "Compiling"),
        ("cache", (1.05, 0.5), "Packing"),
        ("output", (0, 0.5), "Verifying"),
    ],
)
def test_a_full_disk_is_said_in_words_and_nothing_half_made_stays(first, place, full, room, step):
    disk = getattr(place, full)
    trees, images = room
    size = int(trees * tree_size(first) + images * first["size"])
    links = "".join(f"ln -s {KEPT}/{name} {disk}/{name}\n" for name in ("interpreters", "wheels"))
    script = (
        f"mount -t tmpfs -o mode=755,size={size} small {disk}\n{links if full == 'cache' else ''}"
        f'"$@"; code=$?; find {place.output} {place.cache}/work >&2; exit $code'
    )
    done = place.run(through=("unshare", "--mount", "sh", "-c", script, "sh"))
    assert done.returncode == 10, done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert [line.split()[0] for line in done.stderr.splitlines() if line.startswith(STEPS)][-1] == step
    found = {Path(line).name for line in done.stderr.splitlines() if line.startswith("/")}
    assert not [name for name in found if name.startswith((".", "small-"))]
    assert ("image.squashfs" in found) == (full == "output")


def tree_size(built):
    """Return how many bytes a disk needs for the files of an image: whole pages."""
    return sum(-(-each.size // 4096) * 4096 for each in squashfs.entries(Path(built["image"])))


@pytest.fixture(scope="module")
def arm(recipe, tmp_path_factory):
    """The image of the recipe for the processors that this machine has not."""
    other = {"x86_64": "aarch64", "aarch64": "x86_64"}[MACHINE]
    return Place(tmp_path_factory.mktemp("other"), recipe).build("--arch", other)


def unpacked(built, directory):
    subprocess.run(
        [program("unsquashfs"), "-quiet", "-no-progress", "-dest", directory, built["image"]],
        check=True,
        capture_output=True,
    )
    return {
        path.relative_to(directory): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_an_image_for_other_processors_has_their_programs_and_the_same_byte_code(first, arm, tmp_path):
    ours, theirs = unpacked(first, tmp_path / "ours"), unpacked(arm, tmp_path / "theirs")
    for built, files in ((first, ours), (arm, theirs)):
        programs = [content for content in files.values() if content[:4] == b"\x7fELF"]
        assert len(programs) > 20
        assert {int.from_bytes(each[18:20], "little") for each in programs} == {EXPECTED[built["arch"]]}
    compiled = [path for path in ours if path.suffix == ".pyc" and path in theirs]
    assert len(compiled) > 200
    assert [
        path for path in compiled if ours[path] != theirs[path] and of_same_source(path, ours, theirs)
    ] == []


def of_same_source(path, ours, theirs):
    source = path.parents[1] / f"{path.name.split('.')[0]}.py"
    return ours[source] == theirs[source]


def test_an_image_for_other_processors_says_whether_its_programs_were_tried(arm):
    emulated = any(shutil.which(f"qemu-{arm['arch']}{end}") for end in ("", "-static"))
    assert arm["verified"]["ran"] is emulated


@pytest.mark.extra
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_jupyterlab_is_the_same_in_bytes_wherever_it_is_built(tmp_path, arch):
    built = [
        Place(tmp_path / name, Path("jupyterlab")).build("--arch", arch, TZ=zone)
        for name, zone in (("a", "UTC"), ("another", "Asia/Kathmandu"))
    ]
    assert built[0]["sha256"] == built[1]["sha256"]
    machines = {
        int.from_bytes(content[18:20], "little")
        for content in unpacked(built[0], tmp_path / "files").values()
        if content[:4] == b"\x7fELF"
    }
    assert machines == {EXPECTED[arch]}
