"""Would Stackinator take a recipe? Told without it, all mistakes of all files at once.

The rules are those of Stackinator's JSON schemas, and what it refuses when it reads a recipe:
https://github.com/eth-cscs/stackinator (`stackinator/schema`, `stackinator/recipe.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from launcher.builder.stackinator.config import ConfigFile, config_model, config_words
from launcher.builder.stackinator.environments import (
    CompilersFile,
    compilers_model,
    environments_model,
    environments_words,
)
from launcher.builder.stackinator.versions import FORMATS
from launcher.errors import InvalidFile
from launcher.yaml_file import Part, Problem, Source, checked

HOOK = "post-install"
"""The script that Stackinator runs once Spack is through."""

_OWN_VIEWS = ("modules", "spack")
"""Views that Stackinator adds itself."""


class Files(NamedTuple):
    """A Stackinator recipe, as far as its files can be read.

    Attributes:
        config: `config.yaml`, or None if it has mistakes.
        views: Names of the views, or None if `environments.yaml` has mistakes.
        python: The Python that Spack makes, `(3, 13)`, if a spec names one.
        problems: All mistakes.
        source: Where `config.yaml` says what, or None if it can't be read.
    """

    config: ConfigFile | None
    views: tuple[str, ...] | None
    python: tuple[int, int] | None
    problems: list[Problem]
    source: Source | None


def check(directory: Path) -> None:
    """Check a Stackinator recipe.

    Raises:
        InvalidFile: With every mistake of all its files.
    """
    if problems := read(directory).problems:
        raise InvalidFile(list(problems))


def read(directory: Path, supposed: int = max(FORMATS)) -> Files:
    """Read a Stackinator recipe, whatever is wrong with it.

    Args:
        directory: Where it lies.
        supposed: The version of its format, for as much as can be told where `config.yaml` has mistakes.
    """
    problems: list[Problem] = []
    source = _source(directory / "config.yaml", problems)
    config = _config(source, problems) if source else None
    version = config.version if config else supposed
    compilers = _compilers(directory / "compilers.yaml", version, problems)
    environments = _environments(directory / "environments.yaml", version, compilers, problems)
    views = python = None
    if environments:
        python = _python(environments[1])
        views = _views(*environments, problems)
        view = config.default_view if config else None
        if source and view and view not in (*views, *_OWN_VIEWS):
            known = ", ".join((*views, *_OWN_VIEWS))
            problems.append(source.problem(("default-view",), f"is not one of the views: {known}"))
    problems += [*_modules(directory / "modules.yaml", version), *_packages(directory / "packages.yaml")]
    problems += [*_mirrors(directory / "mirrors.yaml"), *hook_problems(directory)]
    return Files(config, views, python, problems, source)


def _source(path: Path, problems: list[Problem]) -> Source | None:
    if not path.is_file():
        problems.append(Problem("is missing", file=path))
        return None
    try:
        return Source(path)
    except InvalidFile as error:
        problems += _of(error)
        return None


def _of(error: InvalidFile) -> list[Problem]:
    return [each for each in error.problems if isinstance(each, Problem)]


def _config(source: Source, problems: list[Problem]) -> ConfigFile | None:
    model = config_model(source.values)
    try:
        return checked(source, model, config_words(model))
    except InvalidFile as error:
        problems += _of(error)
        return None


def _compilers(path: Path, version: int, problems: list[Problem]) -> CompilersFile | None:
    source = _source(path, problems)
    if not source:
        return None
    model = compilers_model(version)
    try:
        return checked(source, model, environments_words(model))
    except InvalidFile as error:
        problems += _of(error)
        return None


def _environments(
    path: Path, version: int, compilers: CompilersFile | None, problems: list[Problem]
) -> tuple[Source, Part] | None:
    source = _source(path, problems)
    if not source:
        return None
    # Where compilers.yaml has mistakes, any compiler will do: they are told already.
    fields = compilers_model(version).model_fields
    offered = [
        info.alias or name for name, info in fields.items() if not compilers or getattr(compilers, name)
    ]
    model = environments_model(source.values, offered)
    try:
        return source, checked(source, model, environments_words(model))
    except InvalidFile as error:
        problems += _of(error)
        return None


def _views(source: Source, environments: Part, problems: list[Problem]) -> tuple[str, ...]:
    views: list[str] = []
    for field, info in type(environments).model_fields.items():
        for view in type(getattr(environments, field).views).model_fields.values():
            name = str(view.alias)
            if name in views:
                message = "is the name of a view of another environment, too"
                problems.append(source.problem((str(info.alias), "views", name), message, of_key=True))
            views.append(name)
    return tuple(dict.fromkeys(views))


def _python(environments: Part) -> tuple[int, int] | None:
    for field in type(environments).model_fields:
        for spec in getattr(environments, field).specs:
            if found := re.match(r"python@=?(\d+)\.(\d+)", spec):
                return int(found[1]), int(found[2])
    return None


def _modules(path: Path, version: int) -> Iterator[Problem]:
    """Check the two things that Stackinator says of `modules.yaml`; the rest of it is Spack's."""
    problems: list[Problem] = []
    source = _source(path, problems) if path.exists() else None
    yield from problems
    if not source:
        return
    modules = _inside(source.values, "modules")
    if modules is None:
        yield source.problem(("modules",), "is needed, as a mapping")
        return
    default = _inside(modules, "default") or {}
    if default.get("arch_folder", False) is not False:
        yield source.problem(("modules", "default", "arch_folder"), "must be false: uenv knows no other")
    for kind in _inside(default, "roots") or {}:
        place = ("modules", "default", "roots", str(kind))
        if version == 2 and kind == "tcl":
            yield source.problem(place, "does not go here: Stackinator sets it")
        elif kind not in ("tcl", "lmod"):
            yield source.problem(place, "is no kind of module: tcl, lmod")


def _packages(path: Path) -> Iterator[Problem]:
    """Check that `packages.yaml` has what Stackinator merges; the rest of it is Spack's."""
    problems: list[Problem] = []
    source = _source(path, problems) if path.exists() else None
    yield from problems
    if source and _inside(source.values, "packages") is None:
        yield source.problem(("packages",), "is needed, as a mapping")


def _mirrors(path: Path) -> Iterator[Problem]:
    if path.exists():
        yield Problem("has no place in a recipe; hand it to `stack-config --cache`", file=path)


def hook_problems(directory: Path) -> Iterator[Problem]:
    """Yield why Jinja would not take the hooks of a recipe."""
    for name in ("pre-install", HOOK):
        path = directory / name
        if not path.is_file():
            continue
        try:
            jinja2.Environment(autoescape=False).parse(path.read_text(encoding="utf-8"))  # noqa: S701 - a shell script
        except jinja2.TemplateSyntaxError as error:
            hint = " (bash's ${#x} opens a comment of Jinja)" if "comment" in str(error.message) else ""
            yield Problem(f"not a Jinja template: {error.message}{hint}", file=path, line=error.lineno)
        except (OSError, UnicodeDecodeError) as error:
            yield Problem(f"can't be read: {error}", file=path)


def _inside(values: Any, key: str) -> dict[str, Any] | None:
    inner = values.get(key) if isinstance(values, dict) else None
    return inner if isinstance(inner, dict) else None
