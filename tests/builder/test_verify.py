"""Images verified as a build does it: mounted, by their own Python, as an ordinary user."""

import base64
import hashlib
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from quiet import Silent
from support import missing, program

from launcher.builder import squashfs
from launcher.builder.mount.namespace import namespace_problem
from launcher.builder.recipe import recipes_directory
from launcher.builder.target import Target
from launcher.builder.verify import verify
from launcher.sandbox.software import _interpreter

PYTHON = "python/bin/python3"
MOUNT = "/absent-from-this-machine/toys"
MACHINE = os.uname().machine
OTHER = {"x86_64": "aarch64", "aarch64": "x86_64"}[MACHINE]
RECIPE = SimpleNamespace(image=SimpleNamespace(mount=MOUNT, prefix="env/toys"))
VERIFY = """
import os
import checks

@checks.check("who it is", needs=checks.PROGRAM)
def who(image):
    return f"{os.getuid()} {image.run('bin/tool')} {' '.join(os.environ)}"

checks.main()
"""


INFO = "env/toys/lib/python3.11/site-packages/toys-1.dist-info"
LISTED = [
    "bin/tool",
    f"{INFO.removeprefix('env/toys/')}/METADATA",
    f"{INFO.removeprefix('env/toys/')}/INSTALLER",
]


def digest(path):
    plain = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()
    return f"sha256={plain.rstrip('=')}"


@pytest.fixture
def tree(tmp_path):
    """A small image: its Python is the machine's."""
    if problem := namespace_problem():
        missing("no private mount namespaces", problem)
    program("mksquashfs")
    tree = tmp_path / "tree"
    for name in ("python/bin", "env/toys/bin", INFO, "meta/recipe"):
        (tree / name).mkdir(parents=True)
    (tree / "env/toys/pyvenv.cfg").touch()
    scripts = {
        PYTHON: f'exec {_interpreter()} "$@"',
        "env/toys/bin/tool": 'touch "$HOME/x" 2>/dev/null || echo home is shut',
    }
    for name, line in scripts.items():
        (tree / name).write_text(f"#!/bin/sh\n{line}\n")
        (tree / name).chmod(0o755)
    (tree / "env/toys/bin/python").symlink_to(f"../../../{PYTHON}")
    (tree / INFO / "INSTALLER").write_text("launcher\n")
    (tree / INFO / "METADATA").write_text("Name: toys\nVersion: 1\n\n")
    (tree / INFO / "RECORD").write_text(
        "".join(f"{'../' * 3}{each},{digest(tree / 'env/toys' / each)},\n" for each in LISTED)
        + f"{Path(INFO).name}/RECORD,,\n"
    )
    component = {"name": "toys", "version": "1", "purl": "pkg:pypi/toys@1"}
    (tree / "meta/sbom.cdx.json").write_text(json.dumps({"components": [component]}))
    (tree / "meta/recipe/requirements.txt").touch()
    (tree / "meta/recipe/verify").write_text(VERIFY)
    shutil.copy(recipes_directory() / "checks.py", tree / "meta/recipe/checks.py")
    return tree


def report(tree, *, target=None, build_paths=()):
    image = tree.with_name("toys.squashfs")
    squashfs.pack(tree, image, 0, "zstd")
    return verify(
        image, RECIPE, target or Target(MACHINE, (2, 99), (3, 11)), Silent(), build_paths=build_paths
    )


def failed(seen):
    return {each.name: each.text for each in seen.checks if not each.ok}


def said(seen):
    """Return who ran the recipe's own check, what its program said, and the names of its variables."""
    text = next(each.text for each in seen.checks if each.name == "who it is")
    who, _, rest = text.partition(" ")
    return who, *map(str.strip, rest.partition("shut")[::2])


def test_a_good_image_passes_as_an_ordinary_user_with_nothing_in_the_environment(tree):
    seen = report(tree, build_paths=["/build/here"])
    assert failed(seen) == {}
    assert seen.ok
    assert seen.ran
    who, home, variables = said(seen)
    assert (who, home) == (str(os.geteuid() or 65534), "home is")
    of_shells = {"LC_CTYPE", "OLDPWD", "PWD", "SHLVL", "_"}
    assert set(variables.split()) <= {"HOME", "LOGNAME", "PATH", "SHELL", "USER"} | of_shells
    assert len(seen.checks) == 11


def test_what_is_wrong_in_the_image_is_seen_from_inside(tree):
    (tree / "env/toys/bin/tool").chmod(0o4755)
    (tree / "meta/link").symlink_to("/etc/passwd")
    (tree / "meta/text").write_text("made in /build/here")
    (tree / INFO).with_name("evil.pth").write_text("import evil")
    assert set(failed(report(tree, build_paths=["/build/here"]))) == {
        "nothing is setuid, setgid or a device",
        "no link leads outside",
        "no secret and no path of the build machine remains",
        "files are those that their packages list",
    }


def test_what_an_image_brings_in_place_of_the_checks_counts_for_nothing(tree):
    (tree / "env/toys/bin/tool").chmod(0o4755)
    (tree / "meta/recipe/checks.py").write_text(
        "def check(*_, **__): return lambda function: None\ndef main(): print('{}')"
    )
    assert "nothing is setuid, setgid or a device" in failed(report(tree))


def test_an_older_c_library_than_the_image_needs_is_refused(tree):
    shutil.copy(program("true"), tree / "env/toys/bin/true")
    target = Target(MACHINE, (2, 2), (3, 11))
    assert (
        "env/toys/bin/true needs glibc"
        in failed(report(tree, target=target))[f"programs run on {MACHINE} with glibc 2.2"]
    )


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("", "checked nothing"),
        ("import os; os.kill(os.getpid(), 11)", "ended with"),
        ("import nothing", "No module"),
    ],
)
def test_a_verify_that_crashes_or_is_silent_has_failed(tree, script, words):
    (tree / "meta/recipe/verify").write_text(script)
    assert words in failed(report(tree))["meta/recipe/verify"]


def test_a_python_that_does_not_start_is_a_failure(tree):
    (tree / PYTHON).write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    seen = report(tree)
    assert failed(seen) == {"the image's Python starts": "broken"}
    assert not seen.ran


def test_an_image_for_other_processors_is_only_looked_at_without_an_emulator(tree, monkeypatch):
    monkeypatch.setattr("launcher.builder.verify.found", lambda _: None)
    (tree / PYTHON).write_text("#!/bin/sh\nexit 126\n")
    seen = report(tree, target=Target(OTHER, (2, 99), (3, 11)))
    assert seen.ok
    assert not seen.ran
    assert "who it is" not in [each.name for each in seen.checks]


def test_an_image_for_other_processors_runs_through_an_emulator(tree, monkeypatch):
    emulator = Path(_emulator(tree.parent))
    monkeypatch.setattr(
        "launcher.builder.verify.found", lambda name: str(emulator) if "qemu" in name else None
    )
    (tree / PYTHON).write_text("#!/bin/sh\nexit 126\n")
    seen = report(tree, target=Target(OTHER, (2, 99), (3, 11)))
    assert (seen.ok, seen.ran) == (True, True)
    assert said(seen)[1] == "home is"


def _emulator(directory):
    """Make a program that runs an image's Python by the machine's, and all else as it is."""
    for each in (directory, *directory.parents[:2]):
        each.chmod(each.stat().st_mode | 0o055)
    path = directory / "emulator"
    path.write_text(
        '#!/bin/sh\n[ "$1" = -L ] && shift 2\n'
        f'case $1 in */python) shift; exec {_interpreter()} "$@" ;; esac\nexec "$@"\n'
    )
    path.chmod(0o755)
    return path
