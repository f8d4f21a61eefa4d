"""What was noted of one launch, and where its time went."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

Moments = Mapping[str, float]
"""What a launch has come to → seconds since the epoch."""
Phases = dict[str, float]
"""Name of a phase → its seconds."""

LAUNCHER = (
    ("check", "checked"),
    ("render", "rendered"),
    ("submit", "submitted"),
    ("queue", "script"),
    ("claim", "claimed"),
    ("preflight", "starting"),
    ("import", "imported"),
    ("bind", "ready"),
    ("redirect", "redirected"),
)
"""The phases of a launch, and what ends each."""

PEER = (
    ("submit", "submitted"),
    ("queue", "script"),
    ("wrapper", "port"),
    ("server", "running"),
    ("redirect", "redirected"),
)
"""Those of a launch by batchspawner or FirecRESTSpawner's loop."""

PARTS = {
    "to the scheduler": ("check", "render", "submit"),
    "queue": ("queue",),
    "to JupyterLab's import": ("claim", "preflight", "wrapper"),
    "JupyterLab": ("import", "bind", "server"),
    "redirect": ("redirect",),
}
"""What has its counterpart everywhere → the phases that it is made of."""

_HUB, _HERE = "hub", "here"
_OWN = {_HUB, _HERE}
_NOT_OURS = ("queue", "import", "bind")
_SUBMITTED = re.compile(r"^\[I (\S+ \S+) .*\] Job submitted\. output: \d+$", re.MULTILINE)
_PORT = re.compile(r"^\[I (\S+ \S+) .*\] 20[01] POST /hub/api/batchspawner ", re.MULTILINE)
_RUNNING = re.compile(r"^\[I (\S+ \S+) .*\] Jupyter Server \S+ is running at:$", re.MULTILINE)


def phases(moments: Moments, order: Sequence[tuple[str, str]]) -> Phases:
    """Return how long each phase took.

    Slurm may start a job before the answer to its submit has come back: what follows `submit` counts from
    the one that was sooner.

    Args:
        moments: What was noted, `start` among it.
        order: The phases.

    Raises:
        ValueError: If something was not noted, or came before what it follows.
    """
    if missing := [end for _, end in order if end not in moments]:
        raise ValueError(f"Nobody has noted {', '.join(missing)}.")
    known = {**moments, "submitted": min(moments["submitted"], moments["script"])}
    ends = [known["start"], *(known[end] for _, end in order)]
    if ends != sorted(ends):
        raise ValueError(f"Steps came in another order: {sorted(known, key=known.__getitem__)}")
    steps = zip(order, itertools.pairwise(ends), strict=True)
    return {name: later - sooner for (name, _), (sooner, later) in steps}


def ours(taken: Phases) -> float:
    """Return the seconds of a launch that are neither Slurm's nor JupyterLab's."""
    return sum(seconds for name, seconds in taken.items() if name not in _NOT_OURS)


def parts(taken: Phases) -> Phases:
    """Return the seconds of the parts of a launch."""
    return {part: sum(taken.get(name, 0.0) for name in names) for part, names in PARTS.items()}


def logged(hub: str, server: str) -> dict[str, float]:
    """Return what the logs of a hub and of a job tell of one launch by batchspawner, or by the loop.

    Args:
        hub: What the hub's log has got since Start.
        server: The job's log.
    """
    lines = {"submitted": (_SUBMITTED, hub), "port": (_PORT, hub), "running": (_RUNNING, server)}
    found = {name: line.search(text) for name, (line, text) in lines.items()}
    return {name: _moment(match[1]) for name, match in found.items() if match}


def _moment(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").astimezone().timestamp()


class Notes:
    """The directory in which steps are noted.

    Args:
        directory: A directory; jobs of all users write to it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.hub = directory / _HUB
        directory.mkdir()
        directory.chmod(0o1777)

    @property
    def first_line(self) -> str:
        """A line of a batch script, which notes that the script runs."""
        return f'echo "script $EPOCHREALTIME" >>"{self.directory}/$SLURM_JOB_ID"'

    def note(self, name: str) -> None:
        """Note a step that this process sees."""
        with (self.directory / _HERE).open("a") as file:
            file.write(f"{name} {time.time()}\n")

    def clear(self) -> None:
        """Forget all: another launch begins."""
        for file in self._files():
            file.unlink()

    def read(self) -> dict[str, float]:
        """Return what was noted."""
        return read("".join(file.read_text() for file in self._files()))

    def _files(self) -> list[Path]:
        return [file for file in self.directory.iterdir() if file.name in _OWN or file.name.isdecimal()]


def read(text: str) -> dict[str, float]:
    """Return the notes of a text, of each step the first."""
    moments: dict[str, float] = {}
    for line in text.splitlines():
        name, seconds = line.split()
        moments.setdefault(name, float(seconds))
    return moments
