"""Where servers are started from: an image or a directory, in memory already or not."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from benchmarks.images.server import Node, Start, server
from launcher.builder.mount import Mounted, bound, command


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

    def start(self, node: Node) -> Start:
        """Start the server of the image."""
        return node.start(self.command(server(self.mount)))

    @contextmanager
    def used(self) -> Iterator[None]:
        """Have another session keep it mounted."""
        with subprocess.Popen(
            self.command(["sh", "-c", "echo; exec sleep infinity"]), stdout=subprocess.PIPE
        ) as other:
            assert other.stdout
            other.stdout.readline()
            try:
                yield
            finally:
                other.kill()


def alternating(node: Node, places: Mapping[str, Place], state: State, times: int) -> dict[str, list[Start]]:
    """Start servers from some places in turn; each round begins with another place.

    Args:
        node: Where.
        places: Name → place.
        state: What is in memory.
        times: How often from each.
    """
    starts: dict[str, list[Start]] = {name: [] for name in places}
    with ExitStack() as others:
        if state is State.WARM:
            for place in places.values():
                others.enter_context(place.used())
                place.start(node)
        for number in range(times):
            for name in turned(list(places), number):
                _prepare(places[name], state)
                starts[name].append(places[name].start(node))
    return starts


def turned(names: Sequence[str], by: int) -> list[str]:
    """Return names from another one on, and then those before it."""
    by %= len(names)
    return [*names[by:], *names[:by]]


def _prepare(place: Place, state: State) -> None:
    if state is State.COLD:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
    elif place.path.is_file():
        # What came between may have put it out of memory.
        place.path.read_bytes()
