"""The directory that an engine builds from: all of it, and nothing of tools that are others by now."""

import os
import shutil
import subprocess

import pytest
from small_recipe import small_recipe
from support import program

from launcher.builder.container.context import make_context
from launcher.builder.container.recipe import ContainerRecipe
from launcher.builder.digest import sha256_of
from launcher.builder.order import Built
from launcher.builder.provenance import Verified
from launcher.builder.report import VERIFY
from launcher.errors import BuildFailed

PINNED = f"registry.example.org/base/image:1.0@sha256:{'2b' * 32}"


@pytest.fixture
def recipe(tmp_path):
    directory = small_recipe(tmp_path / "small")
    (directory / "container.yaml").write_text(f"name: small\nbase: {PINNED}\ntools: .\n")
    (directory / "Dockerfile").write_text(f"ARG BASE_IMAGE={PINNED}\nFROM ${{BASE_IMAGE}}\n")
    (directory / ".containerignore").write_text("*\n")
    return ContainerRecipe.load(directory)


@pytest.fixture
def tools(tmp_path):
    """An image of tools, whose files are nobody's."""
    tree = tmp_path / "tree"
    for name in ("env/small/bin/program", VERIFY):
        (tree / name).parent.mkdir(parents=True)
        (tree / name).write_text(name)
    image = tmp_path / "tools.squashfs"
    pack(tree, image)
    shutil.rmtree(tree)
    verified = Verified(1, ran=True, glibc=(2, 36))
    return Built(image, "small", "1.0", "x86_64", sha256_of(image), 1, False, 1.0, verified)


def pack(tree, image):
    owner = ["-force-uid", "65534", "-force-gid", "65534"]
    command = [program("mksquashfs"), tree, image, "-noappend", "-quiet", "-no-progress", *owner]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def context(tmp_path):
    context = tmp_path / "context"
    (context / "kernel").mkdir(parents=True)
    return context


def test_it_holds_the_tools_what_describes_them_and_the_recipe(context, recipe, tools):
    make_context(context, recipe, tools, {"sbom.cdx.json": b"{}"})
    assert sorted(each.name for each in context.iterdir()) == [
        ".containerignore",
        "Dockerfile",
        "kernel",
        "tools",
    ]
    assert (context / "tools/bin/program").read_text() == "env/small/bin/program"
    meta = context / "tools/meta/container"
    assert (meta / "container.yaml").read_text() == (recipe.directory / "container.yaml").read_text()
    assert (meta / "sbom.cdx.json").read_bytes() == b"{}"
    assert (context / "kernel/kernel.py").is_file()


def test_the_tools_belong_to_who_builds(context, recipe, tools):
    make_context(context, recipe, tools, {})
    owners = {(each.lstat().st_uid, each.lstat().st_gid) for each in (context / "tools").rglob("*")}
    assert owners == {(os.geteuid(), os.getegid())}


def test_tools_that_another_launcher_has_replaced_are_refused(context, recipe, tools, tmp_path):
    (tmp_path / "other").mkdir()
    pack(tmp_path / "other", tools.image)
    with pytest.raises(BuildFailed, match="Another launcher has replaced the tools") as error:
        make_context(context, recipe, tools, {})
    assert error.value.todo == "Build again."
    assert not (context / "tools").exists()


def test_tools_that_are_no_image_are_told_with_the_reason(context, recipe, tools):
    tools.image.write_bytes(b"no image")
    with pytest.raises(BuildFailed, match="could not be unpacked") as error:
        make_context(context, recipe, tools._replace(sha256=sha256_of(tools.image)), {})
    assert error.value.why
