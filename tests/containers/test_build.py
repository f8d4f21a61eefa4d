"""`launcher build container` with real engines: what the images hold, and what is said when there is none."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from container_engine import CACHE, launcher_build

from launcher.builder.container.engine import Buildah, Podman
from launcher.builder.container.recipe import containers_directory
from launcher.builder.container.rootfs import run
from launcher.builder.provenance import read
from launcher.builder.target import own_arch

FREEZE = ("python3", "-m", "pip", "list", "--format=freeze")
ANYBODY = "34567:34567"
"""No account's numbers."""


def said(*command, **options):
    """Run a command; return what it wrote to standard output."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def in_container(image, *command, engine="podman"):
    """Run a command as anybody, without network, where nothing can be written but /tmp."""
    apart = ["--user", ANYBODY, "--network=none", "--read-only", "--tmpfs=/tmp", "--pull=never"]
    return said(engine, "run", "--rm", *apart, "--entrypoint=", image, *command)


def inspected(image):
    """Return what an engine tells of an image."""
    return json.loads(said("podman", "image", "inspect", image))[0]


def names():
    """Return the names of all images in the storage; one that did not pass has none."""
    return set(said("podman", "images", "--format={{.Repository}}:{{.Tag}}").split()) - {"<none>:<none>"}


@pytest.fixture
def recipe(tmp_path):
    """A recipe of a site's own, which can be spoilt: the launcher's JupyterLab on a small Debian."""
    directory = tmp_path / "recipe"
    shutil.copytree(containers_directory() / "jupyterlab", directory)
    return directory


def spoilt(recipe, instruction):
    """Add an instruction to the end of a recipe."""
    file = recipe / "Dockerfile"
    file.write_text(f"{file.read_text()}USER 0\n{instruction}\nUSER 1000:1000\n")
    return str(recipe)


class TestPytorch:
    def test_its_python_is_as_nvidia_made_it(self, pytorch, bases):
        image = pytorch["image"]
        assert in_container(image, *FREEZE) == in_container(bases.ngc, *FREEZE)
        for path in ("/etc/pip/constraint.txt", "/opt/nvidia/nvidia_entrypoint.sh"):
            assert in_container(image, "cat", path) == in_container(bases.ngc, "cat", path)

    def test_it_starts_as_nvidias_does(self, pytorch, bases):
        own, base = inspected(pytorch["image"])["Config"], inspected(bases.ngc)["Config"]
        for key in ("Env", "Entrypoint", "WorkingDir"):
            assert own[key] == base[key]
        assert own.get("User", "") == base.get("User", "")
        assert "== PyTorch ==" in said(
            "podman", "run", "--rm", "--network=none", "--pull=never", pytorch["image"], "true"
        )

    def test_jupyterlab_lies_beside_it_for_anybody(self, pytorch):
        program = "/opt/launcher/bin/launcher-singleuser"
        assert in_container(pytorch["image"], program, "--version").strip()
        told = in_container(pytorch["image"], "/opt/launcher/bin/jupyter", "lab", "--version")
        assert told.strip() == pytorch["version"]

    def test_a_base_without_ipykernel_gets_one_that_fits_what_is_pinned(self, build, bases):
        image = build(
            "pytorch", "--base", bases.without_ipykernel, "--engine", "podman", "--tag", "localhost/k:1"
        )
        before = set(in_container(bases.without_ipykernel, *FREEZE).splitlines())
        after = set(in_container(image["image"], *FREEZE).splitlines())
        assert before < after
        added = {line.partition("==")[0] for line in after - before}
        assert "ipykernel" in added
        assert added <= {"ipykernel", "comm", "debugpy", "psutil", "nest-asyncio", "matplotlib-inline"}
        # It is told what that was, for which there is no lock.
        noted = {
            each["name"]
            for each in json.loads(Path(image["sbom"]).read_text())["components"]
            if each["bom-ref"].startswith("kernel:")
        }
        assert noted == added
        assert not in_container(
            image["image"], "find", "/usr/local/lib", "-name", "direct_url.json", "-path", "*ipykernel*"
        )

    def test_its_squashfs_file_is_the_same_system(self, pytorch):
        file = Path(pytorch["sqsh"])
        listed = said("unsquashfs", "-lln", "-d", "", file)
        assert " /opt/launcher/bin -> env/jupyter/bin" in listed
        assert "/proc/" not in listed
        variables = said("unsquashfs", "-cat", file, "etc/environment")
        assert "PIP_CONSTRAINT=/etc/pip/constraint.txt\n" in variables
        start = said("unsquashfs", "-cat", file, "etc/rc")
        assert "cd /workspace" in start
        assert 'exec /opt/nvidia/nvidia_entrypoint.sh "$@"' in start


class TestJupyterlab:
    def test_it_is_what_people_get_without_root(self, jupyterlab):
        config = inspected(jupyterlab["image"])["Config"]
        assert config["User"] == "1000:1000"
        assert (
            in_container(jupyterlab["image"], "jupyter", "lab", "--version").strip() == jupyterlab["version"]
        )

    def test_by_itself_it_starts_for_anybody_who_has_no_home(self, jupyterlab, tmp_path):
        apart = ["--user", ANYBODY, "--env", "HOME=/", "--read-only", "--tmpfs=/tmp", "--network=none"]
        command = ["podman", "run", "--rm", *apart, "--pull=never", jupyterlab["image"]]
        log = tmp_path / "log"
        with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
            try:
                deadline = time.monotonic() + 60
                while " is running at:" not in log.read_text():
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < deadline, log.read_text()
                    time.sleep(0.1)
            finally:
                process.terminate()
                process.wait(60)

    def test_nothing_that_builds_is_left_in_it(self, jupyterlab):
        for program in ("gcc", "pip", "buildah", "npm"):
            found = in_container(jupyterlab["image"], "sh", "-c", f"command -v {program} || true")
            assert not found.strip().startswith(("/usr", "/bin")), found

    def test_it_says_what_it_is(self, jupyterlab, bases):
        labels = inspected(jupyterlab["image"])["Config"]["Labels"]
        prefix = "org.opencontainers.image."
        assert labels[f"{prefix}title"] == "jupyterlab"
        assert labels[f"{prefix}version"] == jupyterlab["version"]
        assert labels[f"{prefix}base.name"] == bases.debian
        assert f"{bases.debian}@{labels[f'{prefix}base.digest']}" == jupyterlab["base"]

    def test_its_papers_speak_of_it(self, jupyterlab):
        claim = read(Path(jupyterlab["provenance"]))
        assert claim.sha256 == jupyterlab["id"]
        assert claim.verified.ran
        names = {each["name"] for each in json.loads(Path(jupyterlab["sbom"]).read_text())["components"]}
        assert {"jupyterlab", "libc6", "firecrest-launcher"} <= names

    def test_the_image_tells_how_it_was_made(self, jupyterlab):
        meta = "/opt/launcher/meta/container"
        own = containers_directory() / "jupyterlab"
        for name in ("Dockerfile", "container.yaml", "verify"):
            assert in_container(jupyterlab["image"], "cat", f"{meta}/{name}") == (own / name).read_text()
        told = json.loads(in_container(jupyterlab["image"], "cat", f"{meta}/sbom.cdx.json"))
        assert told == json.loads(Path(jupyterlab["sbom"]).read_text())

    def test_a_second_build_finds_that_nothing_has_changed(self, jupyterlab, bases):
        output = Path(jupyterlab["sbom"]).parent
        done = launcher_build("jupyterlab", "--base", bases.debian, "--output", output, "--json")
        told = json.loads(done.stdout)
        assert told["unchanged"]
        assert told["id"] == jupyterlab["id"]

    def test_another_name_is_given_to_what_is_there(self, jupyterlab, bases):
        output = Path(jupyterlab["sbom"]).parent
        asked = [
            "jupyterlab",
            "--base",
            bases.debian,
            "--tag",
            "localhost/other:1",
            "--output",
            output,
            "--json",
        ]
        assert json.loads(launcher_build(*asked).stdout)["unchanged"]
        assert inspected("localhost/other:1")["Id"] == jupyterlab["id"]

    def test_another_engine_elsewhere_makes_the_same_bytes(self, jupyterlab, bases, tmp_path):
        done = launcher_build(
            *("jupyterlab", "--base", bases.debian, "--engine", "podman", "--tag", "localhost/twin:1"),
            *("--output", tmp_path, "--json"),
            umask=0o077,
        )
        told = json.loads(done.stdout)
        assert not told["unchanged"]
        assert told["id"] == jupyterlab["id"]


class TestWhatDoesNotPass:
    def test_gets_no_name_and_all_that_is_wrong_is_told(self, recipe, jupyterlab, bases, tmp_path):
        spoilt(
            recipe,
            "RUN echo more >> /etc/issue && rm /etc/issue.net && touch /etc/left && rm /opt/launcher/bin"
            " && touch /opt/launcher/new && chmod o+w /opt/launcher/new\nENV GITLAB_TOKEN=abc",
        )
        before = names()
        done = launcher_build(
            *(str(recipe), "--base", bases.debian, "--tag", "localhost/spoilt:1", "--output", tmp_path),
            stderr=subprocess.PIPE,
        )
        assert done.returncode == 7, done.stderr
        for told in (
            "what the base holds is as it was: etc/issue.net: is gone\netc/issue: has another content\n",
            "nothing else is added: etc/left\n",
            "the tools are as they were built: new: is new\nbin: is gone\n",
            "or can be written by others: opt/launcher/new: 646\n",
            "it tells no secret of itself: GITLAB_TOKEN\n",
        ):
            assert told in done.stderr
        assert names() == before
        assert not list(tmp_path.glob("*.json"))

    def test_its_programs_run_as_anybody_without_network_where_nothing_can_be_written(self, bases, engine):
        script = "id -u; id -G; tail -n +3 /proc/net/dev; ls /dev; touch /x /tmp/x"
        with Buildah().files(bases.debian) as root:
            done = run(root, ["sh", "-c", script], {"HOME": "/"}, timeout=60)
        told = done.stdout.decode().split()
        assert told[:3] == ["23456", "23456", "lo:"]
        assert told[-11:] == "fd full null random shm stderr stdin stdout tty urandom zero".split()
        assert b"cannot touch '/x': Read-only file system" in done.stderr
        assert b"/tmp/x" not in done.stderr

    def test_its_files_open_no_device_of_this_machine(self, bases, engine):
        with Buildah().files(bases.debian) as root:
            os.mknod(root / "device", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
            done = run(root, ["head", "-c", "1", "/device"], {}, timeout=60)
        assert b"cannot open '/device' for reading: Permission denied" in done.stderr

    def test_what_its_programs_start_ends_with_their_time(self, bases, engine):
        sleep = f"sleep {random.randrange(10_000, 99_999)}"
        with Buildah().files(bases.debian) as root:
            done = run(root, ["sh", "-c", f"setsid {sleep} & {sleep}"], {}, timeout=2)
        assert done.stderr == b"It took more than 2 s.\n"
        assert not processes(sleep)

    def test_a_base_that_no_registry_has_is_told_plainly(self, engine, tmp_path):
        done = launcher_build(
            *("jupyterlab", "--base", "127.0.0.1:9/nothing:1", "--output", tmp_path), stderr=subprocess.PIPE
        )
        assert done.returncode == 10
        assert "Error: The base image 127.0.0.1:9/nothing:1 can't be fetched." in done.stderr
        assert "refused" in done.stderr
        assert "Traceback" not in done.stderr

    def test_an_interrupted_build_leaves_nothing_in_the_way(self, recipe, bases, tmp_path):
        # Long, and nobody else sleeps so long.
        sleep = f"sleep {random.randrange(10_000, 99_999)}"
        file = recipe / "Dockerfile"
        file.write_text(file.read_text().replace("FROM system", f"RUN {sleep}\n\nFROM system"))
        before = names()
        program = Path(sys.executable).with_name("launcher")
        command = [program, "build", "container", recipe, "--base", bases.debian, "--tag", "localhost/x:1"]
        with subprocess.Popen([*command, "--output", tmp_path, "--cache", CACHE]) as process:
            deadline = time.monotonic() + 300
            while not (sleeping := processes(sleep)):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 1
        assert not any(path.exists() for path in sleeping)
        assert names() == before
        assert not said("buildah", "containers", "--quiet")


def processes(command):
    """Return the processes that run a command."""
    wanted = command.replace(" ", "\0") + "\0"
    return [path for path in Path("/proc").glob("[0-9]*") if command_line(path) == wanted]


def command_line(process):
    try:
        return (process / "cmdline").read_text(errors="replace")
    except OSError:
        return ""


class TestRegistry:
    def test_a_pushed_image_is_known_by_the_digest_that_is_told(self, registry, jupyterlab, bases):
        name = f"{registry}/jupyter/jupyterlab:1"
        output = Path(jupyterlab["sbom"]).parent
        done = launcher_build(
            *("jupyterlab", "--base", bases.debian, "--tag", name, "--push", "--output", output, "--json")
        )
        told = json.loads(done.stdout)
        said("podman", "pull", "--quiet", f"{name.rpartition(':')[0]}@{told['digest']}")
        assert told["id"] == jupyterlab["id"]

    @pytest.mark.parametrize("engine_of_name", [Buildah, Podman])
    def test_a_base_is_fetched_by_the_digest_that_pins_it(self, engine_of_name, registry, bases, tmp_path):
        own = engine_of_name()
        name = f"{registry}/{own.name}/debian:1"
        said("podman", "push", "--quiet", f"--digestfile={tmp_path}/digest", bases.debian, name)
        pinned = f"{name}@{(tmp_path / 'digest').read_text()}"
        own.pull(pinned, own_arch())
        fetched, base = own.find(pinned), own.find(bases.debian)
        assert fetched.id == base.id

    def test_a_registry_that_does_not_answer_leaves_the_image_built(
        self, engine, jupyterlab, bases, tmp_path
    ):
        name = "127.0.0.1:9/jupyter/lab:1"
        done = launcher_build(
            *("jupyterlab", "--base", bases.debian, "--tag", name, "--push", "--output", tmp_path),
            stderr=subprocess.PIPE,
        )
        assert done.returncode == 10
        assert f"Error: The image is built, but {name} can't be pushed." in done.stderr
        assert name in names()
