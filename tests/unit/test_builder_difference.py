"""How two images differ, and how far an image is from a lock."""

import json
from datetime import date

import pytest

from launcher.builder import squashfs
from launcher.builder.difference import Change, Grown, age, difference, own_lock
from launcher.builder.inspection import inspect
from launcher.builder.recipe import recipes_directory
from launcher.errors import InvalidFile, LauncherError

SITE = "env/jupyter/lib/python3.11/site-packages"
LOCK = """\
# locked: 2026-11-22
same==1.0 \\
    --hash=sha256:{0}
newer==2.0 \\
    --hash=sha256:{0}
other==1.0 ; python_full_version >= '3.12' \\
    --hash=sha256:{0}
other==0.9 ; python_full_version < '3.12' \\
    --hash=sha256:{0}
unused==1.0 \\
    --hash=sha256:{0}
""".format("ab" * 32)


@pytest.fixture
def image(tmp_path):
    """Make an image of packages, with what it says of itself and other files."""

    def make(name="image", packages=(), files=None, epoch=0, **described):
        tree = tmp_path / name
        env = {"name": "jupyterlab", "mount": "/user-tools", "views": {}} | described
        content = {"meta/env.json": json.dumps(env), **(files or {})}
        for package, version, size in packages:
            content[f"{SITE}/{package}.py"] = "x" * size
            content[f"{SITE}/{package}-{version}.dist-info/RECORD"] = f"{package}.py,,\n"
        for path, text in content.items():
            file = tree / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        squashfs.pack(tree, tmp_path / f"{name}.squashfs", epoch, "zstd")
        return tmp_path / f"{name}.squashfs"

    return make


@pytest.fixture
def lock(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text(LOCK)
    return path


def test_images_that_are_the_same_bit_for_bit_are_told_as_such(image):
    found = difference(image("a"), image("b"))
    assert found.identical
    assert found.equal


def test_images_of_the_same_files_at_other_times_are_equal(image):
    found = difference(image("a"), image("b", epoch=1000), files=True)
    assert not found.identical
    assert found.equal
    assert found.files == ()


def test_packages_that_came_went_or_changed_count(image):
    before = image("a", [("gone", "1.0", 5), ("stays", "1.0", 5), ("changed", "1.0", 5)])
    found = difference(before, image("b", [("new", "3.0", 5), ("stays", "1.0", 5), ("changed", "2.0", 5)]))
    assert found.packages == (
        Change("changed", "1.0", "2.0"),
        Change("gone", "1.0", ""),
        Change("new", "", "3.0"),
    )
    assert not found.equal


def test_the_interpreter_counts_as_packages_do(image):
    other = image("b", files={"env/jupyter/lib/python3.12/a.py": ""})
    found = difference(image("a", files={"env/jupyter/lib/python3.11/a.py": ""}), other)
    assert found.packages == (Change("(interpreter)", "3.11", "3.12"),)


def test_what_they_say_of_themselves_counts(image):
    values = {"scalar": {"A": "b"}}
    other = image("b", mount="/elsewhere", views={"v": {"description": "New", "env": {"values": values}}})
    found = difference(image("a"), other)
    assert found.metadata == (Change("mount", "/user-tools", "/elsewhere"), Change("view v", "", "New; A=b"))
    assert not found.equal


def test_what_a_view_changes_counts(image):
    before, after = (
        image(name, views={"v": {"env": {"values": {"scalar": {"A": value}}}}})
        for name, value in (("a", "1"), ("b", "2"))
    )
    assert difference(before, after).metadata == (Change("view v", "A=1", "A=2"),)


def test_for_which_machines_they_were_built_counts(image, monkeypatch):
    before, after = (inspect(image(name))._replace(gpu=gpu) for name, gpu in (("a", False), ("b", True)))
    looks = iter([before, after])
    monkeypatch.setattr("launcher.builder.difference.inspect", lambda _: next(looks))
    (tmp := after.path).write_bytes(tmp.read_bytes() + b"x")
    assert difference(before.path, after.path).metadata == (Change("for GPUs", "no", "yes"),)


def test_room_is_told_the_most_changed_first_and_does_not_count(image):
    before = image("a", [("one", "1.0", 10), ("two", "1.0", 10), ("same", "1.0", 10)])
    after = image("b", [("one", "1.0", 15), ("two", "1.0", 1000), ("same", "1.0", 10)])
    found = difference(before, after)
    (two, one) = found.sizes
    assert (two.name, two.after - two.before) == ("two", 990)
    assert (one.name, one.after - one.before) == ("one", 5)
    assert found.equal


def test_room_that_belongs_to_no_package_is_told_too(image):
    found = difference(image("a"), image("b", files={"code-server/a": "xyz"}))
    assert found.sizes == (Grown("code-server/", 0, 3),)


def test_files_are_compared_when_asked_for(image):
    before = image("a", files={"gone": "x", "grown": "x", "same": "x"})
    after = image("b", files={"grown": "xy", "same": "y"})
    assert difference(before, after).files is None
    found = difference(before, after, files=True)
    assert found.files == (
        Change("gone", "file of 1 bytes, mode 0644", ""),
        Change("grown", "file of 1 bytes, mode 0644", "file of 2 bytes, mode 0644"),
    )
    assert not found.equal


def test_modes_and_links_of_files_are_compared(image, tmp_path):
    before = image("a", files={"d/program": "x"})
    (tmp_path / "a/d/program").chmod(0o755)
    (tmp_path / "a/link").symlink_to("d")
    squashfs.pack(tmp_path / "a", tmp_path / "after.squashfs", 0, "zstd")
    assert difference(before, tmp_path / "after.squashfs", files=True).files == (
        Change("d/program", "file of 1 bytes, mode 0644", "file of 1 bytes, mode 0755"),
        Change("link", "", "link to d"),
    )


def test_names_of_files_can_be_printed(image):
    found = difference(image("a"), image("b", files={"\x1b[31m": ""}), files=True)
    assert found.files[0].name == r"\x1b[31m"


def test_what_is_no_image_is_refused_even_twice(tmp_path):
    path = tmp_path / "no.squashfs"
    path.write_text("text")
    with pytest.raises(LauncherError, match="no squashfs file"):
        difference(path, path)


def test_the_age_tells_packages_that_the_lock_has_otherwise(image, lock):
    packages = [("same", "1.0", 1), ("newer", "1.0", 1), ("more", "1.0", 1), ("other", "0.9", 1)]
    found = age(inspect(image(packages=packages)), lock)
    assert (found.lock, found.locked) == (lock, date(2026, 11, 22))
    assert found.packages == (Change("newer", "1.0", "2.0"), Change("more", "1.0", ""))


def test_this_project_is_in_no_lock(image, lock):
    assert not age(inspect(image(packages=[("firecrest_launcher", "0.1.0", 1)])), lock).packages


def test_a_lock_with_mistakes_is_refused(image, lock):
    lock.write_text("nonsense\n")
    with pytest.raises(InvalidFile):
        age(inspect(image()), lock)


@pytest.mark.parametrize("name", ["", "somebodys", "..", "../uenv/jupyterlab"])
def test_images_of_other_names_have_no_lock_here(image, name):
    assert own_lock(inspect(image())._replace(name=name)) is None


def test_the_launchers_own_images_have_the_lock_of_their_recipe(image):
    assert own_lock(inspect(image())) == recipes_directory() / "jupyterlab/requirements.txt"
