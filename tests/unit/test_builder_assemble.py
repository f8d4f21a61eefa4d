"""The half of a build in a namespace of its own."""

import os
import shutil
import sys

import pytest
from quiet import Silent

from launcher.builder import assemble as half
from launcher.builder.assemble import Plan
from launcher.errors import BuildFailed

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
VERSION = f"{MINOR}.{sys.version_info[2]}"


class Steps(Silent):
    def __init__(self):
        self.steps = []

    def step(self, text):
        self.steps.append(text)


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """A plan for an image without packages, at a path where no namespace is needed."""
    monkeypatch.setattr(half, "bound", lambda directory, mount, argv: argv)
    interpreter = tmp_path / "interpreter"
    (interpreter / f"lib/python{MINOR}").mkdir(parents=True)
    (interpreter / "bin").mkdir()
    (interpreter / f"bin/python{MINOR}").symlink_to(sys.executable)
    (interpreter / f"lib/python{MINOR}/os.py").write_text("name = 'posix'\n")
    (tmp_path / "image").mkdir()
    machine = os.uname().machine
    return Plan(
        str(tmp_path / "image"), "env/own", machine, str(interpreter), VERSION, [], ("**/os.py",), "", "", ()
    )


def test_an_image_holds_its_python_and_an_environment_and_not_what_nobody_runs(plan, tmp_path):
    progress = Steps()
    half.assemble(plan._replace(prune=()), tmp_path / "image", progress)
    image = tmp_path / "image"
    assert str((image / "env/own/bin/python").readlink()) == f"../../../python/bin/python{MINOR}"
    assert f"home = {image}/python/bin" in (image / "env/own/pyvenv.cfg").read_text()
    assert [path.name for path in image.rglob("*.pyc")] == [f"os.{sys.implementation.cache_tag}.pyc"]
    assert progress.steps == ["Installing 0 packages", "Compiling byte code"]
    shutil.rmtree(image)
    image.mkdir()
    half.assemble(plan, image, Silent())
    assert not list(image.rglob("os*.py*"))


def test_modules_of_the_directory_that_it_runs_in_are_not_taken_for_its_own(plan, tmp_path, monkeypatch):
    (tmp_path / "launcher").mkdir()
    for name in ("launcher/__init__.py", "json.py"):
        (tmp_path / name).write_text("raise SystemExit('taken')")
    monkeypatch.chdir(tmp_path)
    half.assemble(plan, tmp_path / "image", Silent())


def test_what_the_system_refuses_is_said_in_words(plan, tmp_path):
    with pytest.raises(BuildFailed) as error:
        half.assemble(plan._replace(interpreter="/nowhere"), tmp_path / "image", Silent())
    assert error.value.why == "No such file or directory: /nowhere."
