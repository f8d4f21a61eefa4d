"""Byte code: the same bytes whatever was compiled before, taken without a look at the source."""

import importlib.util
import marshal
import os
import platform
import subprocess
import sys

import pytest

from launcher.builder import bytecode, compiler
from launcher.errors import MissingPart

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
SOURCE = (
    "used_once = 1\nclass A:\n    'text'\n    def f(self, x={'a', 'b'}):\n        return x in {'p', 'q'}\n"
)


class Told(list):
    def advance(self, done, total):
        self.done = done, total

    def note(self, text):
        self.append(text)


@pytest.fixture
def image(tmp_path):
    program = tmp_path / f"python/bin/python{MINOR}"
    program.parent.mkdir(parents=True)
    program.symlink_to(sys.executable)
    library = tmp_path / f"env/lib/python{MINOR}/site-packages"
    library.mkdir(parents=True)
    (library / "module.py").write_text(SOURCE)
    (library / "template.py").write_text("{{ name }} = 1 2\n")
    (tmp_path / "elsewhere.py").write_text("x = 1\n")
    return tmp_path


def compiled(image):
    return {str(path.relative_to(image)): path.read_bytes() for path in image.rglob("*.pyc")}


def test_modules_are_marked_to_be_taken_unchecked(image):
    bytecode.compile_tree(image, platform.python_version(), "x86_64", Told())
    ((name, data),) = compiled(image).items()
    assert name.startswith(f"env/lib/python{MINOR}/site-packages/__pycache__/module.")
    assert data[:4] == importlib.util.MAGIC_NUMBER
    assert data[4:8] == b"\x01\0\0\0"
    assert data[8:16] == importlib.util.source_hash(SOURCE.encode())
    assert marshal.loads(data[16:]).co_filename == str(
        image / f"env/lib/python{MINOR}/site-packages/module.py"
    )


def test_what_is_no_python_is_told_and_passed_by(image):
    told = Told()
    bytecode.compile_tree(image, platform.python_version(), "x86_64", told)
    (note,) = told
    assert "template.py is not compiled: " in note
    assert told.done == (2, 2)


def test_modes_do_not_depend_on_the_umask(image):
    before = os.umask(0o077)
    try:
        bytecode.compile_tree(image, platform.python_version(), "x86_64", Told())
    finally:
        os.umask(before)
    (path,) = image.rglob("*.pyc")
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.parent.stat().st_mode & 0o777 == 0o755


def test_bytes_do_not_depend_on_what_else_the_process_holds():
    first = compiler.compiled(SOURCE.encode(), "/m.py")
    # Names that a process shares with what it has imported.
    held = [sys.intern("used_" + "once"), sys.intern("".join("/m.py")), compile(SOURCE, "/m.py", "exec")]
    assert compiler.compiled(SOURCE.encode(), "/m.py") == first
    assert held


def test_bytes_do_not_depend_on_the_seed_of_hashes(tmp_path):
    (tmp_path / "m.py").write_text(SOURCE)
    results = set()
    for seed in ("1", "2", "3"):
        subprocess.run(
            [sys.executable, "-S", compiler.__file__],
            input=os.fsencode(tmp_path / "m.py") + b"\0",
            env={"PYTHONHASHSEED": seed},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        results.add(next(tmp_path.rglob("*.pyc")).read_bytes())
    assert len(results) == 1


def test_another_python_serves_where_the_images_own_cannot_run(image):
    own = image / f"python/bin/python{MINOR}"
    own.unlink()
    own.write_bytes(b"\x7fELF of another processor")
    own.chmod(0o755)
    told = Told()
    bytecode.compile_tree(image, f"{MINOR}.99", "aarch64", told)
    assert len(compiled(image)) == 1
    assert f"The image's Python {MINOR}.99 can't be run here: " in told[0]


def test_without_any_python_of_the_version_it_says_what_to_install(image):
    with pytest.raises(MissingPart, match=r"No Python 3\.2 can be run here"):
        bytecode.compile_tree(image, "3.2.1", "aarch64", Told())
