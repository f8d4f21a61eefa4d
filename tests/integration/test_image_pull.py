"""What the batch script does about images that are not there yet, with a stand-in of uenv."""

import contextlib
import os
import signal
import sys
import time

import pytest
from rendering import TICKET, cluster_file, script
from running import Job, hub
from slurm.uenv import Registry, put_uenv
from support import program

from launcher.protocol import PULL_FAILED, Pulling, ScriptExit, parse_event

__all__ = ["hub"]

TOOLS, GNU, OTHER_GNU = "jupyterlab/v4.6:v1", "prgenv-gnu/24.11:v1", "prgenv-gnu/25.6:v2"
MEBIBYTE = 1024 * 1024
SQUASHFS_MOUNT = """\
#!/bin/sh
printf '%s\\n' "$1" >> mounted
shift 2
exec "$@"
"""


@pytest.fixture
def registry(tmp_path):
    registry = Registry(tmp_path / "registry")
    for label in (TOOLS, GNU, OTHER_GNU):
        image = tmp_path / label.replace("/", "-")
        image.write_bytes(os.urandom(3 * MEBIBYTE))
        registry.add(label, image)
    return registry


@pytest.fixture
def programs(tmp_path):
    directory = tmp_path / "bin"
    directory.mkdir()
    (directory / "squashfs-mount").write_text(SQUASHFS_MOUNT)
    put_uenv(directory / "uenv")
    (directory / "squashfs-mount").chmod(0o755)
    return directory


@pytest.fixture
def run(tmp_path, hub, registry, programs):
    """Return a function that starts a script whose two images may have to be pulled."""
    with contextlib.ExitStack() as jobs:

        def start(server=": > started", *, image=GNU, prologue="", directory="job", path="", **uenv):
            here = tmp_path / directory
            here.mkdir(exist_ok=True)
            launcher = tmp_path / "launcher-singleuser"
            launcher.write_text(f"#!/bin/bash\n{server}\n")
            launcher.chmod(0o755)
            # uenv itself finds squashfs-mount beside it.
            lines = [
                f"export UENV_REGISTRY={registry.directory} HOME={tmp_path}/home",
                f"export PATH={programs}:{path or os.environ['PATH']}",
                prologue,
            ]
            file = cluster_file(
                tmp_path,
                launcher=None,
                tools={"image": TOOLS, "launcher": str(launcher)},
                uenv={"attach": "run", "pull": True, **uenv},
                environments=[{"id": "it", "kind": "uenv", "image": image}],
                prologue="\n".join(lines),
            )
            return jobs.enter_context(Job(here, script(file, url=hub.url), "/usr/bin:/bin"))

        yield start


@pytest.fixture
def repository(tmp_path):
    return tmp_path / "home/.uenv"


def events(hub):
    return [parse_event(post.body) for post in hub.posts]


def pulls(hub):
    return [event for event in events(hub) if isinstance(event, Pulling)]


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class TestPull:
    def test_images_that_are_not_there_are_pulled_before_the_launch(self, run, registry, repository, hub):
        job = run()
        assert (job.end(), registry.pulled) == (0, [TOOLS, GNU])
        assert "Pulling jupyterlab/v4.6:v1\n" in job.log
        mounted = (job.directory / "mounted").read_text()
        assert mounted.count(f"{repository}/images/") == 2
        assert events(hub)[-1] == ScriptExit(TICKET, 0, "42")

    def test_images_that_are_there_are_not(self, run, registry, hub):
        run().end()
        hub.posts.clear()
        job = run()
        assert (job.end(), registry.pulled) == (0, [TOOLS, GNU])
        assert "Pulling" not in job.log
        assert pulls(hub) == []

    def test_an_image_whose_file_was_cleaned_up_is_pulled_again(self, run, registry, repository):
        run().end()
        for file in repository.glob("images/*/store.squashfs"):
            file.unlink()
        assert run().end() == 0
        assert registry.pulled == 2 * [TOOLS, GNU]

    def test_they_go_to_the_repository_that_the_cluster_file_names(self, run, tmp_path, repository):
        assert run(repo=f"{tmp_path}/repo").end() == 0
        assert len([*(tmp_path / "repo/images").glob("*/store.squashfs")]) == 2
        assert not repository.exists()

    def test_a_file_is_never_pulled(self, run, registry, tmp_path):
        (tmp_path / "own.squashfs").write_text("an image")
        assert run(image=f"{tmp_path}/own.squashfs").end() == 0
        assert registry.pulled == [TOOLS]

    @pytest.mark.parametrize(
        "prologue",
        [
            "set -euo pipefail",
            "set -f; IFS=:,",
            "shopt -s nullglob extglob",
            "set -o noclobber -o posix",
            "set -x",
            "/bin/sleep 60 &",
        ],
    )
    def test_whatever_a_prologue_has_set_changes_nothing(self, run, registry, hub, prologue):
        registry.is_like(pause=0.1)
        job = run("exit 3", prologue=prologue)
        assert (job.end(), registry.pulled) == (3, [TOOLS, GNU])
        assert {pull.total for pull in pulls(hub)} == {3 * MEBIBYTE}
        assert TICKET not in job.log

    def test_two_jobs_at_once_pull_each_image_once(self, run, registry):
        registry.is_like(pause=0.1)
        first, second = run(directory="first"), run(directory="second")
        assert (first.end(), second.end()) == (0, 0)
        assert sorted(registry.pulled) == [TOOLS, GNU]


class TestProgress:
    def test_the_hub_hears_every_few_seconds_how_much_is_there(self, run, registry, hub):
        registry.is_like(pause=0.8)
        assert run().end() == 0
        told = [pull for pull in pulls(hub) if pull.image == TOOLS]
        assert len(told) > 1
        assert {(pull.ticket, pull.total, pull.job_id) for pull in told} == {(TICKET, 3 * MEBIBYTE, "42")}
        done = [pull.done or 0 for pull in told]
        assert done == sorted(done)
        assert 0 < done[-1] < 4 * MEBIBYTE

    def test_without_curl_python_tells_it(self, run, registry, hub, tmp_path):
        (tmp_path / "few").mkdir()
        for name in (
            *(
                "sh",
                "bash",
                "awk",
                "cut",
                "head",
                "tail",
                "stat",
                "du",
                "sleep",
                "sort",
                "wc",
                "cat",
                "mkdir",
            ),
            *("flock", "grep", "sed", "tr", "dirname", "cp", "mv", "rm"),
        ):
            (tmp_path / "few" / name).symlink_to(os.path.realpath(program(name)))
        (tmp_path / "few/python3").symlink_to(os.path.realpath(sys.executable))
        registry.is_like(pause=0.5)
        assert run(path=f"{tmp_path}/few").end() == 0
        assert [pull.image for pull in pulls(hub)][:1] == [TOOLS]

    def test_what_uenv_does_not_tell_is_left_out(self, run, registry, hub, programs):
        (programs / "uenv").rename(programs / "real")
        lines = ["#!/bin/sh", 'case "$*" in *find*|*status*) exit 1 ;; esac', f'exec {programs}/real "$@"']
        (programs / "uenv").write_text("\n".join([*lines, ""]))
        (programs / "uenv").chmod(0o755)
        registry.is_like(pause=0.1)
        assert run().end() == 0
        assert {(pull.done, pull.total) for pull in pulls(hub)} == {(None, None)}

    def test_a_hub_that_does_not_answer_changes_nothing(self, run, registry, hub):
        hub.close()
        job = run("exit 4")
        assert (job.end(), registry.pulled) == (4, [TOOLS, GNU])
        assert TICKET not in job.log


class TestFailure:
    @pytest.mark.parametrize(
        "case",
        [
            ({"down": True}, GNU, "unable to get a listing of the uenv"),
            ({"full": True}, GNU, "no space left on device"),
            ({}, "none/1:v1", "no uenv found that match 'none/1:v1'"),
            ({}, "prgenv-gnu", "more than one uenv found that matches 'prgenv-gnu'"),
        ],
    )
    def test_it_ends_the_job_with_a_code_of_its_own_and_uenvs_words(self, run, registry, hub, case):
        state, image, words = case
        registry.is_like(**state)
        job = run(image=image, prologue="set -e")
        assert job.end() == PULL_FAILED
        assert words in job.log
        failed = TOOLS if state else image
        assert job.log.splitlines()[-1] == f"The image {failed} could not be pulled (uenv's exit code: 1)."
        assert events(hub)[-1] == ScriptExit(TICKET, PULL_FAILED, "42")
        assert not (job.directory / "started").exists()

    def test_so_does_a_node_without_uenv(self, run, hub, programs):
        (programs / "uenv").unlink()
        job = run()
        assert job.end() == PULL_FAILED
        assert "uenv: command not found" in job.log

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
    def test_a_signal_meanwhile_ends_the_job_and_the_pull_at_once(
        self, run, registry, repository, hub, number
    ):
        registry.is_like(pause=30)
        job = run()
        until(lambda: pulls(hub) and [*repository.glob("images/*/store.squashfs")])
        began = time.monotonic()
        job.signal(number)
        assert job.end() == 143
        assert time.monotonic() - began < 20
        assert events(hub)[-1] == ScriptExit(TICKET, 143, "42")
        assert not (job.directory / "started").exists()
        told = len(hub.posts)
        time.sleep(4)
        assert len(hub.posts) == told

    def test_one_that_was_interrupted_is_pulled_anew(self, run, registry, repository, hub):
        registry.is_like(pause=30)
        job = run()
        until(lambda: [*repository.glob("images/*/store.squashfs")])
        os.killpg(job.process.pid, signal.SIGKILL)
        registry.is_like()
        assert run().end() == 0
        sizes = {file.stat().st_size for file in repository.glob("images/*/store.squashfs")}
        assert sizes == {3 * MEBIBYTE}
