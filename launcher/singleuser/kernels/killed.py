"""Kernels that were killed, mostly for want of memory: JupyterLab only says that they died."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from jupyter_client.ioloop.restarter import AsyncIOLoopKernelRestarter
from tornado.ioloop import IOLoop

if TYPE_CHECKING:
    from launcher.singleuser.kernels.manager import Kernels

_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
"""What `subprocess` says of a killed program, and of a shell whose program was killed."""


class Restarter(AsyncIOLoopKernelRestarter):
    """Restarts kernels that died, as Jupyter does, and tells pages of those that were killed.

    Kernels that a user or the server itself ends or restarts are not watched: Jupyter stops it before.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._kernels: Kernels = self.kernel_manager.parent
        self.add_callback(self._died)

    async def poll(self) -> None:  # type: ignore[override] # as in what it is derived from
        """See whether the kernel lives, and begin it anew if it does not."""
        self._kernels.cgroup.look()
        await super().poll()

    def _died(self) -> None:
        kernel, cgroup = self.kernel_manager, self._kernels.cgroup
        # Known from when it was seen to be dead until it begins anew; not of kernels that run elsewhere.
        process = getattr(kernel.provisioner, "process", None)
        if getattr(process, "returncode", None) not in _KILLED:
            return
        out_of_memory, memory = cgroup.out_of_memory(), cgroup.memory()
        self.log.warning(
            "Kernel %s was killed: %s",
            kernel.kernel_id,
            "the job was out of memory" if out_of_memory else "want of memory is the usual cause",
        )
        told = {
            "kind": "killed",
            "name": kernel.kernel_spec.display_name,
            "memory": out_of_memory,
            "limit": memory.limit if memory else None,
        }
        IOLoop.current().add_callback(self._tell, kernel.kernel_id, told)

    async def _tell(self, kernel_id: str, told: dict[str, Any]) -> None:
        paths = [
            each["path"]
            for each in await self._kernels.sessions()
            if each["kernel"]["id"] == kernel_id and each["type"] == "notebook"
        ]
        self._kernels.tell({**told, "path": paths[0] if paths else None})
