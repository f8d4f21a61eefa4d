"""The pinned Pythons, made for real: they stand by themselves, and are the same wherever they are made."""

import json
import os
import shutil
import subprocess

import pytest
from quiet import Silent

from launcher.builder.bytecode import compile_tree
from launcher.builder.install import make_environment
from launcher.builder.interpreter import prepare
from launcher.builder.interpreter.tree import needed
from launcher.builder.recipe import recipes_directory
from launcher.builder.target import ARCHITECTURES
from launcher.builder.tree_hash import tree_hash

pytestmark = pytest.mark.skipif(not shutil.which("apt-get"), reason="the pinned Pythons come from Debian")

RECIPE = recipes_directory() / "jupyterlab"
OF_GLIBC = {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
MODULES = "bz2 ctypes curses.panel hashlib lzma pyexpat readline sqlite3 ssl uuid venv zlib zoneinfo".split()


@pytest.fixture(scope="module", params=ARCHITECTURES)
def interpreter(request, tmp_path_factory):
    """A pinned Python; that it can be made proves that its pin is right."""
    return prepare(RECIPE, request.param, None, tmp_path_factory.mktemp("cache"), Silent())


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """An image with a Python for this machine, and an environment without packages."""
    cache = tmp_path_factory.mktemp("cache")
    own = prepare(RECIPE, os.uname().machine, None, cache, Silent())
    root = tmp_path_factory.mktemp("image")
    shutil.copytree(own.directory, root / "python", symlinks=True)
    make_environment(
        root / "env/jupyter", str(root / "python/bin"), "../../../python/bin/python3.11", own.version
    )
    return root


def in_image(image, code, **variables):
    done = subprocess.run(
        [image / "env/jupyter/bin/python", "-B", "-W", "ignore", "-c", code],
        env={"HOME": "/nonexistent", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def programs(tree):
    for path in sorted(tree.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.read_bytes()[:4] == b"\x7fELF":
            yield path


def test_each_library_that_is_needed_is_there_or_the_c_librarys_own(interpreter):
    libraries = {path.name for path in (interpreter.directory / "lib").glob("*.so*")}
    wanted = {name for path in programs(interpreter.directory) for name in needed(path)}
    assert wanted - OF_GLIBC == libraries


def test_no_link_leads_out_and_all_modes_are_plain(interpreter):
    for path in interpreter.directory.rglob("*"):
        if path.is_symlink():
            assert path.resolve().is_relative_to(interpreter.directory.resolve())
            assert path.exists()
        else:
            assert path.stat().st_mode & 0o7777 in (0o644, 0o755)


def test_it_is_the_same_wherever_and_by_whomever_it_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    before = os.umask(0o077)
    try:
        there = prepare(RECIPE, "aarch64", None, tmp_path / "another cache", Silent())
    finally:
        os.umask(before)
    assert tree_hash(there.directory) == there.tree


def test_all_of_the_standard_library_runs_with_the_images_own_libraries(image, tmp_path):
    # Nobody's LD_LIBRARY_PATH leads it astray.
    for name in ("libssl.so.3", "libz.so.1"):
        (tmp_path / name).write_bytes(b"no library")
    loaded = in_image(
        image,
        f"import json, {', '.join(MODULES)}\n"
        "maps = {line.split()[-1] for line in open('/proc/self/maps') if '.so' in line}\n"
        "print(json.dumps(sorted(maps)))",
        LD_LIBRARY_PATH=str(tmp_path),
    )
    outside = {path.rpartition("/")[2] for path in loaded if not path.startswith(f"{image}/")}
    assert outside <= OF_GLIBC
    assert str(image / "python/lib/libssl.so.3") in loaded


def test_an_environments_python_looks_nowhere_but_in_the_image(image):
    found = in_image(
        image,
        "import json, site, sys\n"
        "print(json.dumps([sys.path, sys.prefix, sys.base_prefix, site.ENABLE_USER_SITE]))",
    )
    path, prefix, base, user = found
    assert all(not each or each.startswith(f"{image}/") for each in path)
    assert (prefix, base, user) == (str(image / "env/jupyter"), str(image / "python"), False)


def test_the_standard_library_compiles_to_the_same_bytes_each_time(image, monkeypatch):
    results = []
    for workers in (1, 3):
        monkeypatch.setattr(os, "cpu_count", lambda workers=workers: workers)
        compile_tree(image, "3.11.2", os.uname().machine, Silent())
        results.append(tree_hash(image))
        for path in list(image.rglob("__pycache__")):
            shutil.rmtree(path)
    assert results[0] == results[1]
