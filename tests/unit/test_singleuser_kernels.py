"""Which kernels a session offers, what they are called, and what helps those that can't run."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_client.kernelspec import KernelSpec, NoSuchKernel
from programming import (
    PYTHON,
    VERSION,
    make_image,
    make_kernelspec,
    make_packages,
    make_program,
    make_venv,
    make_view,
)
from support import program

from launcher.singleuser.environment import Environments
from launcher.singleuser.image import mounted
from launcher.singleuser.kernels import manager
from launcher.singleuser.kernels import search as searching
from launcher.singleuser.kernels.interpreters import Place
from launcher.singleuser.kernels.manager import CannotRun, Kernels, KernelSpecs
from launcher.singleuser.kernels.offer import Found
from launcher.singleuser.kernels.search import Search

OWN = f"Python {VERSION} · JupyterLab"


class Session:
    """A session of which the start directory, the home and the images are directories of a test."""

    def __init__(self, here: Path) -> None:
        self.start = here / "start"
        self.mount = here / "image"
        self.private = here / "private"
        self.kind = "uenv"
        self.title = "PyTorch"
        self.usual = here / "home/.local/share/jupyter/kernels"
        self.variables = {"PATH": "/nowhere", "HOME": str(here / "home")}
        self.labels = {}
        for directory in (self.start, self.private, self.usual):
            directory.mkdir(parents=True)

    def image(
        self, label: str = "prgenv-gnu/24.11:v1@daint", default: str | None = "v", **views: dict
    ) -> None:
        make_image(self.mount, views, default=default)
        self.labels = {str(self.mount): label}

    @property
    def environments(self) -> Environments:
        return Environments.of(self.variables, mounted(self.variables, self.labels))

    def search(self) -> Search:
        place = Place(self.environments, self.kind, self.title, str(self.start))
        return Search(place, [str(self.usual)], str(self.private))

    def kernels(self) -> list:
        search = self.search()
        search.run()
        return search.kernels

    def titles(self) -> dict[str, str]:
        return {each.name: each.title for each in self.kernels() if each.offered}


@pytest.fixture
def session(tmp_path):
    return Session(tmp_path)


# Pythons.


def test_views_come_first_then_virtual_environments_and_the_servers_own_python_last(session):
    session.image(
        v=make_view(session.mount / "v", "ipykernel"), w=make_view(session.mount / "w", "ipykernel")
    )
    make_venv(session.start / "it", "ipykernel")
    assert list(session.titles().items()) == [
        ("python3", f"Python {VERSION} · prgenv-gnu/24.11 v"),
        ("python-prgenv-gnu-24.11-w", f"Python {VERSION} · prgenv-gnu/24.11 w"),
        (f"python-venv{str(session.start).replace('/', '-')}-it", f"Python {VERSION} · venv it"),
        ("python-jupyterlab", OWN),
    ]


def test_a_kernel_of_a_view_sees_that_view(session):
    session.image(
        v=make_view(session.mount / "v", "ipykernel"), w=make_view(session.mount / "w", "ipykernel")
    )
    loaded, other, _ = session.kernels()
    assert (loaded.environment["VIEW"], other.environment["VIEW"]) == ("v", "w")
    assert other.environment["PATH"].split(":")[0] == f"{session.mount}/w/bin"


def test_the_main_python_answers_to_its_usual_name_as_well(session):
    session.image(v=make_view(session.mount / "v", "ipykernel"))
    search = session.search()
    search.run()
    assert search["python3"] == search["Python-prgenv-gnu-24.11-v"]


def test_python3_is_the_active_virtual_environment_where_no_view_is_loaded(session):
    session.image(default=None, v=make_view(session.mount / "v", "ipykernel"))
    make_venv(session.start / "it", "ipykernel")
    session.variables |= {"VIRTUAL_ENV": str(session.start / "it")}
    assert session.titles()["python3"] == f"Python {VERSION} · venv it"


@pytest.mark.parametrize(
    ("kind", "has", "title"),
    [
        ("container", True, f"Python {VERSION} · PyTorch"),
        ("container", False, f"Python {VERSION} · PyTorch (no ipykernel)"),
        ("host", True, f"Python {VERSION} · PyTorch"),
        ("host", False, OWN),
    ],
)
def test_python3_is_the_containers_and_the_hosts_only_if_it_can_run(session, tmp_path, kind, has, title):
    session.kind = kind
    make_program(tmp_path / "opt/bin/python3", f'exec {PYTHON} "$@"')
    make_packages(tmp_path / "packages", *(["ipykernel"] if has else []))
    session.variables |= {"PATH": f"{tmp_path}/opt/bin", "PYTHONPATH": str(tmp_path / "packages")}
    assert session.titles()["python3"] == title


def test_the_systems_python_without_ipykernel_is_listed_but_not_offered(session):
    program("/usr/bin/python3")
    session.variables |= {"PATH": "/usr/bin"}
    if subprocess.run(["/usr/bin/python3", "-c", "import ipykernel"], stderr=-3, check=False).returncode == 0:
        pytest.skip("the system's Python has ipykernel")
    system, *_ = session.kernels()
    assert not system.offered
    assert "no ipykernel" in system.problem
    session.kind = "container"
    assert session.kernels()[0].offered


def test_a_python_that_breaks_is_listed_with_what_it_said(session):
    values = make_view(session.mount / "v")
    (session.mount / "v/bin/python3").unlink()
    make_program(session.mount / "v/bin/python3", "echo 'libmpi.so.12: not found' >&2; exit 127")
    session.image(v=values)
    broken, own = session.kernels()
    assert not broken.offered
    assert broken.problem == f"{session.mount}/v/bin/python3 does not run: libmpi.so.12: not found."
    assert own.name == "python3"


# What helps.


def test_the_advice_for_a_view_makes_a_virtual_environment_that_takes_its_place(session):
    session.image(v=make_view(session.mount / "v"))
    main = session.kernels()[0]
    assert (main.name, main.title) == ("python3", f"Python {VERSION} · prgenv-gnu/24.11 v (no ipykernel)")
    there = session.start / ".venvs/prgenv-gnu-24.11-v"
    make, install = main.fix.split(" && ")
    assert make == f"{session.mount}/v/bin/python3 -m venv --system-site-packages {there}"
    assert install == f"{there}/bin/python -m pip install ipykernel"
    subprocess.run(f"{make} --without-pip", shell=True, check=True)
    make_packages(there / f"lib/python{VERSION}/site-packages", "ipykernel")
    assert session.titles()["python3"] == f"Python {VERSION} · venv prgenv-gnu-24.11-v"


def test_nobody_elses_virtual_environment_takes_its_place(session, monkeypatch):
    session.image(v=make_view(session.mount / "v"))
    make_venv(session.start / "it", "ipykernel", base=f"{session.mount}/v/bin/python3")
    assert session.titles()["python3"] == f"Python {VERSION} · venv it"
    monkeypatch.setattr(os, "getuid", lambda: 1234)
    os.chown(session.start / "it", 4321, -1) if os.geteuid() == 0 else None
    titles = session.titles()
    assert titles["python3"] == f"Python {VERSION} · prgenv-gnu/24.11 v (no ipykernel)"
    (theirs,) = [each for each in titles.values() if "venv" in each]
    assert theirs.startswith(f"Python {VERSION} · venv it (of ")


def test_there_is_no_advice_to_run_what_somebody_else_has_made(session, monkeypatch):
    make_venv(session.start / "it", "pip")
    monkeypatch.setattr(os, "getuid", lambda: 1234)
    os.chown(session.start / "it", 4321, -1) if os.geteuid() == 0 else None
    assert "no ipykernel" in session.kernels()[0].problem
    assert session.kernels()[0].fix == ""


@pytest.mark.parametrize(
    ("packages", "uv", "fix"),
    [
        (["pip"], True, "{python} -m pip install ipykernel"),
        ([], True, "{uv} pip install --python {python} ipykernel"),
        ([], False, "{python} -m ensurepip && {python} -m pip install ipykernel"),
    ],
)
def test_the_advice_for_a_virtual_environment_is_what_works_there(session, tmp_path, packages, uv, fix):
    make_venv(session.start / "it's mine", *packages)
    if uv:
        make_program(tmp_path / "tools/uv")
    session.variables |= {"PATH": f"{tmp_path}/tools"}
    quoted = f"'{session.start}/it'\"'\"'s mine/bin/python'"
    found = session.kernels()[0]
    assert found.fix == fix.format(python=quoted, uv=tmp_path / "tools/uv")
    assert found.offered


def test_the_advice_does_not_take_a_views_packages_for_those_of_a_virtual_environment(session):
    session.image(v=make_view(session.mount / "v", "ipykernel"))
    make_venv(session.start / "it", "pip")
    (venv,) = [each for each in session.kernels() if each.fix]
    assert venv.fix == f"{session.start}/it/bin/python -I -m pip install ipykernel"


# Kernelspecs.


def test_kernelspecs_beside_the_folders_of_path_are_kernels_of_their_view(session):
    session.image(
        v=make_view(session.mount / "v", "ipykernel"), w=make_view(session.mount / "w", "ipykernel")
    )
    for view in ("v", "w"):
        julia = make_program(session.mount / view / "bin/julia")
        folder = session.mount / view / "share/jupyter/kernels"
        make_kernelspec(folder, "julia-1.10", str(julia), title="Julia 1.10", language="julia")
    made = {each.name: each for each in session.kernels()}
    assert made["julia-1.10"].title == "Julia 1.10 · prgenv-gnu/24.11 v"
    assert made["julia-1.10-prgenv-gnu-24.11-w"].title == "Julia 1.10 · prgenv-gnu/24.11 w"
    assert made["julia-1.10-prgenv-gnu-24.11-w"].environment["VIEW"] == "w"


def test_those_of_pythons_that_are_offered_are_left_out(session):
    session.image(v=make_view(session.mount / "v", "ipykernel"))
    folder = session.mount / "v/share/jupyter/kernels"
    make_kernelspec(
        folder, "python3", "python", "-m", "ipykernel_launcher", title="Python 3", language="python"
    )
    make_kernelspec(
        session.usual, "python3", PYTHON, "-m", "ipykernel", title="Python 3 (ipykernel)", language="python"
    )
    assert len(session.titles()) == 2


def test_what_somebody_has_put_there_by_hand_stays_under_its_own_name(session):
    make_venv(session.start / "it", "ipykernel")
    python = f"{session.start}/it/bin/python"
    make_kernelspec(
        session.usual,
        "Mine",
        python,
        "-m",
        "ipykernel_launcher",
        title="My own",
        language="python",
        env={"A": "b"},
    )
    make_kernelspec(session.usual, "gone", "/gone/bin/python", title="Gone", language="python")
    made = {each.name: each for each in session.kernels()}
    assert made["mine"].title == "My own"
    assert made["mine"].settings["env"] == {"A": "b"}
    assert made["mine"].environment["VIRTUAL_ENV"] == f"{session.start}/it"
    assert made["gone"].problem == "/gone/bin/python is not there in this session."
    assert not made["gone"].offered


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"argv": []}',
        '{"argv": "x"}',
        '{"argv": [1]}',
        '{"argv": ["/bin/sh"], "env": {"A": 1}}',
        '{"argv": ["/bin/sh"], "env": {"A=B": "c"}}',
        '{"argv": ["/bin/sh"], "env": {"A": "\\u0000"}}',
        '{"argv": ["/x\\u0000y", "-f"]}',
        '{"argv": ["/bin/sh", "\\ud800"]}',
        '{"argv": ["/bin/sh"], "display_name": "\\ud800"}',
        '{"argv": ["/bin/sh"], "language": ["R"]}',
        "[" * 200_000,
        "\xff",
    ],
    ids=lambda text: text[:50],
)
def test_a_broken_kernelspec_is_passed_over(session, text):
    (session.usual / "broken").mkdir()
    (session.usual / "broken/kernel.json").write_text(text, encoding="latin-1")
    assert list(session.titles()) == ["python3"]


@pytest.mark.parametrize("metadata", ['{"a": NaN}', '{"a": 1e999}', f'{{"a": {"[" * 500}{"]" * 500}}}'])
def test_what_no_browser_could_read_is_left_out(session, metadata):
    (session.usual / "it").mkdir()
    (session.usual / "it/kernel.json").write_text(f'{{"argv": ["/bin/sh"], "metadata": {metadata}}}')
    assert session.kernels()[0].settings == {}


def test_a_pipe_in_place_of_a_file_is_passed_over(session):
    (session.usual / "broken").mkdir()
    os.mkfifo(session.usual / "broken/kernel.json")
    (session.start / "broken/.venv").mkdir(parents=True)
    os.mkfifo(session.start / "broken/.venv/pyvenv.cfg")
    assert list(session.titles()) == ["python3"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A session with a kernelspec that is to be written."""
    session = Session(tmp_path_factory.mktemp("session"))
    (session.usual / "it").mkdir()
    return session


TEXTS = st.text() | st.sampled_from(["\0", "\ud800", "/bin/sh", "python", "ipykernel", "{resource_dir}/x"])
VALUES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
KERNELSPECS = st.fixed_dictionaries(
    {"argv": st.lists(TEXTS, max_size=3) | VALUES},
    optional={
        "env": st.dictionaries(TEXTS, TEXTS, max_size=3) | VALUES,
        **dict.fromkeys(("display_name", "language", "metadata", "interrupt_mode"), VALUES),
    },
)


@given(st.binary() | KERNELSPECS.map(lambda spec: json.dumps(spec).encode()))
def test_no_kernelspec_whatever_stands_in_it_hinders_the_search(written, content):
    (written.usual / "it/kernel.json").write_bytes(content)
    search = written.search()
    *found, _ = Found.of(search._place, search._usual).kernels(lambda _: None)
    for kernel in found:
        json.dumps(kernel.settings, allow_nan=False)
        variables = kernel.settings.get("env", {})
        for each in (*kernel.command, kernel.title, kernel.language, *variables, *variables.values()):
            assert "\0" not in each
            each.encode()


def test_a_kernelspec_with_a_strange_name_gets_one_that_jupyter_allows(session):
    make_kernelspec(session.usual, "C++ (17)", "/bin/sh", title="C++", language="c++")
    assert session.titles() == {"c-17": "C++", "python3": OWN}


# R and Julia.


def test_an_r_with_irkernel_is_a_kernel_without_a_kernelspec(session, tmp_path):
    r = program("R")
    (tmp_path / "opt/bin").mkdir(parents=True)
    (tmp_path / "opt/bin/R").symlink_to(r)
    session.kind = "container"
    session.variables |= {"PATH": f"{tmp_path}/opt/bin:/usr/bin"}
    # Debian's own kernelspec is not the one in question.
    search = session.search()
    search._place.environments.user["PATH"] = f"{tmp_path}/opt/bin:{_folder_of_tools(tmp_path)}"
    search.run()
    kernel = search["ir"]
    assert kernel.title.startswith("R 4.")
    assert kernel.title.endswith(" · PyTorch")
    assert kernel.command[1:] == ("--slave", "-e", "IRkernel::main()", "--args", "{connection_file}")
    assert Path(kernel.resources, "kernel.json").exists()


def _folder_of_tools(here: Path) -> Path:
    """Return a folder with the programs that R's own script needs."""
    folder = here / "tools/bin"
    folder.mkdir(parents=True)
    for name in ("sed", "uname", "sh", "env", "rm", "mkdir", "dirname", "basename"):
        (folder / name).symlink_to(program(name))
    return folder


def test_an_r_without_irkernel_is_listed_with_what_helps(session, tmp_path):
    answer = '{"version": "4.1", "has": [], "directories": [], "resources": ""}'
    make_program(tmp_path / "opt/bin/R", f"echo '{answer}'")
    session.variables |= {"PATH": f"{tmp_path}/opt/bin"}
    (listed,) = [each for each in session.kernels() if each.language == "R"]
    assert listed.problem == "R 4.1 of host has no IRkernel, which notebooks need."
    assert 'install.packages("IRkernel"' in listed.fix
    assert not listed.offered


def test_a_julia_without_ijulia_is_listed_with_what_helps(session, tmp_path):
    make_program(tmp_path / "opt/bin/julia")
    session.variables |= {"PATH": f"{tmp_path}/opt/bin"}
    (listed,) = [each for each in session.kernels() if each.language == "julia"]
    assert listed.fix == """julia -e 'using Pkg; Pkg.add("IJulia")'"""
    make_kernelspec(session.usual, "julia-1.10", "/bin/sh", title="Julia 1.10", language="julia")
    assert [each.name for each in session.kernels() if each.language == "julia"] == ["julia-1.10"]


# The report.


def test_what_was_found_is_told_to_the_sessions_own_programs_alone(session):
    session.image(v=make_view(session.mount / "v"))
    session.kernels()
    report = session.private / "kernels.json"
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    first, own = json.loads(report.read_text())
    assert first.keys() == {"name", "title", "program", "problem", "fix"}
    assert (first["name"], first["program"]) == ("python3", f"{session.mount}/v/bin/python3")
    assert "no ipykernel" in first["problem"]
    assert (own["problem"], own["fix"]) == ("", "")


# What goes wrong.


def test_before_the_first_look_there_is_the_servers_own_python(session):
    search = session.search()
    (own,) = search.kernels
    assert (own.name, own.title, own.program) == ("python3", "Python · JupyterLab", sys.executable)
    assert search["python-jupyterlab"] == own
    assert not search.has_looked


def test_a_look_that_fails_takes_nothing_away_and_the_next_one_does_better(session, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("something unforeseen")

    def look():
        ended = threading.Event()
        search.start(ended.set)
        assert ended.wait(60)
        return [each.title for each in search.kernels]

    search = session.search()
    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(searching.Found, "of", fail)
        assert look() == ["Python · JupyterLab"]
        assert "something unforeseen" in caplog.text
    assert look() == [OWN]
    monkeypatch.setattr(searching.Found, "of", fail)
    assert look() == [OWN]


# Jupyter's side.


@pytest.fixture
def specs(session):
    """Return a function that makes Jupyter's own view of the session."""

    def make(**configured) -> KernelSpecs:
        answer = SimpleNamespace(kind=session.kind, title=session.title, start_directory=str(session.start))
        kind = type("Specs", (KernelSpecs,), {})
        kind.session = SimpleNamespace(
            environments=session.environments, answer=answer, directory=str(session.private)
        )
        kind.kernel_dirs = [str(session.usual)]
        return kind(**configured)

    return make


async def test_jupyterlab_is_shown_what_is_offered(session, specs):
    session.image(v=make_view(session.mount / "v", "ipykernel"))
    shown = await specs().get_all_specs()
    assert {name: each["spec"]["display_name"] for name, each in shown.items()} == session.titles()
    assert shown["python3"]["spec"]["argv"][0] == f"{session.mount}/v/bin/python3"
    assert Path(shown["python3"]["resource_dir"], "logo-64x64.png").exists()


async def test_an_admins_choice_of_kernels_counts(specs):
    assert list(await specs(allowed_kernelspecs={"python3"}).get_all_specs()) == ["python3"]
    assert await specs(allowed_kernelspecs={"other"}).get_all_specs() == {}


async def test_what_does_not_answer_in_time_is_shown_all_the_same(session, specs, monkeypatch):
    monkeypatch.setattr(manager, "_PATIENCE", 2.0)
    values = make_view(session.mount / "v")
    (session.mount / "v/bin/python3").unlink()
    make_program(session.mount / "v/bin/python3", "exec /bin/sleep 6")
    session.image(v=values)
    shown = await specs().get_all_specs()
    assert shown["python3"]["spec"]["display_name"] == "Python · prgenv-gnu/24.11 v"


async def test_a_search_that_hangs_leaves_a_kernel_that_runs(specs, start, monkeypatch):
    monkeypatch.setattr(manager, "_PATIENCE", 0.1)
    goes_on = threading.Event()
    monkeypatch.setattr(searching.Found, "of", lambda *_: goes_on.wait(60))
    shown = await specs().get_all_specs()
    assert {name: each["spec"]["display_name"] for name, each in shown.items()} == {
        "python3": "Python · JupyterLab"
    }
    assert (await start("python3"))["kernel_name"] == "python3"
    goes_on.set()


async def test_a_kernel_that_is_started_at_once_is_the_users_all_the_same(session, start):
    session.image(v=make_view(session.mount / "v", "ipykernel"))
    assert (await start("python3"))["env"]["VIEW"] == "v"


async def test_what_is_found_meanwhile_does_not_mix_with_what_is_shown(session, specs, monkeypatch):
    session.image(v=make_view(session.mount / "v", "ipykernel"))
    made = specs()
    await made.look()

    class Found(KernelSpec):
        def __init__(self, **spec):
            super().__init__(**spec)
            made._search.kernels = []

    made.kernel_spec_class = Found
    monkeypatch.setattr(made, "look", lambda: asyncio.sleep(0))
    assert list(await made.get_all_specs()) == ["python3", "python-jupyterlab"]


async def test_nothing_runs_in_the_event_loop_and_nothing_twice(session, specs, tmp_path):
    runs = tmp_path / "runs"
    values = make_view(session.mount / "v", "ipykernel")
    (session.mount / "v/bin/python3").unlink()
    make_program(session.mount / "v/bin/python3", f'echo >> {runs}\nexec {PYTHON} "$@"')
    session.image(v=values)
    made = specs()
    await asyncio.gather(*(made.get_all_specs() for _ in range(5)))
    await made.look(anew=True)
    assert runs.read_text() == "\n"


class _Started(Exception):
    pass


@pytest.fixture
def start(session, specs, monkeypatch):
    """Return a function that tells what a kernel would be started with."""
    seen = {}

    async def started(self, **kwargs):
        seen.update(kwargs)
        return "id"

    monkeypatch.setattr(manager.AsyncMappingKernelManager, "start_kernel", started)
    made = []

    async def run(name=None, **env):
        if not made:
            made.append(
                type("It", (Kernels,), {"environments": session.environments})(kernel_spec_manager=specs())
            )
        await made[0].start_kernel(kernel_name=name, env=os.environ | env)
        return seen

    return run


async def test_a_kernel_is_started_in_its_environment_with_what_jupyterlab_adds(session, start):
    session.image(
        v=make_view(session.mount / "v", "ipykernel"), w=make_view(session.mount / "w", "ipykernel")
    )
    seen = await start("python-prgenv-gnu-24.11-w", JPY_SESSION_NAME="a.ipynb")
    assert seen["env"]["VIEW"] == "w"
    assert seen["env"]["JPY_SESSION_NAME"] == "a.ipynb"
    assert "PYTEST_CURRENT_TEST" not in seen["env"]
    assert (await start())["kernel_name"] == "python3"
    assert seen["env"]["VIEW"] == "v"
    with pytest.raises(NoSuchKernel):
        await start("no-such")


async def test_a_kernel_that_can_not_run_says_what_helps_and_runs_after_that(session, start):
    packages = make_venv(session.start / "it", "pip")
    name = f"python-venv{str(session.start).replace('/', '-')}-it"
    with pytest.raises(CannotRun) as error:
        await start(name)
    assert str(error.value) == (
        f"Python {VERSION} of venv it has no ipykernel, which notebooks need.\n"
        f"In a terminal of this session:\n\n{session.start}/it/bin/python -m pip install ipykernel"
    )
    assert error.value.log_message == str(error.value)
    make_packages(packages, "ipykernel")
    os.utime(packages, (1, 1))
    assert (await start(name))["kernel_name"] == name


async def test_the_servers_own_kernel_has_no_view(session, start):
    session.image(v=make_view(session.mount / "v", "ipykernel"))
    seen = await start("python-jupyterlab")
    assert "VIEW" not in seen["env"]
    assert seen["env"]["PATH"].split(":")[0] == f"{sys.prefix}/bin"
