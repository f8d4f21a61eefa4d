"""Which deaths of kernels pages hear of, and what of them."""

from __future__ import annotations

import asyncio
import subprocess

import pytest
from jupyter_client.ioloop.restarter import AsyncIOLoopKernelRestarter
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.provisioning import LocalProvisioner
from jupyter_server.services.kernels.kernelmanager import ServerKernelManager
from traitlets.config import Configurable

from launcher.singleuser.cgroup import Memory
from launcher.singleuser.kernels.killed import Restarter
from launcher.singleuser.kernels.manager import Kernels

OTHERS = [
    {"type": "notebook", "path": "other.ipynb", "kernel": {"id": "5678"}},
    {"type": "console", "path": "console-1", "kernel": {"id": "1234"}},
]
NOTEBOOK = {"type": "notebook", "path": "users/alice/a.ipynb", "kernel": {"id": "1234"}}


class Running(Configurable):
    """All kernels of a session, as the restarter of one sees them; and its job's control group."""

    def __init__(self):
        super().__init__()
        self.cgroup = self
        self.told = []
        self.tell = self.told.append
        self.open = [*OTHERS, NOTEBOOK]
        self.count = self.seen = 0
        self.limit = Memory(5, 2**30)

    async def sessions(self):
        return self.open

    def look(self):
        self.seen = self.count

    def out_of_memory(self):
        return self.seen > 0

    def memory(self):
        return self.limit


@pytest.fixture
def running():
    return Running()


@pytest.fixture
def after(running):
    """Return a function that gives what pages hear after a kernel has run a line of Bash."""

    async def run(script):
        class Kernel(ServerKernelManager):
            restarts = 0

            async def restart_kernel(self, **_):
                self.restarts += 1

        kernel = Kernel(parent=running)
        kernel.kernel_id = "1234"
        kernel._kernel_spec = KernelSpec(display_name="PyTorch")
        kernel.provisioner = LocalProvisioner()
        with subprocess.Popen(["bash", "-c", script]) as kernel.provisioner.process:
            pass
        await Restarter(kernel_manager=kernel).poll()
        assert kernel.restarts == 1
        await asyncio.sleep(0.01)
        return running.told

    return run


async def test_a_killed_kernel_is_told_with_its_notebook_and_the_jobs_limit(after):
    assert await after("kill -9 $$") == [
        {
            "kind": "killed",
            "path": "users/alice/a.ipynb",
            "name": "PyTorch",
            "memory": False,
            "limit": 2**30,
        }
    ]


async def test_it_is_known_to_be_want_of_memory_if_the_system_has_killed_for_that(running, after):
    running.count = 1
    assert (await after("kill -9 $$"))[0]["memory"] is True


async def test_a_kernel_behind_a_shell_is_told_as_well(after):
    assert len(await after("bash -c 'kill -9 $$'; exit $?")) == 1


async def test_neither_notebook_nor_limit_need_be_known(running, after):
    running.open, running.limit = OTHERS, None
    (told,) = await after("kill -9 $$")
    assert (told["path"], told["limit"]) == (None, None)


@pytest.mark.parametrize("script", ["exit 0", "exit 1", "exit 9", "kill -11 $$", "kill -15 $$", "kill -6 $$"])
async def test_of_other_deaths_jupyterlabs_own_words_do(after, script):
    assert await after(script) == []


def test_kernels_have_it_unless_an_admin_or_a_user_wants_another(tmp_path):
    class Own(AsyncIOLoopKernelRestarter):
        pass

    class Manager(ServerKernelManager):
        restarter_class = Own

    for manager, expected in ((ServerKernelManager, Restarter), (Manager, Own)):
        kernels = Kernels(connection_dir=str(tmp_path), kernel_manager_factory=manager)
        kernel, *_ = kernels.pre_start_kernel("python3", {})
        assert kernel.restarter_class is expected
        kernels.context.destroy()
