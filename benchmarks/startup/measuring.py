"""Measure starts: in turn, from a directory and from an image, with warm and with cold caches."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.images.tools import keep
from benchmarks.node.places import State, prepare, turned
from benchmarks.node.starts import Start
from benchmarks.node.work import workplace
from benchmarks.results import Result
from benchmarks.startup import figures, whole
from benchmarks.startup.calls import calls
from benchmarks.startup.half import half
from benchmarks.startup.programs import OURS, Program, Where, ready


def measured(runs: int, below: Path | None) -> Iterator[list[Result]]:
    """Yield figures, as they are known.

    Args:
        runs: Starts of each kind.
        below: A directory for the environments, on the disk that is measured; None for the builder's cache.
    """
    with workplace(Path(tempfile.gettempdir())) as work, ready(below or keep(), work) as programs:
        for those in programs.values():
            whole.check(those)
        own = programs[Where.DIRECTORY]
        yield [*figures.halved(half(own[OURS], runs))]
        yield [*figures.called(_calls(own, runs))]
        for where, those in programs.items():
            for state in figures.STATES:
                yield [*figures.started(where, state, _starts(those, state, runs))]


def _calls(programs: Mapping[str, Program], runs: int) -> dict[str, list[int]]:
    return {name: [calls(program) for _ in range(runs)] for name, program in programs.items()}


def _starts(programs: Mapping[str, Program], state: State, runs: int) -> dict[str, list[Start]]:
    starts: dict[str, list[Start]] = {name: [] for name in programs}
    for number in range(runs):
        for name in turned(list(programs), number):
            program = programs[name]
            prepare(program.place, state)
            program.touch()
            with program.running() as server:
                starts[name].append(server.start)
    return starts
