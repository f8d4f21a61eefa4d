"""What programs of a session learn of it, and the program `launcher` that they find."""

import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import claims
import pytest

import launcher
from launcher.errors import PreflightFailed
from launcher.singleuser.environment import Environments
from launcher.singleuser.image import Image, View
from launcher.singleuser.session import Session, record
from launcher.view import Patch

TOKEN, KEY = "t0ken", "d" * 64
ANSWER = claims.ANSWER._replace(
    launch_key=KEY,
    environment={
        "JUPYTERHUB_API_TOKEN": TOKEN,
        "JUPYTERHUB_API_URL": "https://hub.example.org/hub/api",
        "JUPYTERHUB_SERVICE_PREFIX": "/user/alice/",
    },
    networks=[],
    start_directory="/home/alice",
    cluster="Daint",
    title="prgenv-gnu/24.11:v1",
    kind="uenv",
    images={"/user-environment": "prgenv-gnu/24.11:v1"},
)
JOB = {
    "PATH": "/user-environment/bin:/usr/bin",
    "SLURM_JOB_ID": "42",
    "SLURM_JOB_PARTITION": "debug",
    "SLURM_JOB_ACCOUNT": "c1",
    "SLURM_JOB_NODELIST": "nid[001-002]",
    "SLURMD_NODENAME": "nid001",
}


def environments(**job):
    views = {name: View("/user-environment", name, Patch({}, {})) for name in ("modules", "default")}
    image = Image("/user-environment", "prgenv-gnu/24.11:v1", "prgenv-gnu", views, "default")
    job = {**JOB, **job}
    return Environments(dict(job), dict(job), dict(job), [image], [views["default"]])


@pytest.fixture
def announced(tmp_path):
    """Return a function that announces a session; it returns the session."""

    def announce(**job):
        listener = SimpleNamespace(host="10.0.0.1", port=4711)
        session = Session(ANSWER, listener, SimpleNamespace(), environments(**job), str(tmp_path))
        session.announce("https")
        return session

    return announce


class TestRecord:
    def test_it_says_what_the_session_is(self):
        assert record(ANSWER, environments()) == {
            "launcher": launcher.__version__,
            "hub": "https://hub.example.org/hub",
            "cluster": "Daint",
            "environment": {"title": "prgenv-gnu/24.11:v1", "kind": "uenv"},
            "images": [
                {
                    "mount": "/user-environment",
                    "label": "prgenv-gnu/24.11:v1",
                    "name": "prgenv-gnu",
                    "loaded": ["default"],
                    "others": ["modules"],
                }
            ],
            "node": "nid001",
            "job": {
                "id": "42",
                "partition": "debug",
                "account": "c1",
                "nodes": "nid[001-002]",
                "start": None,
                "end": None,
            },
            "end_warning": 60,
            "start_directory": "/home/alice",
        }

    def test_newer_versions_of_slurm_tell_when_the_job_began_and_ends(self):
        job = record(ANSWER, environments(SLURM_JOB_START_TIME="1000", SLURM_JOB_END_TIME="4600"))["job"]
        assert (job["start"], job["end"]) == (1000, 4600)

    @pytest.mark.parametrize("value", ["", "soon", "-1", "٣"])
    def test_a_time_that_is_none_is_not_known(self, value):
        assert record(ANSWER, environments(SLURM_JOB_END_TIME=value))["job"]["end"] is None

    def test_the_hub_is_shown_by_the_address_that_people_use_where_it_has_told_that(self):
        public = {"JUPYTERHUB_PUBLIC_HUB_URL": "https://jupyter.example.org/hub/"}
        answer = ANSWER._replace(environment=ANSWER.environment | public)
        assert record(answer, environments())["hub"] == "https://jupyter.example.org/hub/"

    def test_only_its_owner_may_read_it_and_it_holds_no_secret(self, announced, tmp_path):
        session = announced()
        path = tmp_path / "session.json"
        assert path.stat().st_mode & 0o777 == 0o600
        text = path.read_text()
        assert json.loads(text) == record(ANSWER, session.environments)
        assert TOKEN not in text
        assert KEY not in text
        assert {each.name for each in tmp_path.iterdir()} == {"bin", "session.json"}

    def test_a_directory_that_takes_nothing_is_told_before_jupyterlab_starts(self, announced, tmp_path):
        (tmp_path / "session.json.new").mkdir()
        with pytest.raises(PreflightFailed, match=f"Nothing can be written to {tmp_path.parent}"):
            announced()


class TestEnvironments:
    def test_all_programs_learn_what_the_hub_delivered_and_where_the_server_is(self, announced, tmp_path):
        for each in announced().environments[:3]:
            assert each["JUPYTERHUB_API_TOKEN"] == TOKEN
            assert each["JUPYTERHUB_SERVICE_URL"] == "https://10.0.0.1:4711/user/alice/"
            assert each["JUPYTER_RUNTIME_DIR"] == str(tmp_path)

    def test_the_users_programs_find_the_command_after_all_that_they_have(self, announced, tmp_path):
        found = announced().environments
        for each in (found.user, found.bare):
            assert each["PATH"] == f"/user-environment/bin:/usr/bin:{tmp_path}/bin"
            assert each["LAUNCHER_SESSION"] == str(tmp_path / "session.json")
        assert found.server["PATH"] == JOB["PATH"]
        assert "LAUNCHER_SESSION" not in found.server

    def test_nothing_but_the_command_is_added_to_what_they_find(self, announced, tmp_path):
        announced()
        assert [each.name for each in (tmp_path / "bin").iterdir()] == ["launcher"]

    def test_where_no_path_is_set_the_systems_default_stays(self, announced, tmp_path):
        assert announced(PATH="").environments.user["PATH"] == f"{os.defpath}:{tmp_path}/bin"


class TestCommand:
    """The user's environment may hold anything; it runs, with the server's own Python and packages."""

    @pytest.fixture
    def call(self, announced):
        session = announced(PATH="/usr/bin:/bin")

        def run(*before, **hostile):
            return subprocess.run(
                [*before, "sh", "-c", "launcher session --json"],
                env={**session.environments.user, **hostile},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )

        return run

    def told(self, done):
        assert done.stderr == ""
        return json.loads(done.stdout)["cluster"]

    def test_a_terminal_finds_it(self, call):
        assert self.told(call()) == "Daint"

    def test_packages_of_the_user_do_not_get_in_its_way(self, call, tmp_path):
        user = tmp_path / "packages"
        user.mkdir()
        for name in ("click", "json", "launcher", "sitecustomize"):
            (user / f"{name}.py").write_text("raise SystemExit('the wrong one')\n")
        assert self.told(call(PYTHONPATH=str(user), PYTHONSTARTUP=str(user / "click.py"))) == "Daint"

    def test_a_python_of_the_user_does_not_get_in_its_way(self, call, tmp_path):
        assert self.told(call(PYTHONHOME=str(tmp_path), VIRTUAL_ENV=str(tmp_path))) == "Daint"

    def test_libraries_of_the_user_do_not_get_in_its_way(self, call, tmp_path):
        python = os.path.realpath(sys.executable)
        linked = subprocess.run(["ldd", python], capture_output=True, text=True, check=True).stdout
        # One that Python is linked with and a shell is not.
        name = next(each.split()[0] for each in linked.splitlines() if " => " in each and "libc." not in each)
        (tmp_path / name).write_text("no library")
        assert subprocess.run(
            ["env", f"LD_LIBRARY_PATH={tmp_path}", python, "-c", ""], check=False
        ).returncode
        assert self.told(call(LD_LIBRARY_PATH=str(tmp_path))) == "Daint"

    def test_it_runs_where_the_sessions_directory_allows_no_programs(self, call, tmp_path):
        mount = f"mount --bind {tmp_path} {tmp_path} && mount -o remount,bind,noexec {tmp_path}"
        forbids = f"cp /bin/true {tmp_path}/true && ! {tmp_path}/true 2>/dev/null"
        apart = ["unshare", "--mount", "--map-root-user"]
        if not shutil.which("unshare") or subprocess.run([*apart, "true"], check=False).returncode:
            pytest.skip("mounting needs user namespaces")
        shell = ["sh", "-c", f'{mount} && {forbids} && exec "$@"', "sh"]
        assert self.told(call(*apart, *shell)) == "Daint"

    def test_outside_of_a_session_it_says_what_is_missing(self, call):
        done = call("env", "--unset=LAUNCHER_PYTHON")
        assert done.returncode
        assert "this is no terminal of a session" in done.stderr
