"""`launcher inspect`: what people and programs are told of an image."""

import hashlib
import json
import os
import sys

import pytest
from click.testing import CliRunner

from launcher.builder import squashfs
from launcher.cli.inspect import inspect, megabytes
from launcher.errors import LauncherError, MissingPart

SITE = "env/jupyter/lib/python3.11/site-packages"
VALUES = {"list": {"PATH": [{"op": "prepend", "value": ["/tools/bin"]}]}}
ENV = {
    "name": "somebodys",
    "mount": "/tools",
    "description": "Tools of somebody",
    "default-view": "v",
    "views": {"v": {"description": "In PATH", "env": {"values": VALUES}}},
}
# An escape sequence, half a character, and one that turns the direction of what follows.
ODD = "\x1b[31m\ud800\n\u202e"
LOCK = "# locked: 2026-11-22\nold==2.0 \\\n    --hash=sha256:{0}\ntornado==6.5.4 \\\n    --hash=sha256:{0}\n"


@pytest.fixture
def make(tmp_path):
    def make(files):
        tree = tmp_path / "tree"
        for path, text in files.items():
            file = tree / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        squashfs.pack(tree, tmp_path / "image.squashfs", 0, "zstd")
        return tmp_path / "image.squashfs"

    return make


@pytest.fixture
def image(make):
    files = {"meta/env.json": json.dumps(ENV), f"{SITE}/old.py": "x" * 2_000_000}
    files[f"{SITE}/old-1.0.dist-info/RECORD"] = "old.py,,\n"
    files[f"{SITE}/tornado-6.4.dist-info/RECORD"] = ""
    return make(files)


@pytest.fixture
def lock(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text(LOCK.format("ab" * 32))
    return path


def run(*arguments, **how):
    return CliRunner().invoke(inspect, [str(each) for each in arguments], **how)


def facts(output):
    rows = (line.split(maxsplit=1) for line in output.splitlines() if line.startswith("  "))
    return {row[0]: row[1] for row in rows if len(row) == 2}


def test_people_are_told_the_facts_they_know_an_image_by(image):
    done = run(image)
    assert done.exit_code == 0
    told = facts(done.output)
    assert told["name"] == "somebodys"
    assert told["mount"] == "/tools"
    assert told["description"] == "Tools of somebody"
    assert told["unpacked"] == "2.0 MB"
    assert told["size"].endswith("zstd in blocks of 64 kB")
    assert told["Python"] == "3.11"
    assert told["packages"] == "2"


def test_what_is_not_known_has_no_line(image):
    assert not {"architecture", "code-server", "verified", "locked", "age"} & set(facts(run(image).output))


def test_views_are_told_with_what_they_change(image):
    assert "\nViews\n  v (default): In PATH\n    PATH=/tools/bin:$PATH\n" in run(image).output


def test_packages_are_told_the_largest_first(image):
    lines = run(image).output.partition("What takes room\n")[2].splitlines()
    assert [line.split() for line in lines[:2]] == [
        ["NAME", "VERSION", "SIZE", "SHARE"],
        ["old", "1.0", "2.0", "MB", "100", "%"],
    ]


def test_long_tables_are_cut_unless_all_is_wanted(make):
    image = make({f"directory{number}/a": "x" for number in range(20)})
    assert "and 5 more: --all" in run(image).output
    assert len(facts(run(image, "--all").output)) >= 20


def test_packages_under_a_floor_are_told(image):
    assert "tornado 6.4 is older than 6.5.0: " in run(image).output


def test_the_age_is_told_against_a_lock(image, lock):
    done = run(image, "--lock", lock)
    assert facts(done.output)["age"] == f"2 of 2 packages are other than in {lock} of 2026-11-22"
    assert ["old", "1.0", "2.0"] in [line.split() for line in done.output.splitlines()]


def test_an_image_that_does_not_describe_itself_is_told_as_such(make):
    assert "It does not describe itself" in run(make({"README": "text"})).output


def test_programs_are_told_everything(image, lock):
    told = json.loads(run(image, "--json", "--lock", lock).output)
    assert (told["name"], told["mount"], told["default_view"]) == ("somebodys", "/tools", "v")
    assert told["views"] == [{"name": "v", "description": "In PATH", "changes": ["PATH=/tools/bin:$PATH"]}]
    assert told["packages"][0] == {"name": "old", "version": "1.0", "size": 2_000_009}
    assert told["size"] == image.stat().st_size
    assert told["age"]["packages"][0] == {"name": "old", "image": "1.0", "lock": "2.0"}
    assert told["floors"][0]["at_least"] == "6.5.0"
    assert (told["code_server"], told["verified"]) == (None, None)


def test_who_says_that_it_was_verified_is_told(image):
    document = {"recipe": "r", "arch": "x86_64", "glibc": "2.31", "python": "3.11"}
    definition = {
        "buildType": "pkg:pypi/firecrest-launcher#launcher/builder",
        "externalParameters": document,
        "resolvedDependencies": [],
    }
    run_details = {
        "launcher_buildKey": "ab" * 32,
        "launcher_verified": {"checks": 31, "ran": True, "glibc": "2.28"},
    }
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": "https://slsa.dev/provenance/v1",
        "subject": [{"name": "x", "digest": {"sha256": hashlib.sha256(image.read_bytes()).hexdigest()}}],
        "predicate": {"buildDefinition": definition, "runDetails": run_details},
    }
    image.with_name("image.provenance.json").write_text(json.dumps(statement))
    told = facts(run(image).output)
    assert told["verified"] == "31 checks held, by the file beside it"
    assert told["glibc"] == "needs 2.28, by the file beside it"


@pytest.mark.parametrize(("gpu", "text"), [(True, "built for them"), (False, "not built for them")])
def test_whether_it_is_for_gpus_is_told(make, gpu, text):
    parameters = {"recipe": "r", "arch": "x86_64", "glibc": "2.31", "python": "3.11", "gpu": gpu}
    definition = {
        "buildType": "pkg:pypi/firecrest-launcher#launcher/builder",
        "externalParameters": parameters,
        "resolvedDependencies": [],
    }
    image = make({"meta/provenance.json": json.dumps(definition)})
    assert facts(run(image).output)["GPUs"] == text
    assert json.loads(run(image, "--json").output)["gpu"] is gpu


def test_what_is_told_can_be_printed_whatever_an_image_holds(make):
    view = {"description": ODD, "env": {"values": {"scalar": {"A": ODD}, "list": {"B": ODD}}}}
    env = dict.fromkeys(("name", "mount", "description", "default-view"), ODD) | {"views": {ODD: view}}
    name = ODD.replace("\ud800", "\udcff")
    image = make(
        {"meta/env.json": json.dumps(env), f"{name}/a": "x", f"{SITE}/{name}-1.dist-info/RECORD": ""}
    )
    image = image.rename(image.with_name(f"{name}.squashfs"))
    for options in ((), ("--json",)):
        done = run(image, *options)
        assert done.exit_code == 0
        assert done.output.encode().decode().replace("\n", "").isprintable()
    assert json.loads(done.output)["path"] == str(image)


def test_names_that_begin_with_a_dash_are_no_options(image, monkeypatch):
    image.rename(image.with_name("-help"))
    monkeypatch.chdir(image.parent)
    assert facts(run("--", "-help").output)["name"] == "somebodys"


def test_a_fifo_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert type(run(tmp_path / "fifo").exception) is LauncherError


def test_there_is_no_colour_but_on_a_terminal(image):
    assert "\x1b" not in run(image).output
    assert "\x1b[31m" in run(image, color=True).output


def test_what_is_no_image_is_refused(tmp_path):
    path = tmp_path / "no.squashfs"
    path.write_text("text")
    assert type(run(path).exception) is LauncherError


def test_a_file_that_is_not_there_is_a_wrong_command_line(tmp_path):
    assert run(tmp_path / "absent").exit_code == 2


def test_a_base_install_is_told_what_to_install(image, monkeypatch):
    monkeypatch.setitem(sys.modules, "launcher.builder.inspection", None)
    error = run(image).exception
    assert isinstance(error, MissingPart)
    assert "firecrest-launcher[build]" in error.todo


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0.0 MB"), (1, "< 0.1 MB"), (50_000, "0.1 MB"), (123_456_789, "123.5 MB")]
)
def test_sizes_are_told_as_people_read_them(size, text):
    assert megabytes(size) == text
