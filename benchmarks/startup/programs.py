"""The programs that are compared, each with its own environment at its own mount path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from benchmarks.images import building
from benchmarks.images.tools import tools
from benchmarks.node.places import Place, programs
from benchmarks.node.starts import AS_NOBODY, PATH, Given, Node, Server, node
from benchmarks.startup.environment import BIN, by_pip

OURS = "launcher-singleuser"
BARE = "jupyterhub-singleuser"
BATCH = "batchspawner-singleuser"
NAMES = (OURS, BARE, BATCH)

_HIDDEN = ("node", "nodejs", "npm", "R", "Rscript", "julia")
"""Programs that a machine may have or not; JupyterLab and its extensions run those that they find."""


class Where(StrEnum):
    """What an environment lies in."""

    DIRECTORY = "directory"
    IMAGE = "squashfs"


class Program(NamedTuple):
    """A program that is ready to start.

    Attributes:
        place: What it lies in.
        enter: What a command begins with to run where that is mounted.
        argv: Program and arguments.
        given: What is in its environment.
        bin: Where the programs of its environment lie.
        node: Where it starts.
    """

    place: Place
    enter: tuple[str, ...]
    argv: tuple[str, ...]
    given: Given
    bin: str
    node: Node

    @property
    def path(self) -> str:
        """Its search path."""
        return f"{self.bin}:{PATH}"

    def command(self, *before: str) -> list[str]:
        """Return the command that starts it.

        Args:
            before: What runs it: a program that looks on, and its options.
        """
        return [*self.enter, *AS_NOBODY, *before, *self.argv]

    @contextmanager
    def running(self, *before: str) -> Iterator[Server]:
        """Lend its server, once it has answered.

        Args:
            before: As of `command`.
        """
        with self.node.running(self.command(*before), self.given, self.path) as server:
            yield server

    def touch(self) -> None:
        """Have in memory what enters the place."""
        self.node.ended([*self.enter, *AS_NOBODY, "true"], self.given, PATH)


Programs = Mapping[Where, Mapping[str, Program]]


@contextmanager
def ready(below: Path, work: Path) -> Iterator[Programs]:
    """Lend the programs, all of them mounted.

    Args:
        below: Where their environments are kept.
        work: An empty directory that everybody may enter.
    """
    image = building.recipe().image
    own = f"{image.mount}/{image.prefix}/bin"
    pip, image_of_pip = by_pip(below)
    tree, image_of_tree = tools(below)
    hidden = [path for each in _HIDDEN for path in programs(each)]
    with ExitStack() as stack:
        # A home for each: none finds what another has left. Its name is short: sockets lie there.
        nodes = {name: stack.enter_context(node(work / str(number))) for number, name in enumerate(NAMES)}
        found: dict[Where, dict[str, Program]] = {}
        for where, ours, theirs in (
            (Where.DIRECTORY, tree, pip),
            (Where.IMAGE, image_of_tree, image_of_pip),
        ):
            entering = {place: stack.enter_context(place.held(hidden)) for place in (ours, theirs)}
            found[where] = {
                OURS: Program(ours, entering[ours], (f"{own}/{OURS}",), Given.TICKET, own, nodes[OURS]),
                BARE: Program(theirs, entering[theirs], (f"{BIN}/{BARE}",), Given.ALL, BIN, nodes[BARE]),
                # As batchspawner's templates run what a hub's `Spawner.cmd` names.
                BATCH: Program(
                    theirs, entering[theirs], (f"{BIN}/{BATCH}", BARE), Given.NO_PORT, BIN, nodes[BATCH]
                ),
            }
        yield found
