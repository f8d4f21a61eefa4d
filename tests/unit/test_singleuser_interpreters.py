"""Which Pythons a session has, what they are called, and what their kernels see."""

from __future__ import annotations

import os
import re
import string
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programming import PYTHON, VERSION, make_image, make_packages, make_program, make_venv, make_view

from launcher.singleuser.environment import Environments
from launcher.singleuser.image import mounted
from launcher.singleuser.kernels import inquiry
from launcher.singleuser.kernels.inquiry import Inquiry, Question
from launcher.singleuser.kernels.interpreters import Place, interpreters
from launcher.singleuser.kernels.names import MAIN, names, slug
from launcher.singleuser.kernels.venv import Venv, venvs_below

JUPYTER_NAME = re.compile(r"[a-z0-9._\-]+")


@pytest.fixture
def place(tmp_path):
    """Return a function that makes a session: mount → label of its images, and its variables."""
    start = tmp_path / "start"
    start.mkdir()

    def make(images=None, *, kind="uenv", title="Some title", **variables):
        labels = {str(mount): label for mount, label in (images or {}).items()}
        environment = {"PATH": "/nowhere", "HOME": str(tmp_path), **variables}
        environments = Environments.of(environment, mounted(environment, labels))
        return Place(environments, kind, title, str(start))

    return make


def found(place):
    return [(each.origin, each.where) for each in interpreters(place)]


# Views.


def test_each_view_with_a_python_is_one_and_the_loaded_one_comes_first(place, tmp_path):
    mount = tmp_path / "user-environment"
    views = {"alps": make_view(mount / "env/alps"), "default": make_view(mount / "env/default")}
    make_image(mount, views | {"empty": {}}, default="default")
    session = place({mount: "prgenv-gnu/24.11:v1@daint%gh200"})
    first, second, own = interpreters(session)
    assert (first.where, first.main) == ("prgenv-gnu/24.11 default", True)
    assert (second.where, second.main) == ("prgenv-gnu/24.11 alps", False)
    assert first.program == f"{mount}/env/default/bin/python3"
    assert second.program == f"{mount}/env/alps/bin/python3"
    assert first.environment["VIEW"] == "default"
    assert second.environment["VIEW"] == "alps"
    assert own.origin == "own"


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("prgenv-gnu/24.11:v1@daint%gh200", "prgenv-gnu/24.11"),
        ("build::prgenv-gnu/24.11:1234%gh200", "prgenv-gnu/24.11"),
        ("prgenv-gnu", "prgenv-gnu"),
        ("/scratch/my.squashfs", "its-own-name"),
        ("./my.squashfs", "its-own-name"),
        ("@daint", "its-own-name"),
    ],
)
def test_an_image_is_called_by_its_label_or_by_its_own_name(place, tmp_path, label, name):
    mount = tmp_path / "image"
    make_image(mount, {"v": make_view(mount / "v")}, name="its-own-name", default="v")
    assert found(place({mount: label}))[0] == ("view", f"{name} v")


def test_two_images_of_one_name_are_called_by_their_whole_labels(place, tmp_path):
    mounts = {}
    for tag in ("v1", "v2"):
        mount = make_image(tmp_path / tag, {"v": make_view(tmp_path / tag / "v")}, default="v")
        mounts[mount] = f"gnu/24:{tag}"
    assert found(place(mounts))[:2] == [("view", "gnu/24:v1 v"), ("view", "gnu/24:v2 v")]


def test_the_image_of_the_servers_own_python_brings_none(place, monkeypatch, tmp_path):
    mount = tmp_path / "user-tools"
    make_image(mount, {"jupyter": make_view(mount / "env/jupyter")}, default="jupyter")
    monkeypatch.setattr(sys, "prefix", f"{mount}/env/jupyter")
    assert found(place({mount: "jupyterlab"})) == [("own", "JupyterLab")]


def test_only_a_program_is_a_python(place, tmp_path):
    mount = tmp_path / "image"
    values = make_view(mount / "v")
    (mount / "v/bin/python3").unlink()
    (mount / "v/bin/python3").mkdir()
    make_program(mount / "v/bin/python")
    make_image(mount, {"v": values}, default="v")
    assert interpreters(place({mount: "it"}))[0].program == f"{mount}/v/bin/python"


# Virtual environments.


def test_the_active_one_is_found_wherever_it_is(place, tmp_path):
    make_venv(tmp_path / "elsewhere/it")
    session = place(VIRTUAL_ENV=f"{tmp_path}/elsewhere/it", PATH=f"{tmp_path}/elsewhere/it/bin:/nowhere")
    active, own = interpreters(session)
    assert (active.where, active.main) == ("venv it", True)
    assert active.environment["PATH"] == f"{tmp_path}/elsewhere/it/bin:/nowhere"
    assert "VIRTUAL_ENV" not in own.environment
    assert f"{tmp_path}/elsewhere/it/bin" not in own.environment["PATH"].split(":")


def test_one_that_comes_first_in_path_counts_as_active(place, tmp_path):
    make_venv(tmp_path / "it")
    first, _ = interpreters(place(PATH=f"{tmp_path}/it/bin"))
    assert (first.origin, first.where, first.main) == ("venv", "venv it", True)
    assert first.environment["VIRTUAL_ENV"] == f"{tmp_path}/it"


def test_they_are_found_in_the_usual_places_below_the_start_directory(place):
    session = place()
    start = Path(session.start)
    there = [
        "mine",
        ".hidden",
        "project/.venv",
        "other/venv",
        ".venvs/a",
        ".virtualenvs/b",
        "envs/c",
        ".venv",
    ]
    for path in [*there, "project/deep/.venv", ".hidden-project/.venv"]:
        (start / path).mkdir(parents=True)
        (start / path / "pyvenv.cfg").touch()
    (start / "link").symlink_to(start / "mine")
    (start / "project/venv").symlink_to(start / "mine")
    found = [os.path.relpath(each.path, start) for each in venvs_below(session.start)]
    assert sorted(found) == sorted(there)
    assert found[0] == ".venv"


def test_they_are_called_by_their_project_and_by_their_path_where_that_is_not_enough(place):
    session = place()
    for path in ("project/.venv", "mine", ".venvs/same", "same/.venv"):
        (Path(session.start) / path).mkdir(parents=True)
        (Path(session.start) / path / "pyvenv.cfg").touch()
    names = {where for origin, where in found(session) if origin == "venv"}
    assert names == {"venv project", "venv mine", "venv .venvs/same", "venv same/.venv"}


def test_few_places_are_looked_at(tmp_path):
    for number in range(50):
        (tmp_path / f"{number:02}").mkdir()
        (tmp_path / f"{number:02}/pyvenv.cfg").touch()
    assert len(venvs_below(str(tmp_path), most=10)) == 4  # each with the two below it
    assert len(venvs_below(str(tmp_path), seconds=-1)) == 1


@pytest.mark.parametrize("start", ["missing", "file", "not/there"])
def test_a_directory_that_can_not_be_read_holds_none(tmp_path, start):
    (tmp_path / "file").touch()
    assert venvs_below(str(tmp_path / start)) == []


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """A start directory with a virtual environment whose description is to be written."""
    start = tmp_path_factory.mktemp("start")
    (start / "it").mkdir()
    return start


@given(st.text(alphabet=string.printable))
def test_any_text_may_stand_in_a_description(described, text):
    (described / "it/pyvenv.cfg").write_text(text)
    assert Venv.at(f"{described}/it").path == f"{described}/it"


@given(
    st.binary()
    | st.builds(b"home = %b\nversion = %b\n".__mod__, st.tuples(st.binary(), st.binary()))
    | st.builds("home = {}\nversion = 3.{}".format, st.text(), st.text()).map(
        lambda text: text.encode(errors="replace")
    )
)
def test_no_description_whatever_stands_in_it_hinders_the_search(described, content):
    (described / "it/pyvenv.cfg").write_bytes(content)
    environments = Environments.of({"PATH": "/nowhere"}, [])
    for each in interpreters(Place(environments, "host", "", str(described))):
        if each.venv:
            assert os.fsencode(each.venv.base)
            assert each.looks().problem


@pytest.mark.parametrize("content", [b"home = /a\0b\nversion = 3.12\n", None])
def test_what_is_no_description_makes_no_virtual_environment(described, content):
    path = described / "it/pyvenv.cfg"
    path.unlink(missing_ok=True)
    os.mkfifo(path) if content is None else path.write_bytes(content)
    found = Venv.at(f"{described}/it")
    path.unlink()
    assert found is None


@pytest.mark.parametrize("version", ["../../../x", "3", "three", "3.x"])
def test_a_version_that_is_none_is_taken_for_none(described, version):
    (described / "it/pyvenv.cfg").write_text(f"home = /usr/bin\nversion = {version}\n")
    assert Venv.at(f"{described}/it").version == ""


def test_packages_of_one_of_the_views_python_come_before_the_views(place, tmp_path):
    mount = tmp_path / "image"
    make_image(mount, {"v": make_view(mount / "v", "numpy")}, default="v")
    session = place({mount: "it"}, PYTHONPATH="/users/own", PYTHONHOME="/somewhere")
    own = make_venv(Path(session.start) / "it", base=f"{mount}/v/bin/python3")
    venv = Venv.at(f"{session.start}/it")
    assert venv.environment(session.environments)["PYTHONPATH"] == f"{own}:{mount}/v/site-packages:/users/own"
    assert "PYTHONHOME" not in venv.environment(session.environments)
    older = venv._replace(version="3.1").environment(session.environments)
    assert older["PYTHONPATH"].split(":")[1:] == ["/users/own"]


def test_one_of_another_python_sees_nothing_of_the_views_packages(place, tmp_path):
    mount = tmp_path / "image"
    make_image(mount, {"v": make_view(mount / "v", "numpy")}, default="v")
    session = place({mount: "it"})
    make_venv(Path(session.start) / "it")
    seen = Venv.at(f"{session.start}/it").environment(session.environments)
    assert "PYTHONPATH" not in seen
    assert seen["VIEW"] == "v"
    assert seen["PATH"].split(":")[0] == f"{session.start}/it/bin"


def test_what_somebody_else_has_made_is_not_run_but_looked_at(place, monkeypatch):
    session = place()
    make_venv(Path(session.start) / "it", "ipykernel")
    (theirs,) = [each for each in interpreters(session) if each.origin == "venv"]
    assert theirs.question
    monkeypatch.setattr(os, "getuid", lambda: 1234)
    os.chown(theirs.venv.path, 4321, -1) if os.geteuid() == 0 else None
    assert theirs.question is None
    (marked,) = [each for each in interpreters(session) if each.origin == "venv"]
    assert re.fullmatch(r"venv it \(of .+\)", marked.where)
    assert (theirs.where, marked.key) == ("venv it", theirs.key)
    assert theirs.looks().version == VERSION
    assert theirs.looks().has == ("ipykernel",)
    assert "not there" in theirs._replace(program="/nowhere/python").looks().problem


# The host's and the container's.


@pytest.mark.parametrize(
    ("kind", "title", "where"),
    [
        ("container", "PyTorch 25.01", "PyTorch 25.01"),
        ("host", "Login shell", "Login shell"),
        ("host", "", "host"),
        ("", "", "host"),
        ("uenv", "prgenv-gnu", "host"),
    ],
)
def test_the_python_of_path_is_called_after_its_environment(place, tmp_path, kind, title, where):
    make_program(tmp_path / "opt/bin/python3")
    session = place(kind=kind, title=title, PATH=f"/nowhere:{tmp_path}/opt/bin")
    assert found(session) == [("path", where), ("own", "JupyterLab")]


@pytest.mark.parametrize("of_the_view", [True, False])
def test_a_python_of_path_that_a_view_or_the_server_brings_is_none_of_its_own(place, tmp_path, of_the_view):
    mount = tmp_path / "image"
    make_image(mount, {"v": make_view(mount / "v")}, default="v")
    session = place({mount: "it"} if of_the_view else {}, PATH=f"{sys.prefix}/bin")
    assert "path" not in dict(found(session))


def test_the_servers_own_python_has_no_view(place, tmp_path):
    mount = tmp_path / "image"
    make_image(mount, {"v": make_view(mount / "v")}, default="v")
    own = interpreters(place({mount: "it"}, PYTHONPATH="/users/own"))[-1]
    assert own.program == sys.executable
    assert not {"VIEW", "PYTHONPATH", "PYTHONHOME"} & own.environment.keys()
    assert own.environment["PATH"] == f"{sys.prefix}/bin:/nowhere"


# What they say of themselves.


def test_a_python_says_its_version_and_what_it_can_load(tmp_path):
    make_packages(tmp_path, "ipykernel")
    question = Question.python(PYTHON, {"PYTHONPATH": str(tmp_path)})
    asked = Inquiry()
    asked.ask([question])
    answer = asked.known(question)
    assert answer.version == VERSION
    assert {"ipykernel", "ensurepip"} <= set(answer.has)
    assert str(tmp_path) in answer.directories
    assert not answer.problem


def test_it_is_run_again_only_after_its_packages_have_changed(tmp_path):
    counted = tmp_path / "runs"
    program = make_program(tmp_path / "bin/python3", f'echo >> {counted}\nexec {PYTHON} "$@"')
    packages = tmp_path / "packages"
    packages.mkdir()
    question = Question.python(str(program), {"PYTHONPATH": str(packages)})
    asked = Inquiry()
    for _ in range(3):
        asked.ask([question])
    assert counted.read_text() == "\n"
    assert "ipykernel" not in asked.known(question).has
    make_packages(packages, "ipykernel")
    os.utime(packages, (1, 1))
    assert asked.known(question) is None
    asked.ask([question])
    assert "ipykernel" in asked.known(question).has
    assert counted.read_text() == "\n\n"


@pytest.mark.parametrize(
    ("shell", "problem"),
    [
        (
            "echo first >&2; echo 'libpython3.12.so: cannot open' >&2; exit 127",
            "libpython3.12.so: cannot open",
        ),
        ("exit 3", "exit code 3"),
        ("exit 0", "it ended without an answer"),
        ("echo Hello", "an unexpected answer: Hello"),
        ("echo '[]'", "an unexpected answer: []"),
        ('echo \'{"version": 1, "has": 2, "directories": 3}\'', "an unexpected answer"),
        ("kill -9 $$", "exit code -9"),
        ("exec sleep 600", "no answer within 0.2 seconds"),
        ("sleep 600 & exit 3", "exit code 3"),
        ("exec cat /dev/zero", "its output has no end"),
        ("exec cat /dev/zero >&2", "its output has no end"),
        ("head -c 50000 /dev/zero | tr '\\0' '['", "an unexpected answer: [[["),
    ],
)
def test_what_is_broken_says_why(tmp_path, monkeypatch, shell, problem):
    monkeypatch.setattr(inquiry, "TIMEOUT", 0.2 if "exec sleep" in shell else 30.0)
    question = Question.python(str(make_program(tmp_path / "python3", shell)), {"PATH": os.environ["PATH"]})
    asked = Inquiry()
    asked.ask([question])
    assert problem in asked.known(question).problem


@pytest.mark.parametrize("before", ["sleep 600 & echo $! > $0.child", "echo '{}'; echo '{\"version\": 1}'"])
def test_neither_what_runs_in_the_background_nor_what_is_printed_before_hides_an_answer(
    tmp_path, monkeypatch, before
):
    monkeypatch.setattr(inquiry, "TIMEOUT", 60.0)
    program = make_program(tmp_path / "python3", f'{before}\nexec {PYTHON} "$@"')
    question = Question.python(str(program), {"PATH": os.environ["PATH"]})
    asked = Inquiry()
    asked.ask([question])
    assert asked.known(question).version == VERSION


@pytest.mark.parametrize("after", ["exit 0", "exit 1", "exec sleep 600", "exec cat /dev/zero"])
def test_all_that_it_has_started_ends_with_it(tmp_path, monkeypatch, after):
    monkeypatch.setattr(inquiry, "TIMEOUT", 0.5 if "sleep" in after else 30.0)
    program = make_program(tmp_path / "python3", f"sleep 600 & echo $! > $0.child; {after}")
    asked = Inquiry()
    asked.ask([Question.python(str(program), {"PATH": os.environ["PATH"]})])
    child = int((tmp_path / "python3.child").read_text())
    end = time.monotonic() + 30
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_is_not_there_says_so(tmp_path):
    question = Question.python(f"{tmp_path}/python3", {})
    asked = Inquiry()
    asked.ask([question])
    assert asked.known(question).problem == "No such file or directory"


def test_a_failure_is_not_remembered_for_ever(tmp_path):
    now = [0.0]
    question = Question.python(str(make_program(tmp_path / "python3", "exit 1")), {})
    asked = Inquiry(lambda: now[0])
    asked.ask([question])
    assert asked.known(question).problem
    now[0] = 601
    assert asked.known(question) is None


def test_several_are_asked_at_once_and_none_twice(tmp_path):
    # Each ends when the other is there.
    wait = "touch $0.here; while [ ! -e $OTHER ]; do sleep 0.02; done; exit 1"
    programs = [make_program(tmp_path / name, wait) for name in ("a", "b")]
    questions = [
        Question.python(str(each), {"PATH": os.environ["PATH"], "OTHER": f"{other}.here"})
        for each, other in zip(programs, reversed(programs), strict=True)
    ]
    asked = Inquiry()
    others = [threading.Thread(target=asked.ask, args=(questions,)) for _ in range(2)]
    for each in others:
        each.start()
    for each in others:
        each.join()
    end = time.monotonic() + 30
    while not all(asked.known(each) for each in questions):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert [asked.known(each).problem for each in questions] == ["exit code 1"] * 2


# Names.


@given(st.text())
def test_a_name_is_one_that_jupyter_allows(text):
    name = slug(text)
    assert JUPYTER_NAME.fullmatch(name)
    assert len(name) < 120
    assert not name.startswith(".")


@given(st.lists(st.text(alphabet="aA-./ é", max_size=4)))
def test_no_two_names_are_the_same_and_none_is_the_main_one(texts):
    made = names(texts)
    assert len(set(made)) == len(texts)
    assert MAIN not in made
    assert all(JUPYTER_NAME.fullmatch(each) for each in made)


def test_a_name_does_not_depend_on_what_comes_before():
    first, second = "python venv /a b", "python venv /a-b"
    assert names([first, second]) == list(reversed(names([second, first])))
    assert names(["python prgenv-gnu/24.11 default"]) == ["python-prgenv-gnu-24.11-default"]
