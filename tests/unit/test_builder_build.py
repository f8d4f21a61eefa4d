"""Builds, whose slow steps are stood in for: what is made anew, what is kept, and what gets a name."""

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest
from quiet import Silent
from small_recipe import small_recipe
from support import program

from launcher.builder import build as steps
from launcher.builder import provenance, squashfs
from launcher.builder.build import build
from launcher.builder.interpreter import Interpreter
from launcher.builder.order import Order
from launcher.builder.recipe import Recipe
from launcher.builder.report import Check, Report
from launcher.builder.wheels import Wheel
from launcher.errors import BuildFailed, CheckFailed, InvalidFile, MissingPart, UsageError

GOOD = Report((Check("it works", ok=True, text=""),), ran=True, seconds=0.1, glibc=(2, 31))
BAD = Report((Check("it works", ok=False, text="It does not."),), ran=True, seconds=0.1)


class Steps:
    """What stands in for the slow steps, and which of them were taken.

    Attributes:
        taken: Their names, in order.
        report: What `verify` says.
        broken: Step → what it raises.
    """

    def __init__(self, monkeypatch):
        self.taken = []
        self.report = GOOD
        self.broken = {}
        self._pack = squashfs.pack
        for name in ("fetch", "prepare", "assemble", "verify"):
            monkeypatch.setattr(steps, name, getattr(self, name))
        monkeypatch.setattr(steps, "closure", lambda *_: [])
        monkeypatch.setattr(squashfs, "pack", self.pack)
        monkeypatch.setattr(steps, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
        monkeypatch.setattr(steps, "bound", lambda *_: ["true"])

    def _take(self, name):
        self.taken.append(name)
        if name in self.broken:
            raise self.broken[name]

    def fetch(self, *_):
        self._take("fetch")
        return []

    def prepare(self, *_):
        return Interpreter(Path("/python"), "3.11.2", "0" * 64, "nobody's")

    def assemble(self, plan, tree, progress):
        (tree / "meta").mkdir()
        (tree / "program").write_text("#!/bin/sh\n")
        (tree / "program").chmod(0o755)
        self._take("assemble")

    def pack(self, tree, image, epoch, compression):
        self._pack(tree, image, epoch, compression)
        if tree.name == "tree":
            self._take("pack")

    def verify(self, image, *_, build_paths):
        assert image.is_file()
        self.build_paths = build_paths
        self._take("verify")
        return self.report


@pytest.fixture
def taken(monkeypatch):
    program("mksquashfs")
    return Steps(monkeypatch)


@pytest.fixture
def order(tmp_path):
    recipe = Recipe.load(small_recipe(tmp_path / "recipe"))
    (tmp_path / "out").mkdir()
    return Order(recipe, "x86_64", (2, 31), output=tmp_path / "out", cache=tmp_path / "cache")


def made(order):
    """Build, and return the image."""
    return build(order, Silent()).image


def names(directory):
    return sorted(path.name for path in directory.iterdir())


ALL = ["fetch", "assemble", "pack", "verify"]


def test_an_image_that_passed_gets_its_name_with_what_tells_of_it(order, taken):
    built = build(order, Silent())
    assert taken.taken == ALL
    version = built.version
    assert names(order.output) == [
        f"small-{version}-x86_64.{kind}" for kind in ("provenance.json", "sbom.cdx.json", "squashfs")
    ]
    assert (built.name, built.arch, built.unchanged) == ("small", "x86_64", False)
    assert built.size == built.image.stat().st_size
    claim = provenance.read(provenance.beside(built.image, "provenance"))
    assert (claim.sha256, claim.verified) == (built.sha256, built.verified)
    assert names(order.cache / "work") == [f"{claim.build_key}.lock"]
    assert json.loads(json.dumps(built.plain()))["verified"] == {"checks": 1, "ran": True, "glibc": "2.31"}


def test_it_holds_what_it_says_of_itself_and_its_recipe(order, taken):
    image = made(order)
    held = {each.path for each in squashfs.entries(image)}
    recipe = {f"meta/recipe/{path.name}" for path in order.recipe.directory.iterdir()}
    assert {"program", "meta/env.json", "meta/sbom.cdx.json", "meta/recipe/checks.py", *recipe} <= held
    assert json.loads(squashfs.read(image, "meta/env.json")) == order.recipe.image.description_of_itself()
    told = squashfs.read(image, "meta/provenance.json")
    assert provenance.read_inputs(told).said("interpreter", "version") == "3.11.2"
    assert str(order.cache).encode() not in told
    assert squashfs.read(image, "meta/sbom.cdx.json") == provenance.beside(image, "sbom.cdx").read_bytes()


def test_it_holds_this_project_with_the_extras_that_its_recipe_names(order, taken, monkeypatch):
    wheel = Wheel(Path("project.whl"), "firecrest-launcher", "1.0", "0" * 64)
    monkeypatch.setattr(steps, "project", lambda _: wheel)
    asked = []
    monkeypatch.setattr(steps, "closure", lambda wheels, roots, *_: asked.append((wheels, roots)) or [])
    image = order.recipe.image.model_copy(update={"launcher": True, "extras": ("hub", "build")})
    made(order._replace(recipe=order.recipe._replace(image=image)))
    assert asked == [([wheel], ["click", "firecrest-launcher[hub,build]"])]


def test_the_same_again_takes_no_step(order, taken):
    before = build(order, Silent())
    taken.taken.clear()
    after = build(order, Silent())
    assert taken.taken == []
    assert after.unchanged
    assert (after.sha256, after.verified) == (before.sha256, before.verified)


def test_another_cache_and_another_place_give_the_same_bytes(order, taken, tmp_path):
    first = build(order, Silent())
    before = os.umask(0o077)
    try:
        (tmp_path / "there").mkdir()
        second = build(
            order._replace(output=tmp_path / "there/x.squashfs", cache=tmp_path / "other"), Silent()
        )
    finally:
        os.umask(before)
    assert second.sha256 == first.sha256
    assert second.image == tmp_path / "there/x.squashfs"
    assert names(tmp_path / "there") == ["x.provenance.json", "x.sbom.cdx.json", "x.squashfs"]


def truncated(image):
    with image.open("r+b") as file:
        file.truncate(image.stat().st_size // 2)


def of_another_key(image):
    path = provenance.beside(image, "provenance")
    key = provenance.read(path).build_key
    path.write_text(path.read_text().replace(key, "0" * 64))


@pytest.mark.parametrize(
    "spoil",
    [
        Path.unlink,
        truncated,
        lambda image: image.write_bytes(image.read_bytes() + b"\0"),
        lambda image: provenance.beside(image, "provenance").unlink(),
        lambda image: provenance.beside(image, "sbom.cdx").unlink(),
        lambda image: provenance.beside(image, "sbom.cdx").write_text("junk"),
        lambda image: provenance.beside(image, "provenance").write_text("{}"),
        lambda image: provenance.beside(image, "provenance").write_bytes(b"\xff\0"),
        of_another_key,
    ],
    ids=[
        "gone",
        "truncated",
        "longer",
        "no provenance",
        "no SBOM",
        "another SBOM",
        "empty provenance",
        "no text",
        "another key",
    ],
)
def test_an_image_that_is_not_what_is_said_of_it_is_made_anew(order, taken, spoil):
    before = build(order, Silent())
    taken.taken.clear()
    spoil(before.image)
    after = build(order, Silent())
    assert (after.unchanged, after.sha256) == (False, before.sha256)
    assert taken.taken == ALL


@pytest.mark.parametrize("name", ["image.yaml", "requirements.in", "requirements.txt", "verify"])
def test_an_image_of_another_recipe_is_made_anew(order, taken, name):
    made(order)
    taken.taken.clear()
    path = order.recipe.directory / name
    path.write_text(f"{path.read_text()}# more\n")
    build(order._replace(recipe=Recipe.load(order.recipe.directory)), Silent())
    assert taken.taken == ALL


def test_an_image_for_another_c_library_is_made_anew(order, taken):
    made(order)
    taken.taken.clear()
    made(order._replace(glibc=(2, 28)))
    assert taken.taken == ALL


def test_one_that_did_not_pass_gets_no_name_and_the_older_one_stays(order, taken):
    old = made(order)
    before = {path: path.read_bytes() for path in order.output.iterdir()}
    taken.report = BAD
    other = order._replace(glibc=(2, 28))
    with pytest.raises(CheckFailed) as error:
        build(other, Silent())
    assert error.value.why == "it works: It does not."
    assert {path: path.read_bytes() for path in order.output.iterdir()} == before
    taken.taken.clear()
    taken.report = GOOD
    assert made(other) == old
    # What failed may be what was kept.
    assert taken.taken == ALL


@pytest.mark.parametrize(("step", "spoilt"), [("pack", "tree/program"), ("verify", "image.squashfs")])
def test_what_was_kept_of_an_interrupted_one_and_altered_since_is_made_anew(order, taken, step, spoilt):
    good = build(order, Silent()).sha256
    taken.broken = {step: KeyboardInterrupt()}
    other = order._replace(output=order.output / "other.squashfs")
    with pytest.raises(KeyboardInterrupt):
        build(other, Silent())
    (work,) = (path for path in (order.cache / "work").iterdir() if path.is_dir())
    (work / spoilt).write_bytes((work / spoilt).read_bytes() + b"evil")
    taken.broken = {}
    taken.taken.clear()
    assert build(other, Silent()).sha256 == good
    assert taken.taken == (ALL if step == "pack" else ["fetch", "pack", "verify"])


@pytest.mark.parametrize("part", [".", "wheels", "work", "work/key"])
def test_a_cache_that_others_can_write_to_is_refused(order, taken, part):
    path = order.cache / part
    path.mkdir(parents=True)
    path.chmod(0o775)
    with pytest.raises(BuildFailed, match="Others can write to the cache"):
        build(order, Silent())
    assert taken.taken == []


def test_what_it_makes_in_the_cache_nobody_else_can_write_to(order, taken):
    old = os.umask(0o002)
    try:
        build(order, Silent())
        assert os.umask(0o002) == 0o002
    finally:
        os.umask(old)
    assert not [
        path for path in order.cache.rglob("*") if path.lstat().st_mode & 0o022 and not path.is_symlink()
    ]


def test_an_output_that_takes_no_files_is_told_before_any_step(order, taken):
    with pytest.raises(BuildFailed):
        build(order._replace(output=Path("/proc/image.squashfs")), Silent())
    assert taken.taken == []


@pytest.mark.parametrize("part", ["pack", "run", "bound"])
def test_what_this_machine_lacks_is_told_before_any_step(order, taken, monkeypatch, part):
    def lacks(*_, **__):
        raise MissingPart("It is not there.")

    monkeypatch.setattr(squashfs if part == "pack" else steps, part, lacks)
    with pytest.raises(MissingPart):
        build(order, Silent())
    assert taken.taken == []


@pytest.mark.parametrize(
    ("step", "again"),
    [
        ("fetch", ALL),
        ("assemble", ALL),
        ("pack", ["fetch", "pack", "verify"]),
        ("verify", ["fetch", "verify"]),
    ],
)
def test_one_that_was_interrupted_goes_on_where_it_was(order, taken, step, again):
    taken.broken = {step: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        build(order, Silent())
    assert names(order.output) == []
    taken.broken = {}
    taken.taken.clear()
    built = build(order, Silent())
    assert taken.taken == again
    assert not built.unchanged


@pytest.mark.parametrize("step", ["fetch", "assemble", "verify"])
def test_a_full_disk_is_said_in_words(order, taken, step):
    taken.broken = {step: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/scratch/x")}
    with pytest.raises(BuildFailed) as error:
        build(order, Silent())
    assert error.value.why == "No space left on device: /scratch/x."
    assert names(order.output) == []


def test_what_does_not_go_together_is_refused_before_any_step(order, taken, tmp_path):
    with pytest.raises(UsageError, match="There is no directory"):
        build(order._replace(output=tmp_path / "none"), Silent())
    with pytest.raises(UsageError, match="There is no directory"):
        build(order._replace(output=tmp_path / "none/x.squashfs"), Silent())
    with pytest.raises(UsageError, match="hold no VS Code"):
        build(order._replace(code_server=tmp_path / "code-server.tar.gz"), Silent())
    unpinned = order.recipe.image.model_copy(update={"version": "absent"})
    with pytest.raises(InvalidFile, match="pins no absent, whose version is the image's"):
        build(order._replace(recipe=order.recipe._replace(image=unpinned)), Silent())
    assert taken.taken == []


@pytest.mark.parametrize(
    ("prefix", "told"), [("/usr", False), ("/usr/local", False), ("/opt/venv", False), ("/home/a/venv", True)]
)
def test_paths_of_this_machine_are_looked_for_unless_many_machines_have_them(
    order, taken, monkeypatch, prefix, told
):
    monkeypatch.setattr("sys.prefix", prefix)
    made(order)
    assert (prefix in taken.build_paths) is told
    assert {str(order.cache), str(order.recipe.directory)} < set(taken.build_paths)
