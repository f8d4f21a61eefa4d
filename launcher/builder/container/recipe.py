"""Recipes of containers: a directory that says on what base the tools are put, and where.

`container.yaml` describes it. Beside it lie the `Dockerfile`, `.containerignore`, and `verify`, which runs
inside of the finished image. The tools are an image recipe's, by its name or, for `.`, in the same directory;
then its `verify` is the container's, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field, StringConstraints

import launcher
from launcher.builder.mount.place import of_the_system
from launcher.builder.recipe import WORDS as IMAGE_WORDS
from launcher.builder.recipe import Line, Mount, Recipe, find_directory, recipe_names, recipes_directory
from launcher.errors import InvalidFile, UsageError
from launcher.yaml_file import Part, Place, Problem, Source, Words, checked

FILE = "container.yaml"
DOCKERFILE = "Dockerfile"
IGNORED = ".containerignore"
VERIFY = "verify"
INSTALLER = "kernel.py"
"""The program, beside the recipes, that installs what a base's Python lacks to be a kernel."""
HERE = "."
"""The tools whose recipe is in the same directory."""
_NAME = r"[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*"
_HOST = r"[A-Za-z0-9]+((\.|-+)[A-Za-z0-9]+)*(:[0-9]{1,5})?"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_REFERENCE = rf"({_HOST}/)?{_NAME}(/{_NAME})*(:{_TAG})?"
_DIGEST = r"@sha256:[0-9a-f]{64}"
_BASE = re.compile(rf"{_REFERENCE}({_DIGEST})?")
_ARGUMENT = re.compile(r"(?m)^ARG BASE_IMAGE=(\S+)$")

_ALLOWED: dict[str, str] = {
    rf"^{_NAME}$": "small letters and digits, with '.', '_' and '-' between them",
    rf"^{_REFERENCE}{_DIGEST}$": "an image with its digest: registry/name:tag@sha256:…",
    r"^([A-Za-z0-9_][A-Za-z0-9_.-]*|\.)$": "the name of an image recipe, or '.' for that in this directory",
}
_NAMES, _PINNED, _RECIPES = _ALLOWED


class ContainerFile(Part):
    """What `container.yaml` says."""

    name: Annotated[str, StringConstraints(pattern=_NAMES)]
    """Name of the image."""
    description: Line = ""
    """One line for people."""
    base: Annotated[str, StringConstraints(pattern=_PINNED)]
    """The image that it begins with, pinned by its digest."""
    tools: Annotated[str, StringConstraints(pattern=_RECIPES)]
    """The recipe of the tools: the name of one in `uenv/`, or `.` for that in this directory."""
    mount: Mount | None = None
    """Where the tools lie; without it where their recipe says."""
    kernel: Annotated[bool, Field(strict=True)] = False
    """Whether the base's `python3` is a kernel; it gets `ipykernel` if it has none."""
    adds: tuple[Mount, ...] = ()
    """What else the `Dockerfile` adds to the base: paths of files and directories."""

    def relations(self) -> Iterator[tuple[Place, str]]:
        """Check the place of the tools."""
        if self.mount and of_the_system(self.mount):
            yield ("mount",), "is the system's; allowed is a place of its own, such as /opt/launcher"


WORDS = Words(ContainerFile, {**IMAGE_WORDS.allowed, **_ALLOWED})
"""The words for what is wrong with `container.yaml`."""


class ContainerRecipe(NamedTuple):
    """A recipe of a container.

    Attributes:
        directory: Where it lies.
        container: What its `container.yaml` says.
        tools: The recipe of its tools, which lie where the container's says.
    """

    directory: Path
    container: ContainerFile
    tools: Recipe

    @classmethod
    def load(cls, directory: Path) -> ContainerRecipe:
        """Read a recipe.

        Raises:
            InvalidFile: With every problem of `container.yaml`, each file that is missing, and what is wrong
                with the recipe of its tools.
        """
        source = Source(directory / FILE)
        container = checked(source, ContainerFile, WORDS)
        problems: list[str] = [
            Problem("is missing", file=directory / name)
            for name in _names(container)
            if not (directory / name).is_file()
        ]
        if (directory / DOCKERFILE).is_file():
            problems += _of_dockerfile(directory / DOCKERFILE, container)
        if container.tools != HERE and container.tools not in recipe_names():
            names = ", ".join(recipe_names())
            problems.append(source.problem(("tools",), f"is no image recipe; there are {names}"))
        if problems:
            raise InvalidFile(problems)
        own = directory if container.tools == HERE else recipes_directory() / container.tools
        tools = Recipe.load(own)
        if container.mount:
            image = tools.image.model_copy(update={"mount": container.mount})
            tools = tools._replace(image=image)
        return cls(directory, container, tools)

    @property
    def files(self) -> dict[str, Path]:
        """Its own files: name → path."""
        return {name: self.directory / name for name in _names(self.container)}


def containers_directory() -> Path:
    """Return the directory of the recipes that come with the launcher."""
    package = Path(launcher.__file__).parent
    installed = package / "containers"
    return installed if installed.is_dir() else package.parent / "containers"


def container_names() -> list[str]:
    """Return the names of the recipes that come with the launcher."""
    return sorted(path.parent.name for path in containers_directory().glob(f"*/{FILE}"))


def find_container(named: str) -> Path:
    """Return the directory of a recipe.

    Args:
        named: The name of one that comes with the launcher, or the path of a directory.

    Raises:
        UsageError: If there is none.
    """
    return find_directory(named, containers_directory(), FILE, "launcher build container")


def reference(text: str) -> str:
    """Return the name of an image, as it may be handed to an engine.

    Raises:
        UsageError: If it is none.
    """
    if not _BASE.fullmatch(text):
        raise UsageError(
            f"{text!r:.200} is no name of an image.",
            todo="Such as registry.example.org/jupyter/pytorch:25.06",
        )
    return text


def tag(text: str, *, pushed: bool) -> str:
    """Return a name for an image that is built, as engines have it: with a registry, or `localhost`.

    Args:
        text: The name.
        pushed: Whether the image goes to the registry that it begins with.

    Raises:
        UsageError: If it is none, or begins with no registry.
    """
    if "@" in reference(text):
        raise UsageError(f"{text!r:.200} holds a digest, which follows from the image.")
    host, slash, _ = text.partition("/")
    there = slash and (set(".:") & set(host) or host == "localhost")
    if pushed and (not there or host == "localhost"):
        raise UsageError(
            f"{text!r:.200} begins with no registry.", todo="Such as registry.example.org/jupyter/hub:1"
        )
    return text if there else reference(f"localhost/{text}")


def _names(container: ContainerFile) -> tuple[str, ...]:
    """Return the files of a recipe that are the container's own."""
    return (FILE, DOCKERFILE, IGNORED, *([] if container.tools == HERE else [VERIFY]))


def _of_dockerfile(path: Path, container: ContainerFile) -> Iterator[Problem]:
    """Look whether who builds without the launcher begins with the same base."""
    text = path.read_text(encoding="utf-8", errors="replace")
    found = _ARGUMENT.search(text)
    if not found:
        yield Problem("does not begin with ARG BASE_IMAGE=", file=path, line=1)
    elif found[1] not in (container.base, container.base.partition("@")[0]):
        line = text.count("\n", 0, found.start()) + 1
        yield Problem(f"names another base than {FILE}: {container.base}", file=path, line=line)
