"""Buildah, Podman and Docker: what they are told, and what is made of what they say."""

import contextlib
import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quiet import Silent

from launcher.builder import worker
from launcher.builder.container import engine as module
from launcher.builder.container.engine import ENGINES, Order, engine
from launcher.errors import BuildFailed, MissingPart, UsageError

ID, DIGEST = "1a" * 32, "sha256:" + "2b" * 32
NAME = "registry.example.org:5000/jupyter/small:1.0"
NOISE = "\x1b[31mgrün\x1b[0m \x07\r\x00\u202e tab\there"
STAND_IN = """\
#!/bin/sh
for each; do printf '%s\\0' "$each" >>'{calls}'; done
printf '\\n' >>'{calls}'
file=$(printf '%s\\n' "$@" | sed -n 's/^--\\(iid\\|digest\\)file=//p')
case "$1" in
{cases}
esac
"""


class StandIn:
    """Scripts in place of the engines; they note how they are called."""

    def __init__(self, directory):
        self._calls = directory / "calls"
        self._directory = directory / "programs"
        self._directory.mkdir()

    def make(self, name, **cases):
        """Make one that does some lines of shell for each first argument (`_` for `--version`)."""
        shell = "\n".join(
            f"{'--version' if each == '_' else each}) {does} ;;" for each, does in cases.items()
        )
        path = self._directory / name
        path.write_text(STAND_IN.format(calls=self._calls, cases=shell))
        path.chmod(0o755)
        return ENGINES[name]()

    @property
    def calls(self):
        """The arguments of each call."""
        lines = self._calls.read_text().split("\0\n")[:-1] if self._calls.exists() else []
        return [line.split("\0") for line in lines]


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}/programs:/usr/bin:/bin")
    monkeypatch.delenv("BUILDAH_ISOLATION", raising=False)
    return StandIn(tmp_path)


@pytest.fixture(params=sorted(ENGINES))
def name(request):
    return request.param


class Told(Silent):
    def __init__(self):
        self.told = []

    def advance(self, done, total):
        self.told.append((done, total))


def order(directory, **facts):
    arguments = {"BASE_IMAGE": ID, "TITLE": "two words", "DESCRIPTION": "-v $(id) 'x'\n"}
    plain = Order(directory, "x86_64", 86400, arguments, {"key": "a=b", "empty": ""})
    return plain._replace(**facts)


OPTIONS = {
    "buildah": ["--pull=never", "--layers=false", "--force-rm", "--format=oci", "--network=none"],
    "docker": ["--pull=false", "--network=none", "--provenance=false", "--load"],
}
OPTIONS["podman"] = OPTIONS["buildah"]
TIMES = {"docker": "--build-arg=SOURCE_DATE_EPOCH=86400"}


class TestBuild:
    def test_each_value_is_one_argument_and_the_context_comes_last(self, stand_in, name, tmp_path):
        own = stand_in.make(name, build=f"echo sha256:{ID} >$file")
        assert own.build(order(tmp_path), Silent()) == ID
        (call,) = stand_in.calls
        assert call[-2].startswith("--iidfile=/")
        assert call[:-2] == [
            "build",
            *OPTIONS[name],
            "--platform=linux/amd64",
            TIMES.get(name, "--timestamp=86400"),
            f"--build-arg=BASE_IMAGE={ID}",
            "--build-arg=TITLE=two words",
            "--build-arg=DESCRIPTION=-v $(id) 'x'\n",
            "--label=key=a=b",
            "--label=empty=",
        ]
        assert call[-1] == str(tmp_path)

    def test_processors_are_called_as_images_call_them(self, stand_in, name, tmp_path):
        own = stand_in.make(name, build=f"echo {ID} >$file")
        own.build(order(tmp_path, arch="aarch64"), Silent())
        assert "--platform=linux/arm64" in stand_in.calls[0]

    @pytest.mark.parametrize("name", ["buildah", "podman"])
    def test_in_a_chroot_the_network_can_not_be_taken_away(self, stand_in, name, tmp_path, monkeypatch):
        monkeypatch.setenv("BUILDAH_ISOLATION", "chroot")
        stand_in.make(name, build=f"echo {ID} >$file").build(order(tmp_path), Silent())
        assert "--network=none" not in stand_in.calls[0]

    def test_it_is_told_how_far_it_is(self, stand_in, tmp_path):
        said = r"printf 'STEP 1/3: FROM x\n[2/2] STEP 2/3: RUN y\nFOOSTEP 9/9\nSTEP 3/3: LABEL z\n'"
        progress = Told()
        stand_in.make("podman", build=f"{said}; echo {ID} >$file").build(order(tmp_path), progress)
        assert progress.told == [(0, 3), (1, 3), (2, 3)]

    @pytest.mark.parametrize(
        "says", [":", "echo >$file", "echo sha256:12 >$file", r"printf 'x\033[2J' >$file"]
    )
    def test_without_an_id_it_has_failed(self, stand_in, name, tmp_path, says):
        with pytest.raises(BuildFailed, match="did not tell the image's id") as error:
            stand_in.make(name, build=says).build(order(tmp_path), Silent())
        assert error.value.why.isprintable()

    def test_what_failed_is_told_in_the_engines_last_words(self, stand_in, name, tmp_path):
        says = "for each in $(seq 100); do echo line $each >&2; done; echo 'Error: no space left'; exit 125"
        with pytest.raises(BuildFailed) as error:
            stand_in.make(name, build=says).build(order(tmp_path), Silent())
        assert error.value.what == f"{name} could not build the image."
        assert error.value.why.splitlines() == [
            *(f"line {n}" for n in range(96, 101)),
            "Error: no space left",
        ]

    def test_what_is_interrupted_ends_with_all_that_it_has_started(self, stand_in, name, tmp_path):
        pids = tmp_path / "pids"
        runs = f"sleep 600 & echo $$ $! >'{pids}'; echo 'STEP 1/2: FROM x'; wait"
        with pytest.raises(KeyboardInterrupt):
            stand_in.make(name, build=runs).build(order(tmp_path), Interrupted())
        for pid in pids.read_text().split():
            wait_for_end(pid)

    def test_what_is_interrupted_may_clean_up(self, stand_in, tmp_path):
        cleaned = tmp_path / "cleaned"
        runs = f"trap 'echo clean >{cleaned}; exit 1' TERM; sleep 600 & echo 'STEP 1/2: x'; wait"
        with pytest.raises(KeyboardInterrupt):
            stand_in.make("buildah", build=runs).build(order(tmp_path), Interrupted())
        assert cleaned.exists()

    def test_what_does_not_end_when_it_should_is_killed(self, stand_in, tmp_path, monkeypatch):
        monkeypatch.setattr(worker, "_END", 0.05)
        pid = tmp_path / "pid"
        runs = f"trap '' TERM; echo $$ >'{pid}'; echo 'STEP 1/2: x'; while :; do sleep 600; done"
        with pytest.raises(KeyboardInterrupt):
            stand_in.make("buildah", build=runs).build(order(tmp_path), Interrupted())
        wait_for_end(pid.read_text().strip())


class Interrupted(Silent):
    def advance(self, done, total):
        raise KeyboardInterrupt


def wait_for_end(pid):
    """Wait until a process has ended, whether somebody has asked how or not."""
    deadline = time.monotonic() + 30
    while Path("/proc", pid).exists():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if re.search(r"\) [ZX] ", Path("/proc", pid, "stat").read_text()):
                return
        assert time.monotonic() < deadline, f"{pid} still runs"
        time.sleep(0.01)


CONFIG = {
    "Env": ["PATH=/bin", "EQUAL=a=b", "ODD", "LINES=a\nb"],
    "Labels": {"a": "b"},
    "User": "1000:1000",
    "Entrypoint": ["/entry", "two words"],
    "Cmd": ["run"],
    "WorkingDir": "/work space",
    "Volumes": {"/data": {}, "/cache": {}},
}


def inspected(name, config, arch="amd64"):
    """Return what an engine says of an image."""
    if name == "buildah":
        return {
            "FromImageID": ID,
            "FromImageDigest": DIGEST,
            "OCIv1": {"architecture": arch, "config": config or {}},
        }
    facts = {"Id": f"sha256:{ID}" if name == "docker" else ID, "Architecture": arch, "Config": config}
    return [facts if name == "docker" else {**facts, "Digest": DIGEST}]


def says(tmp_path, told):
    """Return shell that prints an object as JSON."""
    path = tmp_path / "told.json"
    path.write_text(json.dumps(told))
    return f"cat '{path}'"


class TestFind:
    def test_what_an_image_says_of_itself_is_read(self, stand_in, name, tmp_path):
        does = says(tmp_path, inspected(name, CONFIG))
        image = stand_in.make(name, inspect=does, image=does).find(NAME)
        assert (image.id, image.arch) == (ID, "x86_64")
        assert image.digest == ("" if name == "docker" else DIGEST)
        assert image.environment == {"PATH": "/bin", "EQUAL": "a=b", "ODD": "", "LINES": "a\nb"}
        assert (image.labels, image.user) == ({"a": "b"}, "1000:1000")
        assert (image.entrypoint, image.command) == (("/entry", "two words"), ("run",))
        assert (image.directory, image.volumes) == ("/work space", ("/data", "/cache"))
        asked = ["inspect", "--type=image", NAME] if name == "buildah" else ["image", "inspect", NAME]
        assert stand_in.calls == [asked]

    @pytest.mark.parametrize("config", [{}, dict.fromkeys(CONFIG), None])
    def test_one_that_says_nothing_of_itself_has_what_engines_take_then(
        self, stand_in, name, tmp_path, config
    ):
        does = says(tmp_path, inspected(name, config, "riscv64"))
        image = stand_in.make(name, inspect=does, image=does).find(NAME)
        assert image[2:] == ("riscv64", {}, {}, "", (), (), "/", ())

    def test_one_that_is_not_there_is_none(self, stand_in, name):
        assert stand_in.make(name, inspect="exit 125", image="exit 1").find(NAME) is None

    def test_one_without_an_id_is_told(self, stand_in, tmp_path):
        does = says(tmp_path, [{"Id": "\x1b[2J", "Config": {}}])
        with pytest.raises(BuildFailed) as error:
            stand_in.make("podman", image=does).find(NAME)
        assert error.value.why == "\\x1b[2J"


class TestRegistries:
    def test_a_dockerfile_names_its_base_as_the_engine_knows_it(self, stand_in, name, tmp_path):
        does = says(tmp_path, inspected(name, CONFIG))
        own = stand_in.make(name, inspect=does, image=does)
        base = own.base(NAME, own.find(NAME))
        assert base == (NAME if name == "docker" else ID)

    def test_a_base_is_fetched_for_the_processors(self, stand_in, name):
        stand_in.make(name, pull="exit 0").pull(NAME, "aarch64")
        assert stand_in.calls == [["pull", "--platform=linux/arm64", NAME]]

    def test_a_base_that_can_not_be_fetched_is_told_with_what_to_do(self, stand_in, name):
        fails = "echo 'dial tcp: lookup registry.example.org: no such host' >&2; exit 125"
        with pytest.raises(BuildFailed) as error:
            stand_in.make(name, pull=fails).pull(NAME, "x86_64")
        assert error.value.exit_code == 10
        assert error.value.what == f"The base image {NAME} can't be fetched."
        assert error.value.why == "dial tcp: lookup registry.example.org: no such host"
        assert f"{name} login" in error.value.todo
        assert "--base" in error.value.todo

    def test_a_name_is_given(self, stand_in, name):
        stand_in.make(name).tag(ID, NAME)
        assert stand_in.calls == [["tag", ID, NAME]]

    def test_a_name_that_is_refused_is_told(self, stand_in, name):
        with pytest.raises(BuildFailed, match=f"{name} tag failed") as error:
            stand_in.make(name, tag="echo 'Error: no' >&2; exit 1").tag(ID, NAME)
        assert error.value.why == "Error: no"

    @pytest.mark.parametrize("name", ["buildah", "podman"])
    def test_a_push_tells_the_digest_in_the_registry(self, stand_in, name):
        assert stand_in.make(name, push=f"printf {DIGEST} >$file").push(ID, NAME) == DIGEST
        (call,) = stand_in.calls
        assert (call[0], call[2:]) == ("push", [ID, f"docker://{NAME}"])
        assert call[1].startswith("--digestfile=/")

    def test_docker_prints_the_digest_after_those_of_layers(self, stand_in):
        layer = f"sha256:{'3c' * 32}"
        prints = f"echo '{layer}: Pushed'; echo '1.0: digest: {DIGEST} size: 528'"
        assert stand_in.make("docker", push=prints).push(ID, NAME) == DIGEST
        assert stand_in.calls == [["push", NAME]]

    def test_a_push_without_a_digest_has_failed(self, stand_in, name):
        with pytest.raises(BuildFailed, match="did not tell the image's digest"):
            stand_in.make(name, push="echo done").push(ID, NAME)

    def test_a_registry_that_refuses_is_told_with_what_to_do(self, stand_in, name):
        with pytest.raises(BuildFailed) as error:
            stand_in.make(name, push="echo 'denied: access forbidden' >&2; exit 1").push(ID, NAME)
        assert error.value.exit_code == 10
        assert NAME in error.value.what
        assert error.value.why == "denied: access forbidden"
        assert f"{name} login registry.example.org:5000" in error.value.todo

    def test_nothing_that_opens_a_registry_is_an_argument(self, stand_in, name, tmp_path, monkeypatch):
        for variable in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "CI_REGISTRY_PASSWORD", "BUILDAH_CREDS"):
            monkeypatch.setenv(variable, "/secret/hunter2")
        cases = dict.fromkeys(("pull", "push", "build"), f"echo {DIGEST} | tee $file")
        own = stand_in.make(name, **cases, tag="env >$0.seen")
        own.pull(NAME, "x86_64")
        own.build(order(tmp_path), Silent())
        own.tag(ID, NAME)
        own.push(ID, NAME)
        told = [each for call in stand_in.calls for each in call]
        assert not [each for each in told if re.search("hunter2|cred|passw|auth|user", each)]
        # It finds them by itself.
        assert "REGISTRY_AUTH_FILE=/secret/hunter2\n" in (tmp_path / f"programs/{name}.seen").read_text()


def broken_off(own):
    """Use the files of an image until something happens; return where they were."""
    roots = []
    with contextlib.suppress(KeyboardInterrupt), own.files(NAME) as root:
        roots.append(root)
        raise KeyboardInterrupt
    return roots[0]


class TestFiles:
    def test_buildah_mounts_a_container_of_its_own_and_removes_it(self, stand_in, tmp_path):
        own = stand_in.make("buildah", mount=f"echo '{tmp_path}'")
        assert broken_off(own) == tmp_path
        begin, mount, end = stand_in.calls
        container = mount[1]
        assert begin == ["from", "--pull-never", f"--name={container}", NAME]
        assert end == ["rm", container]

    def test_podman_does_so_too(self, stand_in, tmp_path):
        own = stand_in.make("podman", mount=f"echo '{tmp_path}'")
        assert broken_off(own) == tmp_path
        begin, mount, end = stand_in.calls
        container = mount[1]
        assert begin == ["create", "--pull=never", f"--name={container}", NAME, "true"]
        assert end == ["rm", "--volumes", container]

    @pytest.mark.parametrize(("name", "step"), [("buildah", "from"), ("podman", "create")])
    def test_files_that_can_not_be_had_are_told(self, stand_in, name, step):
        own = stand_in.make(name, **{step: "echo 'Error: image not known' >&2; exit 125"})
        with pytest.raises(BuildFailed, match="failed") as error, own.files(NAME):
            pass
        assert error.value.why == "Error: image not known"

    def test_docker_copies_them(self, stand_in, tmp_path):
        tree = tmp_path / "tree"
        (tree / "etc").mkdir(parents=True)
        (tree / "etc/file").write_text("content")
        names = f"$(ls '{tree}')"
        own = stand_in.make("docker", create="echo c0ffee", export=f"tar -c -C '{tree}' {names}")
        with own.files(NAME) as root:
            assert (root / "etc/file").read_text() == "content"
            # Anybody tries the image, from its own top.
            assert [path.stat().st_mode & 0o777 for path in (root, root.parent)] == [0o755, 0o700]
        assert not root.parent.exists()
        made, copied, removed = stand_in.calls
        assert (made, copied) == (["create", NAME, "true"], ["export", "c0ffee"])
        assert removed == ["rm", "--volumes", "c0ffee"]

    def test_docker_that_breaks_off_leaves_nothing(self, stand_in):
        own = stand_in.make("docker", create="echo c0ffee", export="echo 'no tar'; exit 1")
        with pytest.raises(BuildFailed, match="can't be had"), own.files(NAME):
            pass
        assert stand_in.calls[-1] == ["rm", "--volumes", "c0ffee"]


class TestChoice:
    def test_the_first_that_is_installed_is_taken(self, stand_in, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", f"{tmp_path}/programs")
        for name in ("docker", "podman", "buildah"):
            stand_in.make(name)
            assert engine().name == name

    def test_the_one_that_is_named_is_taken(self, stand_in, name):
        for each in ENGINES:
            stand_in.make(each)
        assert engine(name).name == name

    def test_one_that_is_not_installed_is_told_with_what_to_do(self, stand_in, name, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", f"{tmp_path}/programs")
        with pytest.raises(MissingPart) as error:
            engine(name)
        assert error.value.what == f"{name} is not installed."
        with pytest.raises(MissingPart) as error:
            engine()
        assert "nothing here that builds containers" in error.value.what
        assert "buildah" in error.value.todo

    @pytest.mark.parametrize(
        ("says", "version"),
        [
            ("buildah version 1.28.2 (image-spec 1.0.2-dev, runtime-spec 1.0.2-dev)", "1.28.2"),
            ("Docker version 28.2.2, build e6534b4", "28.2.2"),
            ("nonsense", "unknown"),
        ],
    )
    def test_its_version_is_read(self, stand_in, name, says, version):
        assert stand_in.make(name, _=f"echo '{says}'").version() == version


class TestRights:
    def test_root_sees_the_files_of_images(self, name, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        assert ENGINES[name]().inside() == []

    @pytest.mark.parametrize("name", ["buildah", "podman"])
    def test_others_see_them_in_the_engines_namespace(self, name, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert ENGINES[name]().inside() == [name, "unshare"]

    def test_with_docker_only_root_builds(self, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(UsageError, match="With Docker, root builds images") as error:
            ENGINES["docker"]().inside()
        assert "--engine buildah" in error.value.todo


@pytest.mark.parametrize("stream", ["", ">&2"])
def test_nothing_that_an_image_prints_reaches_the_terminal_as_it_is(stand_in, tmp_path, stream):
    (tmp_path / "noise").write_text(NOISE)
    fails = f"cat '{tmp_path}/noise' {stream}; exit 1"
    own = stand_in.make("podman", build=fails, pull=fails, push=fails, tag=fails)
    for does in (
        lambda: own.build(order(tmp_path), Silent()),
        lambda: own.pull(NAME, "x86_64"),
        lambda: own.push(ID, NAME),
        lambda: own.tag(ID, NAME),
    ):
        with pytest.raises(BuildFailed) as error:
            does()
        assert error.value.why.replace("\n", "").isprintable()
        for word in (r"gr\xfcn", "tab", "here"):
            assert word in error.value.why


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_can_be_printed_is_told_as_it_is_and_all_else_can_be_read_back(text):
    done = subprocess.CompletedProcess([], 1, "", text)
    told = module._last(done).split("\n")
    for line, shown in zip(text.strip().splitlines()[-6:], told, strict=False):
        assert shown.isprintable()
        assert shown == line or shown.encode("ascii").decode("unicode_escape") == line
