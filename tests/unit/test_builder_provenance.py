"""What is said of how an image was made, inside of it and beside it."""

import json
import os
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest

import launcher
from launcher.builder import provenance
from launcher.builder.provenance import Verified
from launcher.builder.sbom import CodeServer, Contents, Python
from launcher.builder.target import Target
from launcher.builder.wheels import Wheel
from launcher.errors import InvalidFile

OWN = "12" * 32
IMAGE = "34" * 32
KEY = "56" * 32
PYTHON = Python("Debian bookworm", "3.11.2", "ef" * 32)
CODE_SERVER = CodeServer("4.105.1", "cd" * 32)


@pytest.fixture
def recipe(tmp_path):
    directory = tmp_path / "recipe"
    (directory / "recipe").mkdir(parents=True)
    for name in ("image.yaml", "requirements.txt", "recipe/config.yaml"):
        (directory / name).write_text(f"{name}\n")
    return directory


def files_of(directory):
    return {str(path.relative_to(directory)): path for path in directory.rglob("*") if path.is_file()}


def contents(**changed):
    wheels = [
        Wheel(Path("/somewhere/own.whl"), "firecrest-launcher", "0.1.0", OWN),
        Wheel(Path("/somewhere/other.whl"), "other", "1.0", "ab" * 32),
    ]
    whole = Contents(
        "jupyterlab",
        "4.6.1",
        date(2026, 11, 22),
        Target("x86_64", (2, 31), (3, 11)),
        wheels,
        PYTHON,
        CODE_SERVER,
    )
    return whole._replace(**changed)


def inputs(recipe, **changed):
    return provenance.inputs(contents(**changed), files_of(recipe), {"compression": "zstd", "gpu": False})


def stated(recipe, **changed):
    given = {
        "build_key": KEY,
        "started": datetime(2026, 11, 23, 9, 0, tzinfo=timezone(timedelta(hours=1))),
        "finished": datetime(2026, 11, 23, 8, 1, 30, 5000, tzinfo=UTC),
        "tools": {"mksquashfs": "4.5.1"},
        "verified": Verified(31, ran=True, glibc=(2, 28)),
    }
    return provenance.statement("j.squashfs", IMAGE, inputs(recipe), **(given | changed))


@pytest.fixture
def beside(tmp_path):
    """Write a file as it lies beside an image."""

    def write(document):
        path = tmp_path / "j.squashfs.provenance.json"
        path.write_bytes(document if isinstance(document, bytes) else provenance.written(document))
        return path

    return write


def dependency(definition, name):
    (found,) = (each for each in definition["resolvedDependencies"] if each["name"] == name)
    return found


def test_inputs_tell_what_was_chosen(recipe):
    assert inputs(recipe)["externalParameters"] == {
        "recipe": "jupyterlab",
        "version": "4.6.1",
        "arch": "x86_64",
        "glibc": "2.31",
        "python": "3.11",
        "compression": "zstd",
        "gpu": False,
    }
    assert inputs(recipe)["internalParameters"] == {"launcher": launcher.__version__}


def test_inputs_hold_the_digest_of_each_file_of_the_recipe(recipe):
    names = {each["name"] for each in inputs(recipe)["resolvedDependencies"] if "recipe/" in each["name"]}
    assert names == {"recipe/image.yaml", "recipe/requirements.txt", "recipe/recipe/config.yaml"}
    lock = dependency(inputs(recipe), provenance.LOCK)
    assert lock["annotations"] == {"locked": "2026-11-22"}
    assert len(lock["digest"]["sha256"]) == 64


def test_inputs_hold_the_digests_of_all_that_the_lock_does_not_pin(recipe):
    definition = inputs(recipe)
    assert dependency(definition, "interpreter")["digest"] == {"tree": "ef" * 32}
    assert dependency(definition, "code-server")["digest"] == {"sha256": "cd" * 32}
    assert dependency(definition, "firecrest-launcher")["digest"] == {"sha256": OWN}
    assert "other" not in {each["name"] for each in definition["resolvedDependencies"]}


def test_inputs_are_the_same_wherever_the_recipe_lies(recipe, tmp_path):
    before = provenance.written(inputs(recipe))
    assert provenance.written(inputs(recipe.rename(tmp_path / "elsewhere"))) == before
    assert str(tmp_path).encode() not in before


@pytest.mark.parametrize(
    "changed",
    [
        {"target": Target("aarch64", (2, 31), (3, 11))},
        {"target": Target("x86_64", (2, 28), (3, 11))},
        {"python": PYTHON._replace(tree="00" * 32)},
        {"code_server": None},
        {"wheels": []},
    ],
)
def test_other_inputs_have_another_key(recipe, changed):
    assert provenance.key(inputs(recipe, **changed)) != provenance.key(inputs(recipe))


def test_another_file_of_the_recipe_gives_another_key(recipe):
    before = provenance.key(inputs(recipe))
    (recipe / "image.yaml").write_text("changed")
    assert provenance.key(inputs(recipe)) != before


def test_a_statement_is_of_in_totos_form(recipe):
    document = stated(recipe)
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert document["predicateType"] == "https://slsa.dev/provenance/v1"
    assert document["subject"] == [{"name": "j.squashfs", "digest": {"sha256": IMAGE}}]
    assert document["predicate"]["buildDefinition"] == inputs(recipe)


def test_a_statement_tells_tools_and_times(recipe):
    run = stated(recipe)["predicate"]["runDetails"]
    assert run["builder"]["version"] == {"mksquashfs": "4.5.1"}
    assert run["metadata"] == {"startedOn": "2026-11-23T08:00:00Z", "finishedOn": "2026-11-23T08:01:30Z"}


def test_a_statement_is_read_back(recipe, beside):
    claim = provenance.read(beside(stated(recipe)))
    assert (claim.build_key, claim.sha256) == (KEY, IMAGE)
    assert claim.verified == Verified(31, ran=True, glibc=(2, 28))
    assert claim.definition.parameters.arch == "x86_64"
    assert claim.definition.said("interpreter", "version") == "3.11.2"
    assert claim.definition.said("nothing", "version") is None


def test_an_image_may_need_no_glibc(recipe, beside):
    assert provenance.read(beside(stated(recipe, verified=Verified(3, ran=False)))).verified.glibc is None


def hostile(document, *steps):
    """Put a value at a place of a document."""
    *way, last, value = steps
    whole = json.loads(json.dumps(document))
    inner = whole
    for step in way:
        inner = inner[step]
    inner[last] = value
    return whole


@pytest.mark.parametrize(
    "steps",
    [
        ("_type", "https://in-toto.io/Statement/v0.1"),
        ("predicateType", "https://slsa.dev/provenance/v0.2"),
        ("subject", []),
        ("subject", 0, "digest", {"sha512": IMAGE}),
        ("subject", 0, "digest", "sha256", f"{IMAGE}\n"),
        ("subject", 0, "digest", "sha256", IMAGE[1:]),
        ("predicate", "runDetails", "launcher_buildKey", 7),
        ("predicate", "runDetails", "launcher_verified", "checks", "31"),
        ("predicate", "runDetails", "launcher_verified", "checks", -1),
        ("predicate", "runDetails", "launcher_verified", "checks", 10_001),
        ("predicate", "runDetails", "launcher_verified", "checks", 10**4000),
        ("predicate", "buildDefinition", "buildType", "https://example.org/other"),
        ("predicate", "buildDefinition", "externalParameters", "arch", "\x1b[31mred"),
    ],
)
def test_what_is_not_such_a_statement_is_refused(recipe, beside, steps):
    with pytest.raises(InvalidFile, match="no provenance"):
        provenance.read(beside(hostile(stated(recipe), *steps)))


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 200_000, b'{"_type": NaN}'])
def test_what_is_no_object_is_refused(beside, content):
    with pytest.raises(InvalidFile, match="no provenance"):
        provenance.read(beside(content))


def test_a_file_that_is_too_large_is_refused(beside):
    with pytest.raises(InvalidFile, match="larger than 4 MB"):
        provenance.read(beside(b" " * (provenance.LARGEST + 1)))


def test_only_a_regular_file_is_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(InvalidFile, match="no regular file"):
            provenance.read(path)


def test_what_is_wrong_is_told_in_signs_that_can_be_printed(recipe, beside):
    digest = {"\x1b[31m": "no digest"}
    steps = ("predicate", "buildDefinition", "resolvedDependencies", 0, "digest", digest)
    with pytest.raises(InvalidFile) as refused:
        provenance.read(beside(hostile(stated(recipe), *steps)))
    assert str(refused.value).isprintable()


def test_inputs_inside_of_an_image_are_read_back(recipe):
    definition = provenance.read_inputs(provenance.written(inputs(recipe)))
    assert definition.parameters.glibc == "2.31"
    assert definition.said(provenance.LOCK, "locked") == "2026-11-22"
    assert provenance.read_inputs(b"{}") is None


def test_what_lies_beside_an_image_is_named_after_it():
    assert provenance.beside(Path("/images/j.squashfs"), "provenance") == Path("/images/j.provenance.json")
    assert provenance.beside(Path("j"), "sbom.cdx") == Path("j.sbom.cdx.json")
