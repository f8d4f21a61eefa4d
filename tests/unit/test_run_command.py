"""`launcher run`: what it takes, and what it becomes."""

import importlib
import json

import pytest
from click.testing import CliRunner
from support import program

from launcher.builder import squashfs
from launcher.cli.run import run
from launcher.errors import UsageError


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


def test_it_needs_an_image(ran):
    result = invoked("--", "ls")
    assert result.exit_code == 2
    assert "IMAGE" in result.output


def test_help_tells_how_views_users_and_exit_codes_behave():
    told = invoked("--help").output
    for words in ("-- COMMAND", "default views are loaded", "Root stays root without --user", "125"):
        assert words in " ".join(told.split())
