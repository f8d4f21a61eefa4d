"""`launcher run`: what it takes, and what it becomes."""

import errno
import importlib
import json
import os

import pytest
from click.testing import CliRunner
from support import program

from launcher.builder import squashfs
from launcher.builder.mount import WAYS
from launcher.cli.run import run
from launcher.errors import LauncherError, UsageError


@pytest.fixture
def image(tmp_path):
    program("mksquashfs")
    values = {"scalar": {"TOY": "yes"}}
    told = {
        "name": "toys",
        "mount": "/toys",
        "default-view": "all",
        "views": {"all": {"env": {"values": values}}},
    }
    tree = tmp_path / "tree"
    (tree / "meta").mkdir(parents=True)
    (tree / "meta/env.json").write_text(json.dumps(told))
    squashfs.pack(tree, tmp_path / "toys.squashfs", 0, "zstd")
    return str(tmp_path / "toys.squashfs")


@pytest.fixture
def ran(monkeypatch):
    """What images, command and variables were to be."""
    seen = []

    def command(images, argv, **options):
        seen.append((images, argv, options))
        return ["true"]

    module = importlib.import_module("launcher.cli.run")
    monkeypatch.setattr(module, "command", command)
    monkeypatch.setattr(module.os, "execvp", lambda *_: None)
    return seen


def invoked(*arguments):
    return CliRunner().invoke(run, arguments)


def test_an_image_for_other_processors_is_told_and_its_files_can_be_looked_at(tmp_path, image, ran):
    other = {"x86_64": "aarch64"}.get(os.uname().machine, "x86_64")
    told = json.dumps({"externalParameters": {"arch": other}})
    (tmp_path / "tree/meta/provenance.json").write_text(told)
    squashfs.pack(tmp_path / "tree", tmp_path / "other.squashfs", 0, "zstd")
    done = invoked(str(tmp_path / "other.squashfs"), "--", "ls")
    assert done.exit_code == 0
    assert f"toys is for {other}: this machine, {os.uname().machine}, can't run it." in done.output
    assert len(ran) == 1
    assert "can't run it" not in invoked(image, "--", "ls").output


@pytest.mark.parametrize(
    "told",
    ["{}", "[]", "null", '{"externalParameters": 3}', "\xff", '{"externalParameters": {"arch": ["x"]}}'],
)
def test_what_an_image_says_of_its_processors_may_be_nonsense(tmp_path, image, ran, told):
    (tmp_path / "tree/meta/provenance.json").write_text(told)
    squashfs.pack(tmp_path / "tree", tmp_path / "other.squashfs", 0, "zstd")
    assert invoked(str(tmp_path / "other.squashfs"), "--", "ls").output == ""


def test_what_follows_the_dashes_is_the_command(image, ran):
    assert (
        invoked(image, "--with", "uenv", "--user", "nobody", "--", "ls", "--view", "--", "-l").exit_code == 0
    )
    ((images, argv, options),) = ran
    assert [each.mount for each in images] == ["/toys"]
    assert argv == ["ls", "--view", "--", "-l"]
    assert (options["user"], options["how"]) == ("nobody", "uenv")


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ((), ("/toys:toys:all", "yes")),
        (("--view", "all"), ("/toys:toys:all", "yes")),
        (("--view", "toys:all"), ("/toys:toys:all", "yes")),
        (("--no-default-view",), ("", None)),
    ],
)
def test_views_are_the_default_ones_unless_told_otherwise(image, ran, options, changed, monkeypatch):
    monkeypatch.delenv("UENV_VIEW", raising=False)
    monkeypatch.delenv("TOY", raising=False)
    assert invoked(image, *options, "--", "ls").exit_code == 0
    changes = ran[0][2]["changes"]
    assert (changes["UENV_VIEW"], changes.get("TOY")) == changed


@pytest.mark.parametrize("arguments", [(), ("--",), ("--view", "all", "--no-default-view", "--", "ls")])
def test_a_command_line_without_sense_is_refused(image, ran, arguments):
    assert isinstance(invoked(image, *arguments).exception, UsageError)
    assert not ran


def test_what_is_no_image_ends_as_one_that_can_not_be_mounted(ran, tmp_path):
    (tmp_path / "text").write_text("text")
    os.mkfifo(tmp_path / "fifo")
    for how in WAYS:
        for name in ("text", "fifo", "."):
            error = invoked(f"{tmp_path}/{name}:/there", "--with", how, "--", "ls").exception
            assert type(error) is LauncherError
            assert error.exit_code == 125
            assert "is no squashfs file" in error.what


def test_a_command_that_can_not_be_started_ends_without_a_traceback(image, ran, monkeypatch):
    def fails(*_):
        raise OSError(errno.E2BIG, "Argument list too long")

    monkeypatch.setattr(importlib.import_module("launcher.cli.run").os, "execvp", fails)
    error = invoked(image, "--", "ls").exception
    assert (error.exit_code, error.why) == (125, "Argument list too long.")


def test_it_needs_an_image(ran):
    result = invoked("--", "ls")
    assert result.exit_code == 2
    assert "IMAGE" in result.output


def test_help_tells_how_views_users_and_exit_codes_behave():
    told = invoked("--help").output
    for words in ("-- COMMAND", "default views are loaded", "Root stays root without --user", "125"):
        assert words in " ".join(told.split())
