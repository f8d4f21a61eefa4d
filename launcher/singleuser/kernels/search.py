"""The search for kernels: in the background, again and again, each interpreter run once."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Sequence

from launcher.singleuser.kernels.inquiry import Inquiry
from launcher.singleuser.kernels.interpreters import Place
from launcher.singleuser.kernels.kernel import Kernel
from launcher.singleuser.kernels.offer import Found, servers_kernel

REPORT = "kernels.json"
"""Name of the file that tells what was found: a list of `name`, `title`, `program`, `problem` and `fix`."""


_log = logging.getLogger(__name__)


class Search:
    """Finds the kernels of a session.

    Args:
        place: The session.
        usual: Directories in which Jupyter looks for kernelspecs by itself.
        directory: The session's private directory, for the report.
        resources: The directory of the logo of Python kernels.

    Attributes:
        kernels: What is known so far: before the first look the server's own Python alone, so that there is
            always one that runs. Each look puts another list here, and none is changed.
        has_looked: Whether `kernels` comes from a look.
    """

    def __init__(self, place: Place, usual: Sequence[str], directory: str, resources: str = "") -> None:
        self.kernels: list[Kernel] = [servers_kernel(place, resources)]
        self.has_looked = False
        self._place = place
        self._usual = usual
        self._directory = directory
        self._resources = resources
        self._inquiry = Inquiry()
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> Kernel:
        """Return the kernel of a name.

        Raises:
            KeyError: If there is none.
        """
        for kernel in self.kernels:
            if name.lower() in (kernel.name, kernel.alias):
                return kernel
        raise KeyError(name)

    def run(self) -> None:
        """Look, ask, and report; several at a time are one after the other."""
        with self._lock:
            found = Found.of(self._place, self._usual)
            if not self.has_looked:
                self.kernels = found.kernels(self._inquiry.known, self._resources)
                self.has_looked = True
            self._inquiry.ask(found.questions())
            self.kernels = found.kernels(self._inquiry.known, self._resources)
            self._report()

    def start(self, done: Callable[[], object]) -> None:
        """Run in the background.

        Args:
            done: Called at the end, in another thread.
        """

        def look() -> None:
            try:
                self.run()
            except Exception:  # noqa: BLE001 - whatever it is, there are other kernels
                # What was known stays, and the next look may do better.
                _log.exception("A look for kernels has failed.")
            finally:
                done()

        # A daemon: what hangs in a file system that hangs must not keep the server from ending.
        threading.Thread(target=look, name="launcher-kernels", daemon=True).start()

    def _report(self) -> None:
        report = [
            {
                "name": each.name,
                "title": each.title,
                "program": each.program,
                "problem": each.problem,
                "fix": each.fix,
            }
            for each in self.kernels
        ]
        path = os.path.join(self._directory, REPORT)
        aside = f"{path}.new"
        try:
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except FileNotFoundError:
            # The session has ended, and its directory with it.
            return
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(report, file)
        os.replace(aside, path)
