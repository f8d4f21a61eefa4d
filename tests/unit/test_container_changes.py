"""What an image holds more, or otherwise, than its base: nothing that was changed stays unseen."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rights import give_rights, may_have_rights
from support import program

from launcher.builder.container import changes as module
from launcher.builder.container.changes import Changes, changes

NAMES = st.sampled_from(["a", "b", "c d", "-e", "ü", "new\nline"])
FILES = st.tuples(st.binary(max_size=8), st.sampled_from([0o644, 0o755, 0o4755, 0o600]))
LINKS = st.sampled_from(["a", "../b", "/etc/passwd", "nowhere"])
TREES = st.recursive(
    st.dictionaries(NAMES, FILES | LINKS, max_size=3),
    lambda inner: st.dictionaries(NAMES, FILES | LINKS | inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture
def two(tmp_path):
    """A directory and a copy of it."""
    one = tmp_path / "one"
    make(one, {"file": (b"content", 0o644), "link": "file", "inner": {"other": (b"more", 0o755)}})
    return one, copied(one)


def make(directory, tree):
    directory.mkdir()
    for name, each in tree.items():
        path = directory / name
        if isinstance(each, dict):
            make(path, each)
        elif isinstance(each, str):
            path.symlink_to(each)
        else:
            path.write_bytes(each[0])
            path.chmod(each[1])


def copied(directory, **how):
    return Path(shutil.copytree(directory, directory.with_name("two"), symlinks=True, **how))


def paths(directory):
    return sorted(directory.rglob("*"))


def fill(path):
    """Write something else of the same size, if there is any; the file is as old as it was."""
    before = path.stat()
    path.write_bytes(bytes(each ^ 1 for each in path.read_bytes()) or b"x")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def lead_elsewhere(path):
    target = path.readlink()
    path.unlink()
    path.symlink_to(f"{target}x")


def remove(path):
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def become_a_pipe(path):
    remove(path)
    os.mkfifo(path)


def become_a_link_to_the_same(path):
    aside = next(each for each in path.parents if each.name == "two").with_name("aside")
    shutil.move(path, aside)
    path.symlink_to(aside)


def belong(path, user, group):
    mode = path.lstat().st_mode
    os.chown(path, user, group, follow_symlinks=False)
    if not path.is_symlink():
        # The kernel has taken setuid away.
        path.chmod(stat.S_IMODE(mode))


def mutations(path):
    """Yield what can happen to a file, a link or a directory, with the words for it."""
    yield remove, "is gone"
    yield become_a_pipe, "is of another kind"
    if path.is_symlink():
        yield lead_elsewhere, "leads elsewhere"
    else:
        yield become_a_link_to_the_same, "is of another kind"
        yield lambda one: one.chmod(stat.S_IMODE(one.stat().st_mode) ^ 0o2000), "has other permissions"
        if path.is_file():
            yield fill, "has another content"
    if os.geteuid() == 0:
        yield lambda one: belong(one, 1, -1), "has another owner"
        yield lambda one: belong(one, -1, 1), "has another owner"


@settings(max_examples=20)
@given(TREES)
def test_a_copy_is_no_change(tree):
    with tempfile.TemporaryDirectory() as directory:
        one = Path(directory, "one")
        make(one, tree)
        files = [path for path in paths(one) if path.is_symlink() or not path.is_dir()]
        assert changes(one, copied(one)) == Changes(len(files), [], [])


@settings(max_examples=60)
@given(TREES.filter(bool), st.data())
def test_each_change_is_seen_and_told_with_its_path(tree, data):
    with tempfile.TemporaryDirectory() as directory:
        one = Path(directory, "one")
        make(one, tree)
        two = copied(one)
        path = data.draw(st.sampled_from(paths(two)).map(lambda each: each.relative_to(two)))
        mutate, words = data.draw(st.sampled_from(list(mutations(two / path))))
        mutate(two / path)
        found = changes(one, two)
        (told,) = found.changed
        assert told.startswith(f"{path}: {words}")
        assert not found.added


@settings(max_examples=20)
@given(TREES, st.data())
def test_what_is_added_is_told_with_its_path_alone(tree, data):
    with tempfile.TemporaryDirectory() as directory:
        one = Path(directory, "one")
        make(one, tree)
        two = copied(one)
        places = [two, *(path for path in paths(two) if path.is_dir() and not path.is_symlink())]
        place = data.draw(st.sampled_from(places))
        make(place / "added", {"inner": (b"", 0o644)})
        assert changes(one, two)[1:] == ([str((place / "added").relative_to(two))], [])


def test_the_top_itself_counts(two):
    two[1].chmod(0o777)
    assert changes(*two).changed == [".: has other permissions: 755, 777"]


def test_several_changes_are_told_in_order(two):
    fill(two[1] / "inner/other")
    (two[1] / "file").unlink()
    (two[1] / "z").touch()
    (two[1] / "b").touch()
    assert changes(*two) == Changes(1, ["b", "z"], ["file: is gone", "inner/other: has another content"])


def test_files_of_a_layer_that_both_have_are_not_read(two, tmp_path, monkeypatch):
    shutil.rmtree(two[1])
    linked = copied(two[0], copy_function=os.link)
    monkeypatch.setattr(module.filecmp, "cmp", None)
    assert changes(two[0], linked) == Changes(3, [], [])


def test_another_file_under_the_name_is_seen_even_if_the_first_has_it_elsewhere(two):
    one, other = two
    (one / "same-size").write_bytes(b"CONTENT")
    os.link(one / "same-size", other / "same-size")
    (other / "file").unlink()
    os.link(one / "same-size", other / "file")
    assert changes(one, other).changed == ["file: has another content"]


def test_rights_of_root_that_a_program_gets_are_seen_and_so_are_others(two):
    one, other = (each / "file" for each in two)
    may_have_rights(two[0])
    give_rights(other)
    assert changes(*two).changed == ["file: has other capabilities"]
    give_rights(one)
    assert changes(*two).changed == []
    give_rights(one, 1)
    assert changes(*two).changed == ["file: has other capabilities"]


OVERLAYS = """
import json, os, subprocess, sys
from pathlib import Path
from launcher.builder.container.changes import changes
os.chdir(sys.argv[1])
subprocess.run("mount -t tmpfs tmpfs .".split(), check=True)
os.chdir(sys.argv[1])
Path("lower").mkdir()
for name in ("kept", "changed", "touched"):
    Path("lower", name).write_text("content")
for name in ("one", "two"):
    for each in (name, f"{name}-upper", f"{name}-work"):
        Path(each).mkdir()
    where = f"lowerdir=lower,upperdir={name}-upper,workdir={name}-work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", where, name], check=True)
for name, text in (("changed", "CONTENT"), ("touched", "content")):
    file = Path("two", name)
    before = file.stat()
    with file.open("r+") as opened:
        opened.write(text)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
same = [Path("one", name).stat().st_ino == Path("two", name).stat().st_ino for name in ("kept", "changed")]
print(json.dumps([same, changes(Path("one"), Path("two"))]))
"""


def test_what_is_written_in_place_over_a_layer_is_seen_though_number_size_and_time_are_the_same(tmp_path):
    own = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = [program("unshare"), *own, "--mount", "--propagation", "private", "--", sys.executable, "-c"]
    done = subprocess.run([*command, OVERLAYS, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    same, found = json.loads(done.stdout)
    assert same == [True, True]
    assert found == [2, [], ["changed: has another content"]]
