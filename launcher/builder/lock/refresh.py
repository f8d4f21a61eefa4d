"""Locks made anew: all of them aside, then checked, then put in place."""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from launcher.builder.cache import made
from launcher.builder.lock.checks import drift, npm_problems, problems_of
from launcher.builder.lock.jobs import NPM_PACKAGES, Job, names_of
from launcher.builder.lock.resolve import Upgrade, compile_lock, find_node, find_uv, npm_lock
from launcher.builder.lock.text import Lock, Pin
from launcher.builder.progress import Progress
from launcher.errors import InvalidFile, UsageError

HEADER = "# Made by `launcher lock`.\n# locked: {}\n"
"""What stands above the packages of a lock."""


class Result(NamedTuple):
    """What became of a lock.

    Attributes:
        path: The file.
        text: What it says now, or would say.
        changes: What that changes, a line each; empty if nothing.
    """

    path: Path
    text: str
    changes: tuple[str, ...]


def check(root: Path, jobs: Sequence[Job], npm: Sequence[str] = NPM_PACKAGES) -> None:
    """Check locks as they are, without a registry.

    Args:
        root: The directory that the paths of `jobs` and `npm` are relative to.
        jobs: The locks.
        npm: Directories with locks of npm.

    Raises:
        InvalidFile: With everything that is wrong with any of them.
    """
    problems: list[str] = []
    locks = []
    for job in jobs:
        try:
            locks.append(Lock.read(root / job.output))
        except InvalidFile as error:
            problems += error.problems
        else:
            problems += problems_of(locks[-1], job.wanted)
    problems += drift(locks)
    problems += [each for name in npm for each in npm_problems(root / name / "package-lock.json")]
    if problems:
        raise InvalidFile(problems)


def make(
    root: Path, jobs: Sequence[Job], npm: Sequence[str], upgrade: Upgrade, progress: Progress
) -> list[Result]:
    """Make locks, and put none in place.

    Args:
        root: The directory that the paths of `jobs` and `npm` are relative to.
        jobs: The locks.
        npm: Directories with locks of npm.
        upgrade: What may become newer.
        progress: Told of each lock.

    Raises:
        UsageError: If a package to upgrade is in none of them.
        MissingPart: If what makes them is not installed.
        RegistryUnreachable: If no registry answered.
        BuildFailed: If one could not be made.
        InvalidFile: If what was made does not hold what it must, or is too old.
    """
    _check_names(root, jobs, upgrade)
    uv = find_uv()
    node = find_node() if npm else None
    results: list[Result] = []
    locks: list[Lock] = []
    problems: list[str] = []
    total = len(jobs) + len(npm)
    with ExitStack() as stack:
        stage = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="launcher-lock-")))
        files = {name for job in jobs for name in (job.output, *job.sources)}
        files |= {f"{name}/{file}" for name in npm for file in ("package.json", "package-lock.json")}
        _copy(root, stage, files)
        for job in jobs:
            progress.step(f"Making {root / job.output}")
            progress.advance(len(results), total)
            result = _compiled(uv, root, stage, job, upgrade)
            locks.append(Lock.parse(result.text, result.path))
            problems += problems_of(locks[-1], job.wanted)
            results.append(result)
        for name in npm:
            progress.step(f"Making {root / name}/package-lock.json")
            progress.advance(len(results), total)
            assert node
            results.append(_npm(node, root, stage, f"{name}/package-lock.json", upgrade))
    problems += drift(locks)
    if problems:
        raise InvalidFile(problems)
    return results


def put(results: Iterable[Result]) -> None:
    """Put the locks that changed in place, each as a whole."""
    for result in results:
        if result.changes:
            with made(result.path) as aside:
                aside.write_text(result.text, encoding="utf-8")


def _check_names(root: Path, jobs: Sequence[Job], upgrade: Upgrade) -> None:
    known = names_of(jobs) | {pin.name for job in jobs for pin in _pins(root / job.output)}
    unknown = [name for name in upgrade.packages if name not in known]
    if unknown:
        raise UsageError(f"No lock holds {' or '.join(unknown)}.", why="So there is nothing to upgrade.")


def _compiled(uv: str, root: Path, stage: Path, job: Job, upgrade: Upgrade) -> Result:
    path, staged = root / job.output, stage / job.output
    before = staged.read_text(encoding="utf-8") if staged.is_file() else ""
    compile_lock(
        uv,
        stage,
        job.output,
        [*job.sources, *(["-"] if job.beside else [])],
        constraints=job.constraints,
        options=[*job.options, *upgrade.options],
        stdin=job.beside,
    )
    body = staged.read_text(encoding="utf-8")
    old = _pins(path)
    if old and _body(before) == body:
        return Result(path, before, ())
    text = HEADER.format(dt.datetime.now(dt.UTC).date()) + body
    new = Lock.parse(text, path).pins
    if not old:
        return Result(path, text, (f"{len(new)} packages",))
    return Result(path, text, tuple(_changes(old, new)) or ("only what is said about packages",))


def _npm(node: Path, root: Path, stage: Path, name: str, upgrade: Upgrade) -> Result:
    staged = stage / name
    before = staged.read_text(encoding="utf-8") if staged.is_file() else ""
    if upgrade.everything:
        staged.unlink(missing_ok=True)
    npm_lock(node, staged.parent, name)
    text = staged.read_text(encoding="utf-8")
    return Result(root / name, text, () if text == before else ("npm's packages",))


def _copy(root: Path, stage: Path, files: Iterable[str]) -> None:
    for name in files:
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        if (root / name).is_file():
            shutil.copyfile(root / name, stage / name)


def _body(text: str) -> str:
    """Return a lock without its header."""
    lines = text.splitlines(keepends=True)
    while lines and lines[0].startswith("#"):
        del lines[0]
    return "".join(lines)


def _pins(path: Path) -> tuple[Pin, ...]:
    """Return what a lock pins; nothing where there is none yet, or none that could be kept as it is."""
    try:
        return Lock.read(path).pins
    except InvalidFile:
        return ()


def _changes(old: Iterable[Pin], new: Iterable[Pin]) -> Iterator[str]:
    before, after = _versions(old), _versions(new)
    for name in sorted({*before, *after}):
        was, now = before.get(name, {}), after.get(name, {})
        if was == now:
            continue
        versions = [", ".join(dict.fromkeys(version for version, _ in each)) for each in (was, now)]
        if not was:
            yield f"{name} {versions[1]} is new"
        elif not now:
            yield f"{name} {versions[0]} goes"
        elif versions[0] != versions[1]:
            yield f"{name} {versions[0]} → {versions[1]}"
        else:
            yield f"{name} {versions[0]} has other hashes, or is for others"


def _versions(pins: Iterable[Pin]) -> dict[str, dict[tuple[str, str], frozenset[str]]]:
    versions: dict[str, dict[tuple[str, str], frozenset[str]]] = {}
    for pin in pins:
        versions.setdefault(pin.name, {})[pin.version, pin.marker] = pin.hashes
    return versions
