"""The two environments: nothing of the user's reaches the server, all of it reaches the user's programs."""

import os
import subprocess
import sys

import pytest

from launcher.singleuser.environment import Environments, without_step
from launcher.singleuser.image import Image, View
from launcher.singleuser.isolation import KEPT, isolate, recover
from launcher.view import Patch

MOUNT = "/user-environment"

# What a batch script has in Slurm 22.05, on two nodes, and what an srun of one task there adds or changes.
BATCH = {
    "SLURMD_NODENAME": "nid001",
    "SLURM_CPUS_ON_NODE": "1",
    "SLURM_CPUS_PER_TASK": "1",
    "SLURM_GPUS_ON_NODE": "4",
    "SLURM_GTIDS": "0",
    "SLURM_JOBID": "1",
    "SLURM_JOB_CPUS_PER_NODE": "1(x2)",
    "SLURM_JOB_ID": "1",
    "SLURM_JOB_NODELIST": "nid[001-002]",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_JOB_PARTITION": "normal",
    "SLURM_LOCALID": "0",
    "SLURM_MEM_PER_NODE": "100",
    "SLURM_NNODES": "2",
    "SLURM_NODEID": "0",
    "SLURM_NODELIST": "nid[001-002]",
    "SLURM_NPROCS": "2",
    "SLURM_NTASKS": "2",
    "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_PROCID": "0",
    "SLURM_SUBMIT_DIR": "/home/alice",
    "SLURM_TASKS_PER_NODE": "1(x2)",
    "SLURM_TASK_PID": "17770",
}
STEP = {
    "SLURM_CPU_BIND": "quiet,none",
    "SLURM_CPU_BIND_LIST": "",
    "SLURM_CPU_BIND_TYPE": "none",
    "SLURM_CPU_BIND_VERBOSE": "quiet",
    "SLURM_DISTRIBUTION": "cyclic",
    "SLURM_LAUNCH_NODE_IPADDR": "127.0.0.1",
    "SLURM_NNODES": "1",
    "SLURM_NPROCS": "1",
    "SLURM_NTASKS": "1",
    "SLURM_SRUN_COMM_HOST": "127.0.0.1",
    "SLURM_SRUN_COMM_PORT": "33809",
    "SLURM_STEPID": "0",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_LAUNCHER_PORT": "33809",
    "SLURM_STEP_NODELIST": "nid001",
    "SLURM_STEP_NUM_NODES": "1",
    "SLURM_STEP_NUM_TASKS": "1",
    "SLURM_STEP_TASKS_PER_NODE": "1",
    "SLURM_TASKS_PER_NODE": "1",
    "SLURM_TASK_PID": "17791",
    "SLURM_UMASK": "0022",
    "SRUN_DEBUG": "3",
}
RANK = {
    "GROUP_RANK": "0",
    "LOCAL_RANK": "0",
    "MASTER_ADDR": "nid001",
    "OMPI_COMM_WORLD_RANK": "0",
    "PMIX_RANK": "0",
    "PMIX_SERVER_URI41": "x",
    "PMI_RANK": "0",
    "RANK": "0",
    "TORCHELASTIC_RUN_ID": "none",
    "WORLD_SIZE": "1",
}
SETTINGS = {
    "CUDA_VISIBLE_DEVICES": "0,1",
    "OMPI_MCA_btl": "self",
    "PMIX_MCA_psec": "native",
    "PMI_MMAP_SYNC_WAIT_TIME": "300",
    "SLURM_CONF": "/etc/slurm/slurm.conf",
    "SLURM_GPUS": "8",
    "MPICH_GPU_SUPPORT_ENABLED": "1",
}


def view(mount=MOUNT, name="default", *, path=(), **scalars):
    operation = {"op": "prepend", "value": list(path)}
    lists = {"PATH": [operation]} if path else {}
    return View(mount, name, Patch.read({"list": lists, "scalar": scalars}))


def image(*views, default="", mount=MOUNT):
    return Image(mount, "gnu/1:v1", "gnu", {each.name: each for each in views}, default)


class TestStep:
    """A server is one task of a step, or of a batch script; what is started in it is not."""

    @pytest.mark.parametrize("step", [{}, STEP], ids=["batch script", "srun"])
    def test_nothing_that_is_started_takes_itself_for_its_rank(self, step):
        left = without_step({**BATCH, **step, **RANK})
        assert not left.keys() & RANK.keys()
        assert not {
            name for name in left if name.startswith("SLURM_STEP") or name.endswith(("PROCID", "LOCALID"))
        }
        assert not left.keys() & (STEP.keys() - BATCH.keys())

    def test_the_job_is_what_it_is_to_a_batch_script(self):
        assert without_step(BATCH | STEP) == without_step(BATCH)

    def test_the_job_stays_known(self):
        left = without_step(BATCH | STEP)
        kept = {
            name for name in BATCH if name.startswith(("SLURM_JOB", "SLURMD", "SLURM_CPUS", "SLURM_GPUS"))
        }
        assert left.items() >= {name: BATCH[name] for name in kept}.items()
        assert (left["SLURM_NNODES"], left["SLURM_NODELIST"]) == ("2", "nid[001-002]")

    @pytest.mark.parametrize(("nodes", "tasks"), [("1", "1"), ("2", "1(x2)")])
    def test_mpirun_learns_of_the_whole_job(self, nodes, tasks):
        assert without_step({**BATCH, **STEP, "SLURM_JOB_NUM_NODES": nodes})["SLURM_TASKS_PER_NODE"] == tasks

    def test_settings_of_mpi_and_of_devices_stay(self):
        assert without_step({**BATCH, **STEP, **SETTINGS}).items() >= SETTINGS.items()

    def test_outside_of_slurm_nothing_changes(self):
        assert without_step({"HOME": "/home/alice", **SETTINGS}) == {"HOME": "/home/alice", **SETTINGS}


class TestEnvironments:
    def test_a_view_is_the_users_and_not_the_servers(self):
        chosen = view(path=[f"{MOUNT}/bin"], CUDA_HOME="/cuda")
        found = Environments.of({"PATH": "/usr/bin"}, [image(chosen, default="default")])
        assert found.user == {"PATH": f"{MOUNT}/bin:/usr/bin", "CUDA_HOME": "/cuda"}
        assert found.bare == {"PATH": "/usr/bin"}
        assert found.server == {"PATH": f"{sys.prefix}/bin:/usr/bin", "PYTHONNOUSERSITE": "1"}
        assert found.views == [chosen]

    def test_one_that_uenv_has_loaded_is_not_loaded_again(self):
        chosen = view(path=[f"{MOUNT}/bin"], FLAGS="${@FLAGS@} -O2")
        job = {"PATH": f"/later:{MOUNT}/bin:/usr/bin", "FLAGS": "-g -O2"}
        found = Environments.of(job, [image(chosen, default="default")])
        assert found.user == job
        assert found.bare["PATH"] == "/later:/usr/bin"

    def test_one_that_lines_of_the_script_have_undone_is_loaded_again(self):
        found = Environments.of({"PATH": "/usr/bin"}, [image(view(path=[f"{MOUNT}/bin"]), default="default")])
        assert found.user["PATH"] == f"{MOUNT}/bin:/usr/bin"

    def test_what_a_view_shares_with_the_system_stays_the_servers(self):
        chosen = view(path=[f"{MOUNT}/bin", "/usr/bin", "/bin"])
        job = chosen.patch.applied({"PATH": "/usr/bin:/bin"})
        found = Environments.of(job, [image(chosen, default="default")])
        assert found.server["PATH"] == f"{sys.prefix}/bin:/usr/bin:/bin"
        assert found.bare["PATH"] == "/usr/bin:/bin"

    def test_another_view_takes_the_place_of_those_of_its_image_only(self):
        default, develop = (
            view(path=[f"{MOUNT}/default"], A="1"),
            view(name="develop", path=[f"{MOUNT}/develop"]),
        )
        other = view("/user-other", path=["/user-other/bin"])
        images = [
            image(default, develop, default="default"),
            image(other, default="default", mount="/user-other"),
        ]
        found = Environments.of({"PATH": "/usr/bin"}, images)
        assert found.user == {"PATH": f"/user-other/bin:{MOUNT}/default:/usr/bin", "A": "1"}
        assert found.with_view(develop) == {"PATH": f"{MOUNT}/develop:/user-other/bin:/usr/bin"}
        loaded = Environments.of(found.user, images)
        assert loaded.with_view(develop) == found.with_view(develop)

    @pytest.mark.parametrize(
        "name",
        ["PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV"],
    )
    def test_the_server_meets_nothing_of_the_users_python(self, name):
        found = Environments.of({name: "/nonsense"}, [])
        assert name not in found.server
        assert found.user[name] == found.bare[name] == "/nonsense"

    def test_the_server_finds_its_own_programs_first(self):
        bin_ = f"{sys.prefix}/bin"
        assert Environments.of({"PATH": f"/a:{bin_}::/b"}, []).server["PATH"] == f"{bin_}:/a:/b"
        assert Environments.of({}, []).server["PATH"].startswith(f"{bin_}:")

    def test_what_the_hub_delivers_is_for_all_of_them(self):
        found = Environments.of({}, [])
        found.add({"JUPYTERHUB_USER": "alice"})
        assert all(each["JUPYTERHUB_USER"] == "alice" for each in (found.server, found.user, found.bare))


class TestIsolation:
    """Whatever Python was told, the server's begins without it; the user's programs get it back."""

    @pytest.fixture
    def begun_again(self, monkeypatch):
        """Return the command lines with which a Python has begun again."""
        commands = []
        monkeypatch.setattr(os, "execv", lambda program, command: commands.append((program, command)))
        for name in [name for name in os.environ if name.startswith(("PYTHON", "LD_", KEPT))]:
            monkeypatch.delenv(name)
        return commands

    def test_without_any_of_it_nothing_begins_again(self, begun_again, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", "")
        isolate([])
        assert begun_again == []

    @pytest.mark.parametrize("name", ["PYTHONPATH", "PYTHONOPTIMIZE", "LD_LIBRARY_PATH", "LD_PRELOAD"])
    def test_with_some_of_it_python_begins_again_and_hands_it_on(self, begun_again, monkeypatch, name):
        monkeypatch.setenv(name, "/a b:$(c)\n")
        isolate(["--x"])
        assert begun_again == [
            (sys.executable, [sys.executable, "-I", "-m", "launcher.singleuser", "--x"]),
        ]
        assert name not in os.environ
        monkeypatch.setenv(f"{KEPT}{name}", os.environ[f"{KEPT}{name}"])
        recover()
        assert os.environ[name] == "/a b:$(c)\n"

    def test_so_it_does_with_packages_of_the_users_home(self, begun_again, monkeypatch):
        site = sys.modules["site"]
        monkeypatch.setattr(site, "USER_SITE", "/home/alice/.local/lib/python3.11/site-packages")
        monkeypatch.setattr(sys, "path", [*sys.path, site.USER_SITE])
        isolate([])
        assert len(begun_again) == 1

    def test_what_a_batch_script_has_put_aside_is_the_users(self, begun_again, monkeypatch):
        monkeypatch.setenv(f"{KEPT}LD_LIBRARY_PATH", "/users")
        monkeypatch.setenv("LD_LIBRARY_PATH", "/tools")
        isolate([])
        assert len(begun_again) == 1
        recover()
        assert os.environ["LD_LIBRARY_PATH"] == "/users"

    def test_what_was_empty_or_unset_is_unset(self, monkeypatch):
        environment = {f"{KEPT}PYTHONPATH": "", "PYTHONPATH": "/tools", f"{KEPT}TMPDIR": "/tmp", "HOME": "/"}
        monkeypatch.setattr(os, "environ", environment)
        recover()
        assert environment == {"TMPDIR": "/tmp", "HOME": "/"}

    @pytest.mark.parametrize("given", [{"PYTHONPATH": "HERE"}, {"LD_LIBRARY_PATH": "HERE"}, {}])
    def test_a_python_that_has_begun_again_does_not_do_so_once_more(self, tmp_path, given):
        """`sitecustomize` runs in each Python that reads PYTHONPATH; the trace counts the others too."""
        (tmp_path / "sitecustomize.py").write_text(f"open({f'{tmp_path}/ran'!r}, 'a').write('x')\n")
        for name in ("tornado", "jupyterlab", "jupyter_server", "zmq"):
            (tmp_path / f"{name}.py").write_text("raise SystemExit('a broken module')\n")
        trace = tmp_path / "trace"
        done = subprocess.run(
            ["strace", "-f", "-e", "trace=execve", "-o", trace, sys.executable, "-m", "launcher.singleuser"],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
            | {name: value.replace("HERE", str(tmp_path)) for name, value in given.items()},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert "no hub has asked for it" in done.stderr
        assert trace.read_text().count('"launcher.singleuser"') == (2 if given else 1)
        assert (tmp_path / "ran").exists() == ("PYTHONPATH" in given)
        if "PYTHONPATH" in given:
            assert (tmp_path / "ran").read_text() == "x"
