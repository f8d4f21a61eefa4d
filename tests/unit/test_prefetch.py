"""`launcher prefetch`: which images, what the job asks for, and what of its output counts."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from rendering import cluster_file

from launcher.cli.prefetch import prefetch
from launcher.errors import MissingPart, UsageError
from launcher.prefetch.report import Report, State, Told
from launcher.prefetch.script import Job, directives, script
from launcher.prefetch.wanted import Kind, Wanted, wanted

ENVIRONMENTS = [
    {"id": "gnu", "kind": "uenv", "image": "prgenv-gnu/24.11:v1", "view": "default"},
    {"id": "gnu-too", "kind": "uenv", "image": "prgenv-gnu/24.11:v1"},
    {"id": "file", "kind": "uenv", "image": "/images/julia.squashfs"},
    {"id": "typed", "kind": "uenv", "typed": {}},
    {"id": "torch", "kind": "container", "edf": "pytorch"},
    {"id": "host", "kind": "host", "launcher": "/opt/bin/launcher-singleuser"},
]
TOOLS = Wanted("jupyterlab/v4.6:v1", Kind.LABEL, ("tools",))
GNU = Wanted("prgenv-gnu/24.11:v1", Kind.LABEL, ("gnu", "gnu-too"))
JULIA = Wanted("/images/julia.squashfs", Kind.FILE, ("file",))
TORCH = Wanted("pytorch", Kind.EDF, ("torch",))
MARK = "5e1f"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tiny.yaml"


@pytest.fixture
def cluster(tmp_path):
    file = cluster_file(tmp_path, tools={"image": TOOLS.image}, environments=ENVIRONMENTS, launcher=None)
    return file.cluster


class TestWanted:
    def test_each_image_is_named_once_with_all_that_it_is_for(self, cluster):
        assert wanted(cluster) == [TOOLS, GNU, JULIA, TORCH]

    @pytest.mark.parametrize(
        ("only", "images"),
        [(["torch"], [TORCH]), (["file"], [TOOLS, JULIA]), (["host"], []), (["typed"], [TOOLS])],
    )
    def test_of_some_environments_only_theirs_count(self, cluster, only, images):
        assert wanted(cluster, only) == images

    def test_an_environment_that_is_not_there_is_told(self, cluster):
        with pytest.raises(UsageError, match="no environment gnus"):
            wanted(cluster, ["gnu", "gnus"])


class TestJob:
    def test_it_asks_for_the_least_that_a_session_may_have(self, tmp_path):
        cluster = cluster_file(
            tmp_path,
            gpus=[4, 1, 2],
            gres="gpu:a100",
            constraint=["gpu", "mc"],
            qos="normal",
            accounts=["site", "other"],
            reservation="notebooks",
            directives=["--exclusive"],
        ).cluster
        assert directives(cluster, Job("alice")) == [
            *("--job-name=launcher-prefetch", "--output=launcher-prefetch-%j.log", "--partition=normal"),
            *("--nodes=1", "--time=60", "--account=site", "--reservation=notebooks", "--constraint=gpu"),
            *("--qos=normal", "--gres=gpu:a100:1", "--no-requeue", "--exclusive"),
        ]

    def test_what_is_given_counts_and_a_partition_limits_the_time(self, cluster):
        asked = directives(cluster, Job("alice", account="mine", partition="debug"))
        assert {"--account=mine", "--partition=debug", "--time=30"} <= set(asked)

    @pytest.mark.parametrize(
        "given", [{"partition": "none"}, {"minutes": 241}, {"account": "a b"}, {"account": "$(x)"}]
    )
    def test_what_can_not_be_had_is_refused(self, cluster, given):
        with pytest.raises(UsageError):
            directives(cluster, Job("alice", **given))

    def test_the_prologue_runs_in_a_job_only(self, tmp_path):
        cluster = cluster_file(tmp_path, prologue="module load uenv\n").cluster
        assert "module load uenv" in script(cluster, [GNU], MARK, ["--nodes=1"])
        assert "module load uenv" not in script(cluster, [GNU], MARK)


class TestTold:
    def test_its_own_lines_alone_count(self):
        told = Told([TOOLS, GNU], MARK)
        for line in (
            "anything",
            "0\tpresent\t/x",
            f"{MARK} 0 present",
            f"{MARK}\t7\tpresent\t/x",
            f"{MARK}\t-1\tpresent\t/x",
            f"{MARK}\t0\tgone\t/x",
            f"{MARK}\t0\tpresent",
        ):
            told.hear(line)
        assert told.outcomes == {}
        assert told.hear(f"{MARK}\t1\tfetched\t/repo/store.squashfs\n")
        assert told.outcomes[1].state is State.FETCHED

    def test_what_nothing_was_said_of_has_failed(self):
        told = Told([TOOLS, GNU], MARK)
        told.hear(f"{MARK}\t0\tpresent\t/x")
        first, second = told.all("Job 1 ended as TIMEOUT.")
        assert (first.ok, second.ok, second.why) == (True, False, "Job 1 ended as TIMEOUT.")

    def test_progress_is_told_until_the_end(self):
        told = Told([TOOLS], MARK)
        assert told.hear(f"{MARK}\t0\tpulling\tnull 100")
        assert told.pulling == (TOOLS, None, 100)
        assert told.hear(f"{MARK}\t0\tpulling\t50 100")
        assert not told.hear(f"{MARK}\t0\tpulling\t50 100")
        told.hear(f"{MARK}\t0\tfailed\t\x1b[31merror\x1b[0m")
        assert told.pulling is None
        assert "\x1b" not in told.outcomes[0].why

    @pytest.mark.parametrize(("state", "ok"), [("present", True), ("fetched", True), ("missing", False)])
    def test_all_is_well_only_if_every_image_is_there(self, state, ok):
        told = Told([TOOLS, GNU], MARK)
        told.hear(f"{MARK}\t0\tpresent\t/x")
        told.hear(f"{MARK}\t1\t{state}\t/x")
        assert Report("tiny", "here", told.all("")).ok is ok


@pytest.fixture
def command(path, cluster, monkeypatch, tmp_path):
    """Return a function that runs the command line where there is neither uenv nor a credential."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("AUTH_TOKEN_URL", "FIRECREST_CLIENT_ID", "FIRECREST_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments):
        done = CliRunner().invoke(prefetch, [str(path), *arguments])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run


class TestCommandLine:
    def test_a_dry_run_tells_all_and_asks_nobody(self, command):
        shown = json.loads(command("--dry-run", "--json").output)
        assert [(each["image"], each["state"]) for each in shown["images"]] == [
            *((each.image, "wanted") for each in (TOOLS, GNU, JULIA)),
            (TORCH.image, "not staged"),
        ]
        assert "STATE" in command("--dry-run").output

    def test_without_uenv_and_credentials_it_tells_what_there_could_be(self, command):
        with pytest.raises(MissingPart, match="FIRECREST_CLIENT_SECRET"):
            command()

    def test_credentials_that_are_not_whole_are_told_and_not_shown(self, command, monkeypatch):
        monkeypatch.setenv("FIRECREST_CLIENT_SECRET", "a-secret")
        with pytest.raises(UsageError, match="AUTH_TOKEN_URL, FIRECREST_CLIENT_ID") as error:
            command()
        assert "a-secret" not in str(error.value)

    def test_for_a_job_the_name_on_the_cluster_is_needed(self, command, monkeypatch):
        for name in ("AUTH_TOKEN_URL", "FIRECREST_CLIENT_ID", "FIRECREST_CLIENT_SECRET"):
            monkeypatch.setenv(name, "x")
        with pytest.raises(UsageError, match="--user"):
            command()

    @pytest.mark.parametrize("name", ["bash", "uenv", "srun"])
    def test_here_it_needs_programs(self, command, tmp_path, name):
        for each in {"bash", "uenv", "srun"} - {name}:
            (tmp_path / each).touch(mode=0o755)
        with pytest.raises(MissingPart, match=f"{name} is not on this machine"):
            command("--here", "--containers")

    def test_containers_alone_are_not_staged_and_no_failure(self, command):
        shown = json.loads(command("--here", "--environment", "torch", "--json").output)
        assert shown["ok"]
        assert [each["state"] for each in shown["images"]] == ["not staged"]
