"""`launcher diff`: how two images differ, for people, programs and scripts."""

import json
import os

import pytest
from click.testing import CliRunner

from launcher.builder import squashfs
from launcher.cli.diff import diff
from launcher.errors import UsageError

SITE = "env/jupyter/lib/python3.11/site-packages"


@pytest.fixture
def image(tmp_path):
    """Make an image of packages."""

    def make(name, *packages, mount="/user-tools", epoch=0, size=10):
        files = {"meta/env.json": json.dumps({"name": "jupyterlab", "mount": mount})}
        for package, version in packages:
            files[f"{SITE}/{package}.py"] = "x" * size
            files[f"{SITE}/{package}-{version}.dist-info/RECORD"] = f"{package}.py,,\n"
        for path, text in files.items():
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        squashfs.pack(tmp_path / name, tmp_path / f"{name}.squashfs", epoch, "zstd")
        return tmp_path / f"{name}.squashfs"

    return make


def run(*arguments, **how):
    return CliRunner().invoke(diff, [str(each) for each in arguments], **how)


def rows(output):
    return [line.split() for line in output.splitlines()]


def test_the_same_files_are_told_at_once(image):
    done = run(image("a"), image("b"))
    assert (done.exit_code, done.output) == (0, "The images are the same, bit for bit.\n")


def test_equal_images_end_with_0_and_say_what_was_not_looked_at(image):
    done = run(image("a"), image("b", epoch=1000))
    assert done.exit_code == 0
    assert "equal packages and metadata," in done.output
    assert "--files" in done.output


def test_other_packages_end_with_1(image):
    done = run(
        image("a", ("gone", "1.0"), ("changed", "1.0")), image("b", ("new", "3.0"), ("changed", "2.0"))
    )
    assert done.exit_code == 1
    told = rows(done.output)
    assert ["changed", "1.0", "2.0"] in told
    assert ["gone", "1.0", "-"] in told
    assert ["new", "-", "3.0"] in told


def test_another_mount_ends_with_1(image):
    done = run(image("a"), image("b", mount="/elsewhere"))
    assert done.exit_code == 1
    assert ["mount", "/user-tools", "/elsewhere"] in rows(done.output)


def test_room_is_told_as_people_read_it(image):
    done = run(image("a", ("some", "1.0")), image("b", ("some", "1.0"), size=3_000_000))
    assert done.exit_code == 0
    assert "some  < 0.1 MB  3.0 MB  +3.0 MB" in done.output


def test_files_count_when_they_are_asked_for(image):
    before, after = image("a", ("some", "1.0")), image("b", ("some", "1.0"), size=11)
    assert run(before, after).exit_code == 0
    done = run("--files", before, after)
    assert done.exit_code == 1
    assert f"{SITE}/some.py  file of 10 bytes, mode 0644  file of 11 bytes, mode 0644" in done.output


def test_equal_lists_of_files_are_told_as_such(image):
    done = run("--files", image("a"), image("b", epoch=1000))
    assert done.exit_code == 0
    assert "lists of files" in done.output


def test_programs_are_told_everything(image):
    done = run("--json", image("a", ("some", "1.0")), image("b"))
    assert done.exit_code == 1
    told = json.loads(done.output)
    assert (told["identical"], told["equal"], told["files"]) == (False, False, None)
    assert {"name": "some", "before": "1.0", "after": None} in told["packages"]
    assert told["sizes"][0]["name"] == "some"


def test_programs_are_told_that_images_are_the_same(image):
    done = run("--json", image("a"), image("b"))
    assert done.exit_code == 0
    assert json.loads(done.output)["identical"]


def test_what_is_no_image_does_not_end_as_images_that_differ(image, tmp_path):
    path = tmp_path / "no.squashfs"
    path.write_text("text")
    error = run(image("a"), path).exception
    assert isinstance(error, UsageError)
    assert error.exit_code == 2


def test_what_is_told_can_be_printed_whatever_images_hold(image, tmp_path):
    before, after = image("a"), image("b", mount="\x1b[31m\ud800\n\u202e")
    (tmp_path / "b/\x1b[31m\udcff\n").touch()
    squashfs.pack(tmp_path / "b", after, 0, "zstd")
    for options in (("--files",), ("--files", "--json")):
        done = run(*options, before, after)
        assert done.exit_code == 1
        assert done.output.encode().decode().replace("\n", "").isprintable()


def test_names_that_begin_with_a_dash_are_no_options(image, tmp_path, monkeypatch):
    image("a").rename(tmp_path / "-a")
    image("b").rename(tmp_path / "-b")
    monkeypatch.chdir(tmp_path)
    assert run("--", "-a", "-b").output == "The images are the same, bit for bit.\n"


def test_a_fifo_is_not_waited_for(image, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert isinstance(run(image("a"), tmp_path / "fifo").exception, UsageError)


def test_there_is_no_colour_but_on_a_terminal(image):
    both = image("a", ("some", "1.0")), image("b")
    assert "\x1b" not in run(*both).output
    assert "\x1b[31msome" in run(*both, color=True).output
