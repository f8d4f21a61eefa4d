"""Which images a command line names, what a command finds of them, and how they get mounted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import program

from launcher.builder import squashfs
from launcher.builder.mount import WAYS, Mounted, command, namespace, session, ways
from launcher.errors import LauncherError, MissingPart, UsageError

VALUES = {
    "list": {"PATH": [{"op": "prepend", "value": ["/toys/bin"]}]},
    "scalar": {"TOY": "${@HOME@}/toy", "OLD": None},
}


def made(directory, name, told=None):
    program("mksquashfs")
    tree = directory / f"{name}-tree"
    (tree / "meta").mkdir(parents=True)
    if told is not None:
        (tree / "meta/env.json").write_text(told if isinstance(told, str) else json.dumps(told))
    squashfs.pack(tree, directory / f"{name}.squashfs", 0, "zstd")
    return directory / f"{name}.squashfs"


def view(values=VALUES):
    return {"description": "", "env": {"version": 1, "type": "augment", "values": values}}


@pytest.fixture
def toys(tmp_path):
    told = {"name": "toys", "mount": "/toys", "default-view": "all", "views": {"all": view(), "bare": {}}}
    return made(tmp_path, "toys", told)


@pytest.fixture
def tools(tmp_path):
    return made(tmp_path, "tools", {"mount": "/tools", "views": {"all": view({}), "jupyter": view({})}})


def test_an_image_says_itself_where_it_belongs(toys, tools):
    first, second = session.described([str(toys), str(tools)])
    assert first[:3] == (toys, "/toys", "toys")
    assert second[:3] == (tools, "/tools", "tools")
    assert (first.default_view, second.default_view) == ("all", "")


def test_a_named_mount_point_wins(toys):
    assert session.described([f"{toys}:/elsewhere/"])[0].mount == "/elsewhere"


def test_an_image_without_a_description_needs_a_mount_point(tmp_path):
    plain = made(tmp_path, "plain")
    with pytest.raises(UsageError, match=r"Say it: .*plain.squashfs:/user-environment"):
        session.described([str(plain)])
    assert session.described([f"{plain}:/there"]) == [(plain, "/there", "plain", {}, "", "")]


ODD = ["/a b", "/a,b", "/a/../b", "/..", "//", "/a=b", "/a+b", "/a\n", "/\x1b[31m", "/\udcff"]
SYSTEM = [
    "/",
    "/.",
    "/tmp",
    "/home/",
    "/var",
    "/usr",
    "/usr/./local",
    "/proc/1",
    "/lib64/x",
    "/run/uenv",
    "/boot/a",
]


@pytest.mark.parametrize("mount", [*ODD, *SYSTEM])
def test_what_hides_the_system_or_is_none_for_uenv_is_no_mount_point(toys, mount):
    with pytest.raises(UsageError, match="No image can be mounted"):
        session.described([f"{toys}:{mount}"])


@pytest.mark.parametrize("mount", ["/user-environment", "/tmp/x", "/var/tools", "/usrx", "/opt", "/home/a"])
def test_any_other_place_is_a_mount_point(toys, mount):
    assert session.described([f"{toys}:{mount}"])[0].mount == mount


@pytest.mark.parametrize("mount", [*ODD, *SYSTEM, "relative", "../up", 7, ["/a"], "/a" * 1000 + "\x1b"])
def test_an_image_that_wants_such_a_place_is_told_of_by_name(tmp_path, mount):
    image = made(tmp_path, "odd", {"mount": mount})
    with pytest.raises(
        UsageError, match=r"odd.squashfs can't be mounted at .*, as its meta/env.json says"
    ) as error:
        session.described([str(image)])
    assert error.value.what.isprintable()
    assert len(error.value.what) < 500
    assert session.described([f"{image}:/elsewhere"])[0].mount == "/elsewhere"


@pytest.mark.parametrize("name", ["\x1b[31m", "two\nlines", "\ud800", "a,b", "a:b", ""])
def test_names_that_uenv_does_not_allow_are_none(tmp_path, name):
    told = {"name": name, "mount": "/odd", "default-view": name, "views": {name: view(), "plain": view()}}
    (image,) = session.described([str(made(tmp_path, "odd", told))])
    assert (image.name, list(image.views), image.default_view) == ("odd", ["plain"], "")


@pytest.mark.parametrize("name", ["a" * 300, f"./{'a' * 300}"])
def test_a_name_that_is_too_long_for_a_file_is_told(name):
    with pytest.raises(UsageError, match="can't be used"):
        session.described([name])


def test_files_have_names_such_as_uenv_allows(toys):
    odd = toys.rename(toys.with_name("a+b.squashfs"))
    with pytest.raises(UsageError, match="can't be used"):
        session.described([str(odd)])


def test_a_label_is_told_from_a_file():
    with pytest.raises(UsageError, match="`uenv run` takes labels"):
        session.described(["prgenv-gnu/25.6:v2"])


def test_two_images_can_not_share_a_place(toys, tools):
    with pytest.raises(UsageError, match="can't be mounted together"):
        session.described([str(toys), f"{tools}:/toys/inner"])


@pytest.mark.parametrize("told", ["{", "[]", "9" * 5000, "[" * 100_000])
def test_a_description_that_can_not_be_read_is_named(tmp_path, told):
    with pytest.raises(LauncherError, match=r"meta/env.json of .*odd.squashfs"):
        session.described([f"{made(tmp_path, 'odd', told)}:/odd"])


def test_a_description_of_more_than_1_mb_is_refused(tmp_path):
    large = made(tmp_path, "large", {"mount": "/large", "more": "x" * 1_000_000})
    with pytest.raises(LauncherError, match="larger than 1,000,000 bytes"):
        session.described([str(large)])


def test_a_view_that_can_not_be_loaded_is_told_in_characters_that_can_be_printed(tmp_path):
    odd = made(
        tmp_path, "odd", {"mount": "/odd", "views": {"v": view({"list": {"\x1b\ud800\n" * 999: "x"}})}}
    )
    with pytest.raises(LauncherError) as error:
        session.views(session.described([str(odd)]), ["v"])
    assert error.value.why.isprintable()
    assert len(error.value.why) < 500


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["fifo", "directory"])
def test_only_regular_files_are_images(tmp_path, make):
    make(tmp_path / "odd")
    with pytest.raises(LauncherError, match="no squashfs file"):
        session.described([f"{tmp_path}/odd:/there"])
    with pytest.raises(LauncherError, match="no regular file"):
        command([Mounted(tmp_path / "odd", "/there")], ["true"])


def test_images_whose_names_begin_with_a_dash_are_no_options(toys, monkeypatch):
    toys.rename(toys.with_name("-help.squashfs"))
    monkeypatch.chdir(toys.parent)
    (image,) = session.described(["./-help.squashfs"])
    assert image.image == toys.with_name("-help.squashfs")


def test_default_views_are_loaded_unless_others_are_named(toys, tools):
    images = session.described([str(toys), str(tools)])
    assert [each.name for each in session.views(images, None)] == ["all"]
    assert session.views(images, []) == []
    named = session.views(images, ["jupyter", "toys:all"])
    assert [(each.of.mount, each.name) for each in named] == [("/tools", "jupyter"), ("/toys", "all")]


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("none", "There are toys:all, toys:bare, tools:all"),
        ("all", "toys:all or tools:all"),
        ("x:all", "no view 'x:all'"),
    ],
)
def test_a_view_is_one_of_one_image(toys, tools, named, words):
    with pytest.raises(UsageError) as error:
        session.views(session.described([str(toys), str(tools)]), [named])
    assert words in str(error.value)


def test_a_view_that_can_not_be_loaded_is_named(tmp_path):
    odd = made(tmp_path, "odd", {"mount": "/odd", "views": {"v": view({"list": {"PATH": "x"}})}})
    with pytest.raises(LauncherError, match=r"view v of .*odd.squashfs"):
        session.views(session.described([str(odd)]), ["v"])


def test_a_command_finds_the_session_as_uenv_would_have_it(toys, tools):
    images = session.described([str(toys), f"{tools}:/t"])
    loaded = session.views(images, ["toys:all"])
    changes = session.changes(images, loaded, {"PATH": "/bin", "HOME": "/home/a", "OLD": "1", "KEPT": "2"})
    assert changes == {
        "PATH": "/toys/bin:/bin",
        "TOY": "/home/a/toy",
        "OLD": None,
        "UENV_MOUNT_LIST": f"{toys}:/toys,{tools}:/t",
        "UENV_VIEW": "/toys:toys:all",
    }


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with only the programs that a test gives it, and an ordinary user."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(
        ways, "found", lambda name: str(programs / name) if (programs / name).exists() else None
    )
    for module in (ways, namespace):
        monkeypatch.setattr(module, "namespace_problem", lambda: "")
    monkeypatch.setattr(ways.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(ways.os, "access", lambda *_: True)

    def has(name, says=""):
        (programs / name).write_text(f"#!/bin/sh\necho '{says}'\n")
        (programs / name).chmod(0o755)

    return has


def mounted(tmp_path, mount="/usr"):
    image = tmp_path / "x.squashfs"
    image.touch()
    return image, [Mounted(image, mount)]


def test_without_any_means_all_of_them_are_named(machine, tmp_path):
    with pytest.raises(MissingPart) as error:
        command(mounted(tmp_path)[1], ["true"])
    for way in WAYS:
        assert f"{way}: " in error.value.why
    assert "apt-get install squashfuse" in error.value.todo


def test_squashfs_mount_comes_before_uenv_and_squashfuse(machine, tmp_path, monkeypatch):
    for name in ("squashfuse", "uenv", "squashfs-mount"):
        machine(name)
    for name in ways._DROPPED:
        monkeypatch.delenv(name, raising=False)
    image, images = mounted(tmp_path)
    assert command(images, ["ls", "-l"]) == ["squashfs-mount", f"--sqfs={image}:/usr", "--", "ls", "-l"]


def test_what_a_setuid_helper_takes_from_the_environment_is_given_back(machine, tmp_path, monkeypatch):
    machine("squashfs-mount")
    for name in ways._DROPPED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/mine")
    changes = {"OLD": None, "A": "b c"}
    argv = command(mounted(tmp_path)[1], ["ls"], changes=changes)
    assert argv[3:] == ["env", "-u", "OLD", "--", "LD_LIBRARY_PATH=/mine", "A=b c", "ls"]


@pytest.mark.parametrize(("version", "option"), [("9.2.0-dev", []), ("10.0.1", ["--no-default-view"])])
def test_uenv_loads_no_view_of_its_own(machine, tmp_path, version, option):
    machine("uenv", version)
    image, images = mounted(tmp_path)
    argv = command(images, ["ls"], how="uenv")
    assert argv == ["uenv", "run", *option, f"{image}:/usr", "--", "ls"]


def test_uenv_needs_the_mount_points(machine, tmp_path):
    machine("uenv")
    machine("squashfuse")
    _, images = mounted(tmp_path, "/no/such/place")
    with pytest.raises(MissingPart, match="no directory /no/such/place"):
        command(images, ["ls"], how="uenv")
    assert "fuse" in command(images, ["ls"])


def test_an_ordinary_user_becomes_nobody_else(machine, tmp_path):
    machine("squashfuse")
    with pytest.raises(UsageError, match="Only root can run a command as root"):
        command(mounted(tmp_path)[1], ["ls"], user="root")
    with pytest.raises(UsageError, match="no account 'no-such-account'"):
        command(mounted(tmp_path)[1], ["ls"], user="no-such-account")


def test_an_image_that_can_not_be_read_is_named(machine, tmp_path):
    machine("squashfuse")
    with pytest.raises(LauncherError, match=r"absent\.squashfs"):
        command([Mounted(tmp_path / "absent.squashfs", "/usr")], ["ls"])


def test_a_machine_without_private_namespaces_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(namespace, "namespace_problem", lambda: "unshare failed: Operation not permitted")
    with pytest.raises(MissingPart) as error:
        namespace.bound(tmp_path, "/x", ["true"])
    assert "Operation not permitted" in error.value.why
    assert "--cap-add SYS_ADMIN" in error.value.todo


def test_the_script_is_plain_posix_shell():
    linter = Path(sys.executable).with_name("shellcheck")
    subprocess.run([linter, "-s", "sh", Path(namespace.__file__).with_name("namespace.sh")], check=True)
