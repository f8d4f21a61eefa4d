"""Is a recipe right in all its files? Told offline, all mistakes at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launcher.builder.code_server import CodeServerPin
from launcher.builder.interpreter.pins import read as read_pins
from launcher.builder.recipe import WORDS, ImageFile
from launcher.builder.stackinator.files import HOOK, Files, hook_problems, read
from launcher.builder.stackinator.uarchs import DIRECTORY, uarchs
from launcher.builder.stackinator.versions import FORMATS
from launcher.errors import InvalidFile
from launcher.yaml_file import Problem, Source, checked

_NEEDED = ("requirements.in", "requirements.txt", "interpreters.yaml", "verify")


def check_recipe(directory: Path) -> None:
    """Check a recipe and the Stackinator recipes in it; what its lock holds is the lock's own check.

    Raises:
        InvalidFile: With every mistake of all its files.
    """
    problems: list[Problem] = []
    image: ImageFile | None = _tried(
        problems, lambda: checked(Source(directory / "image.yaml"), ImageFile, WORDS)
    )
    needed = [*_NEEDED, *(["code-server.yaml"] if image and image.code_server else [])]
    missing = [directory / name for name in needed if not (directory / name).is_file()]
    problems += [Problem("is missing", file=path) for path in missing]
    if (directory / "interpreters.yaml").is_file():
        _tried(problems, lambda: read_pins(directory / "interpreters.yaml"))
    if (directory / "code-server.yaml").is_file():
        _tried(problems, lambda: CodeServerPin.load(directory / "code-server.yaml"))
    if (directory / DIRECTORY).is_dir():
        problems += _stackinator(directory, image)
    if problems:
        raise InvalidFile(list(problems))


def _tried(problems: list[Problem], load: Any) -> Any:
    try:
        return load()
    except InvalidFile as error:
        problems += [each for each in error.problems if isinstance(each, Problem)]


def _stackinator(directory: Path, image: ImageFile | None) -> Iterator[Problem]:
    own = directory / DIRECTORY
    problems: list[Problem] = []
    _tried(problems, lambda: uarchs(directory))
    yield from problems
    versions = [version for version in FORMATS if (own / f"v{version}").is_dir()]
    if not versions:
        yield Problem(f"holds no recipe of its own: {' or '.join(f'v{each}' for each in FORMATS)}", file=own)
    for version in versions:
        files = read(own / f"v{version}", version)
        yield from files.problems
        yield from _agreement(files, version, image)
    if not (own / HOOK).is_file():
        yield Problem("is missing", file=own / HOOK)
    else:
        yield from hook_problems(own)


def _agreement(files: Files, version: int, image: ImageFile | None) -> Iterator[Problem]:
    """Compare a Stackinator recipe with where it lies, and with the image that it is to be."""
    config, source = files.config, files.source
    if not config or not source:
        return
    if config.version != version:
        yield source.problem(("version",), f"must be {version}, as the name of its directory says")
    if not image:
        return
    for key, said, wanted in (
        ("name", config.name, image.name),
        ("store", config.store, image.mount),
        ("default-view", config.default_view, image.default_view),
    ):
        if said != wanted:
            yield source.problem((key,), f"must be {wanted}, as image.yaml has it (it is '{said}')")
    if files.views is not None and not files.python:
        message = "names no Python for the packages of the lock: a spec such as python@3.13"
        yield Problem(message, file=source.path.with_name("environments.yaml"))
    if files.views is not None and not any(image.prefix == f"env/{view}" for view in files.views):
        message = f"no view lies at {image.prefix}, the prefix that image.yaml names"
        yield Problem(message, file=source.path.with_name("environments.yaml"))
