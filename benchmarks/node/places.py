"""Where servers are started from: an image or a directory, in memory already or not."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from benchmarks.node.starts import PATH
from launcher.builder.mount import Mounted, bound, command

_HIDING = 'for each; do mount -n --bind /dev/null "$each" || exit; done; echo; exec sleep infinity'


class State(StrEnum):
    """What the node has in memory when a server starts."""

    WARM = "warm"
    """The image is mounted for another session, which has used it."""
    ANEW = "mounted anew"
    """The image's file is in memory, what the kernel made of it is not: no session uses it."""
    COLD = "cold"
    """Nothing: caches are dropped."""


class Place(NamedTuple):
    """What lies at the mount path.

    Attributes:
        path: A squashfs file, or a directory.
        mount: The mount path.
    """

    path: Path
    mount: str

    def command(self, argv: list[str]) -> list[str]:
        """Return the command that runs another with this at the mount path."""
        if self.path.is_dir():
            return bound(self.path, self.mount, argv)
        return command([Mounted(self.path, self.mount)], argv, how="namespace")

    @contextmanager
    def held(self, hidden: Sequence[str] = ()) -> Iterator[tuple[str, ...]]:
        """Have another session keep it mounted; lend what a command begins with to run there, too.

        Args:
            hidden: Paths of programs that nobody finds there.
        """
        with subprocess.Popen(
            self.command(["sh", "-c", _HIDING, "sh", *hidden]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        ) as other:
            assert other.stdout
            try:
                if not other.stdout.readline():
                    raise RuntimeError(f"{self.path} can't be mounted at {self.mount}.")
                yield ("nsenter", f"--mount=/proc/{other.pid}/ns/mnt", "--")
            finally:
                other.kill()


def prepare(place: Place, state: State) -> None:
    """Have in memory what is to be there when a server starts."""
    if state is State.COLD:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
    elif place.path.is_file():
        # What came between may have put it out of memory.
        place.path.read_bytes()


def turned(names: Sequence[str], by: int) -> list[str]:
    """Return names from another one on, and then those before it."""
    by %= len(names)
    return [*names[by:], *names[:by]]


def programs(name: str) -> list[str]:
    """Return the paths of all programs of a name that servers could find."""
    found = (shutil.which(name, path=each) for each in PATH.split(":"))
    return sorted({os.path.realpath(each) for each in found if each})
