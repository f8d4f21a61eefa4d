"""Squashfs files: the same bytes from the same tree, and what they hold, whatever its names."""

import os
from pathlib import Path

import pytest
from support import program

from launcher.builder import squashfs
from launcher.errors import BuildFailed, LauncherError, MissingPart

EPOCH = 1_700_000_000


@pytest.fixture
def tree(tmp_path):
    program("mksquashfs")
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/tool").write_text("#!/bin/sh\n")
    (tree / "bin/tool").chmod(0o755)
    (tree / "bin/again").hardlink_to(tree / "bin/tool")
    (tree / "link").symlink_to("bin/tool")
    return tree


def packed(tree, name="image.squashfs", compression="zstd"):
    image = tree.with_name(name)
    squashfs.pack(tree, image, EPOCH, compression)
    return image


@pytest.mark.parametrize("compression", squashfs.COMPRESSIONS)
def test_the_same_tree_gives_the_same_bytes(tree, compression, monkeypatch):
    first = packed(tree, "first", compression).read_bytes()
    os.utime(tree / "link", (1, 1), follow_symlinks=False)
    (tree / "bin/again").unlink()
    (tree / "bin/again").write_text("#!/bin/sh\n")
    (tree / "bin/again").chmod(0o755)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "7")
    assert packed(tree, "second", compression).read_bytes() == first


def test_an_image_is_replaced_not_added_to(tree):
    first = packed(tree).read_bytes()
    assert packed(tree).read_bytes() == first


def test_entries_tell_kind_size_mode_and_target(tree):
    os.mkfifo(tree / "pipe", 0o644)
    (tree / "bin/tool").chmod(0o6711)
    found = {each.path: each for each in squashfs.entries(packed(tree))}
    assert found["."].kind == found["bin"].kind == "directory"
    assert found["bin/tool"] == ("bin/tool", "file", 10, 0o6711, "")
    assert found["link"][1:] == ("link", 8, 0o777, "bin/tool")
    assert found["pipe"].kind == "fifo"
    assert next(iter(found)) == "."


@pytest.mark.parametrize(
    "name", ["a b", "two\nlines", "a -> b", "a\n-rwsr-xr-x 1 2020-01-01 00:00 squashfs-root", "*", "\udcff"]
)
def test_names_may_hold_anything(tree, name):
    (tree / name).write_text("content")
    (tree / f"{name} to").symlink_to("../-> \n")
    image = packed(tree)
    found = {each.path: each for each in squashfs.entries(image)}
    assert len(found) == 7
    assert found[name].size == 7
    assert found[f"{name} to"].target == "../-> \n"
    assert squashfs.read(image, name) == b"content"


@pytest.mark.parametrize("path", ["absent", "bin", "*/tool", "../tree"])
def test_what_is_no_file_can_not_be_read(tree, path):
    with pytest.raises(FileNotFoundError):
        squashfs.read(packed(tree), path)


def test_several_files_are_read_one_after_the_other(tree):
    (tree / "-x").write_text("1")
    (tree / "empty").write_text("")
    assert squashfs.read(packed(tree), "-x", "empty", "bin/tool") == b"1#!/bin/sh\n"


def test_no_more_is_read_than_was_asked_for(tree):
    (tree / "bomb").write_bytes(bytes(50_000_000))
    image = packed(tree)
    assert squashfs.read(image, "bin/tool", most=10) == b"#!/bin/sh\n"
    for path, most in (("bin/tool", 9), ("bomb", 1000)):
        with pytest.raises(LauncherError, match=f"is larger than {most:,} bytes"):
            squashfs.read(image, path, most=most)


def test_an_image_of_too_many_files_is_not_listed(tree, monkeypatch):
    monkeypatch.setattr("launcher.builder.squashfs._LONGEST_LIST", 50)
    with pytest.raises(LauncherError, match="too many files"):
        list(squashfs.entries(packed(tree)))


def test_images_whose_names_begin_with_a_dash_are_no_options(tree, monkeypatch):
    monkeypatch.chdir(packed(tree, "-help").parent)
    assert squashfs.read(Path("-help"), "bin/tool") == b"#!/bin/sh\n"
    assert len(list(squashfs.entries(Path("-help")))) == 5


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["fifo", "directory"])
def test_only_regular_files_are_images(tmp_path, make):
    make(tmp_path / "odd")
    (tmp_path / "link").symlink_to("odd")
    for name in ("odd", "link"):
        with pytest.raises(LauncherError, match="is no squashfs file"):
            list(squashfs.entries(tmp_path / name))


def test_links_to_images_are_images(tree):
    (tree.parent / "link").symlink_to(packed(tree))
    assert squashfs.read(tree.parent / "link", "bin/tool") == b"#!/bin/sh\n"


def test_what_is_wrong_is_told_in_signs_that_can_be_printed(tree):
    (tree / "\x1b[31m\udcff").write_bytes(os.urandom(300_000))
    image = packed(tree, "\x1b[31m\udcff")
    image.write_bytes(image.read_bytes()[:200_000])
    for fails in (lambda: list(squashfs.entries(image)), lambda: squashfs.read(image, "\x1b[31m\udcff")):
        with pytest.raises(LauncherError) as error:
            fails()
        assert str(error.value).replace("\n", "").isprintable()


def test_a_damaged_image_is_told_from_a_whole_one(tree):
    (tree / "data").write_bytes(os.urandom(300_000))
    image = packed(tree)
    image.write_bytes(image.read_bytes()[:200_000])
    with pytest.raises(LauncherError, match="damaged, or incomplete"):
        list(squashfs.entries(image))
    with pytest.raises(LauncherError, match="damaged, or incomplete"):
        squashfs.read(image, "data")


def test_what_is_no_image_is_named(tree):
    with pytest.raises(LauncherError, match="no squashfs file"):
        list(squashfs.entries(tree / "bin/tool"))
    with pytest.raises(LauncherError, match="No such file"):
        list(squashfs.entries(tree / "absent"))


def test_an_image_that_can_not_be_made_leaves_no_file(tree, tmp_path):
    with pytest.raises(BuildFailed, match="mksquashfs could not make"):
        squashfs.pack(tmp_path / "absent", tmp_path / "image", EPOCH, "zstd")
    assert not (tmp_path / "image").exists()


def test_without_squashfs_tools_it_says_how_to_get_them(tree, monkeypatch):
    image = packed(tree)
    monkeypatch.setattr("launcher.builder.program.shutil.which", lambda *_, **__: None)
    with pytest.raises(MissingPart, match="apt-get install squashfs-tools"):
        list(squashfs.entries(image))
