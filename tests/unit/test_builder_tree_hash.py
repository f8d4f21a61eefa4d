"""One hash for a directory: what counts, and what does not."""

import os

import pytest

from launcher.builder.tree_hash import tree_hash
from launcher.errors import BuildFailed


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/run").write_text("#!/bin/sh\n")
    (tmp_path / "bin/run").chmod(0o755)
    (tmp_path / "bin/link").symlink_to("run")
    (tmp_path / "empty").mkdir()
    (tmp_path / os.fsdecode(b"n\xffme")).write_text("text")
    return tmp_path


def test_times_owners_and_other_permissions_do_not_count(tree):
    before = tree_hash(tree)
    os.utime(tree / "bin/run", (0, 0))
    (tree / "bin/run").chmod(0o700)
    (tree / "empty").chmod(0o700)
    assert tree_hash(tree) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: (tree / "bin/run").write_text("#!/bin/bash\n"),
        lambda tree: (tree / "bin/run").chmod(0o644),
        lambda tree: (tree / "bin/run").rename(tree / "run"),
        lambda tree: (tree / "empty").rmdir(),
        lambda tree: ((tree / "bin/link").unlink(), (tree / "bin/link").symlink_to("../bin/run")),
        lambda tree: ((tree / "bin/link").unlink(), (tree / "bin/link").write_text("run")),
    ],
    ids=["content", "executable", "path", "directory", "target", "kind"],
)
def test_all_else_counts(tree, change):
    before = tree_hash(tree)
    change(tree)
    assert tree_hash(tree) != before


def test_a_link_to_a_directory_is_not_followed(tree):
    (tree / "up").symlink_to(".")
    assert len(tree_hash(tree)) == 64


def test_what_is_no_file_is_refused(tree):
    os.mkfifo(tree / "pipe")
    with pytest.raises(BuildFailed, match="pipe is neither"):
        tree_hash(tree)


def test_a_directory_that_is_not_there_is_told(tmp_path):
    with pytest.raises(BuildFailed, match="can't be read"):
        tree_hash(tmp_path / "none")
