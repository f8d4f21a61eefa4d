"""Kernels: those that the user's environment offers, each in the environment that it needs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ipykernel.kernelspec import RESOURCES
from jupyter_client.ioloop.restarter import AsyncIOLoopKernelRestarter
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from jupyter_core.paths import jupyter_path
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.ioloop import IOLoop
from tornado.web import HTTPError
from traitlets import default

from launcher.singleuser.cgroup import Cgroup
from launcher.singleuser.environment import Environments, added
from launcher.singleuser.kernels.interpreters import Place
from launcher.singleuser.kernels.kernel import Kernel
from launcher.singleuser.kernels.killed import Restarter
from launcher.singleuser.kernels.search import Search
from launcher.singleuser.session import Session

_PATIENCE = 5.0
_FRESH = 5.0


class CannotRun(HTTPError):
    """A kernel that can't run, and what helps, in the words that JupyterLab shows."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(501, kernel.advice)
        self._advice = kernel.advice

    def __str__(self) -> str:
        """Return it without the status, which means nothing to users."""
        return self._advice


class KernelSpecs(KernelSpecManager):
    """Knows which kernels there are, and looks again in the background whenever somebody asks.

    What a `KernelManager` calls, which can't wait, answers from what is known.
    """

    session: Session

    @default("kernel_dirs")
    def _usual(self) -> list[str]:
        # Jupyter's own default imports IPython to know the last one.
        own = os.environ.get("IPYTHONDIR") or os.path.expanduser("~/.ipython")
        return [*jupyter_path("kernels"), f"{own}/kernels"]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        session = self.session
        answer = session.answer
        self._search = Search(
            Place(session.environments, answer.kind, answer.title, answer.start_directory),
            list(self.kernel_dirs),
            session.directory,
            RESOURCES,
        )
        self._running: asyncio.Future[None] | None = None
        self._ended = float("-inf")
        IOLoop.current().add_callback(self.look)

    @property
    def has_looked(self) -> bool:
        """Whether there is more to know than that the server's own Python is a kernel."""
        return self._search.has_looked

    def kernel(self, name: str) -> Kernel:
        """Return the kernel of a name, whether it can run or not.

        Raises:
            NoSuchKernel: If there is none.
        """
        try:
            return self._search[name]
        except KeyError:
            raise NoSuchKernel(name) from None

    async def look(self, *, anew: bool = False) -> None:
        """Look which kernels there are, and wait for that, but not for long.

        Args:
            anew: Look even if that was done just now.
        """
        if self._running is None:
            if not anew and time.monotonic() - self._ended < _FRESH:
                return
            loop = asyncio.get_running_loop()
            self._running = loop.create_future()
            self._search.start(lambda: _tell(loop, self._done))
        await asyncio.wait([self._running], timeout=_PATIENCE)

    def _done(self) -> None:
        self._ended = time.monotonic()
        if self._running is not None:
            self._running.set_result(None)
            self._running = None

    async def get_all_specs(self) -> dict[str, Any]:  # type: ignore[override]
        """Return what JupyterLab shows; `jupyter_server` lets it take its time."""
        await self.look()
        return {
            each.name: {"resource_dir": each.resources, "spec": self._spec(each).to_dict()}
            for each in self._shown()
        }

    def find_kernel_specs(self) -> dict[str, str]:
        """Return the names of what JupyterLab shows, each with its directory."""
        return {each.name: each.resources for each in self._shown()}

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return the kernelspec of a name."""
        return self._spec(self.kernel(kernel_name))

    def _shown(self) -> list[Kernel]:
        allowed = self.allowed_kernelspecs
        return [
            each for each in self._search.kernels if each.offered and (not allowed or each.name in allowed)
        ]

    def _spec(self, kernel: Kernel) -> KernelSpec:
        return self.kernel_spec_class(
            argv=list(kernel.command),
            display_name=kernel.title,
            language=kernel.language,
            resource_dir=kernel.resources,
            **kernel.settings,
        )


class Kernels(AsyncMappingKernelManager):
    """Runs each kernel in the environment that it needs, and tells pages of those that are killed.

    Those of no directory begin where terminals do, not in the root of all directories.

    Attributes:
        environments: Those of the session.
        cgroup: What is known of the job's memory.
        tell: Sends a message to all pages.
    """

    environments: Environments
    cgroup: Cgroup
    tell: Callable[[dict[str, Any]], object]

    def pre_start_kernel(self, kernel_name: str | None, kwargs: Any) -> tuple[Any, str, str]:
        """Return what is to run a kernel, its name and its id."""
        kernel, name, kernel_id = super().pre_start_kernel(kernel_name, kwargs)
        if getattr(kernel, "restarter_class", None) is AsyncIOLoopKernelRestarter:
            kernel.restarter_class = Restarter  # type: ignore[attr-defined] # servers' have it
        return kernel, name, kernel_id

    async def sessions(self) -> list[dict[str, Any]]:
        """Return which documents have which kernels, as Jupyter's API does."""
        server: Any = self.parent
        found: list[dict[str, Any]] = await server.session_manager.list_sessions()
        return found

    def cwd_for_path(self, path: str, **kwargs: Any) -> str:
        """Return the directory in which the kernel of a document begins."""
        found: str = super().cwd_for_path(path, **kwargs)  # type: ignore[no-untyped-call]
        return os.getcwd() if found == "/" else found

    async def start_kernel(  # type: ignore[override]
        self, *, kernel_name: str | None = None, env: dict[str, str] | None = None, **kwargs: Any
    ) -> str:
        """Start a kernel; of the environment that JupyterLab gives, only what it has added counts.

        Raises:
            CannotRun: If it is known that it can't.
            NoSuchKernel: If there is none of this name.
        """
        name = kernel_name or self.default_kernel_name
        environment = await self._environment(name) | added(env or {})
        return str(await super().start_kernel(kernel_name=name, env=environment, **kwargs))

    async def _environment(self, name: str) -> dict[str, str]:
        specs = self.kernel_spec_manager
        if not isinstance(specs, KernelSpecs):
            return self.environments.user
        try:
            found = specs.kernel(name)
        except NoSuchKernel:
            found = None
        if found is None or found.problem or not specs.has_looked:
            # It may have been helped since, and `python3` is the server's own only until more is known.
            await specs.look(anew=True)
            found = specs.kernel(name)
        if found.problem:
            raise CannotRun(found)
        return found.environment


def _tell(loop: asyncio.AbstractEventLoop, done: Any) -> None:
    # The server may have ended meanwhile, and its loop with it.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(done)
