"""This project's wheel: the same bytes from the checkout and from an installation."""

import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from installer.sources import WheelFile

import launcher
from launcher.builder import project
from launcher.errors import BuildFailed, MissingPart

MAKE = """
import sys
from pathlib import Path
from launcher.builder.project import project_wheel
project_wheel(Path(sys.argv[1]))
"""
CHECKOUT = Path(launcher.__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, made from this checkout."""
    if not (CHECKOUT / "launcher/singleuser/labextensions").is_dir():
        pytest.skip("the session panel is not built: make setup")
    directory = tmp_path_factory.mktemp("from a checkout")
    path = project.project_wheel(directory)
    assert list(directory.iterdir()) == [path]
    return path


def test_it_is_a_whole_wheel_with_all_that_the_project_needs(wheel):
    with WheelFile.open(wheel) as source:
        source.validate_record()
        names = {record[0] for record, _, _ in source.get_contents()}
    needed = (
        "launcher/singleuser/__main__.py",
        "launcher/containers/hub/.containerignore",
        "launcher/containers/hub/verify",
        "launcher/uenv/jupyterlab/image.yaml",
        "launcher/uenv/checks.py",
    )
    missing = [each for each in needed if each not in names]
    assert not missing
    assert not [name for name in names if name.startswith("tests/") or "__pycache__" in name]


def test_an_installation_gives_the_same_bytes_whoever_makes_it_and_when(wheel, tmp_path):
    installed = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--compile"]
    subprocess.run([*pip, "--target", installed, wheel], check=True, capture_output=True)
    to = tmp_path / "from an installation"
    to.mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": str(installed),
        "TZ": "Asia/Kathmandu",
        "SOURCE_DATE_EPOCH": "1700000000",
        "LC_ALL": "C",
        "PYTHONHASHSEED": "7",
    }
    command = ["sh", "-c", 'umask 077; exec "$@"', "sh", sys.executable, "-P", "-c", MAKE, str(to)]
    subprocess.run(command, check=True, env=environment, cwd=tmp_path)
    assert (to / wheel.name).read_bytes() == wheel.read_bytes()


def test_its_bytes_do_not_depend_on_how_zlib_was_built(wheel):
    with zipfile.ZipFile(wheel) as archive:
        assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_STORED}


def test_what_terminals_call_is_a_program_and_no_module_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        programs = {each.filename for each in archive.infolist() if each.external_attr >> 16 & 0o111}
    assert "launcher/singleuser/launcher.sh" in programs
    assert not [name for name in programs if name.startswith("launcher/builder/")]


def test_without_the_session_panel_there_is_none(tmp_path, monkeypatch):
    (tmp_path / "launcher").mkdir()
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'firecrest-launcher'\n")
    monkeypatch.setattr(launcher, "__file__", str(tmp_path / "launcher/__init__.py"))
    with pytest.raises(BuildFailed, match="session panel is not built") as error:
        project.project_wheel(tmp_path)
    assert "make setup" in error.value.todo


def test_without_what_builds_it_from_a_checkout_it_is_named(wheel, tmp_path, monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(MissingPart, match="hatchling"):
        project.project_wheel(tmp_path)


def test_why_it_could_not_be_built_is_told_in_the_last_words(wheel, tmp_path, monkeypatch):
    said = "Traceback (most recent call last):\n  File x\n    build(*build_data)\nOSError: full\nno space\n"
    failed = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(BuildFailed) as error:
        project.project_wheel(tmp_path)
    assert error.value.why == "OSError: full\nno space"


@pytest.mark.parametrize("text", ["[project]\nname = 'another'\n", "project = 'odd'\n", "not TOML"])
def test_what_another_project_left_beside_it_does_not_make_a_checkout(tmp_path, monkeypatch, text):
    (tmp_path / "pyproject.toml").write_text(text)
    monkeypatch.setattr(launcher, "__file__", str(tmp_path / "launcher/__init__.py"))
    monkeypatch.setattr(metadata, "files", lambda _: None)
    with pytest.raises(BuildFailed, match="no list of this project's files"):
        project.project_wheel(tmp_path)


def test_without_a_list_of_its_files_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(launcher, "__file__", str(tmp_path / "launcher/__init__.py"))
    monkeypatch.setattr(metadata, "files", lambda _: None)
    with pytest.raises(BuildFailed, match="no list of this project's files"):
        project.project_wheel(tmp_path)
    assert list(tmp_path.iterdir()) == []
