"""Recipes: a directory that says what an image consists of.

`image.yaml` describes the image. Beside it lie `requirements.in`, the list of what is wanted, and
`requirements.txt`, the hashed lock; `interpreters.yaml`, the pinned Pythons; `verify`, which runs inside of
the finished image; and where the image may hold VS Code, `code-server.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, StringConstraints

import launcher
from launcher.builder.mount.place import of_the_system
from launcher.builder.prune import expression
from launcher.errors import InvalidFile, UsageError
from launcher.yaml_file import Part, Place, Problem, Source, Words, checked

_ALLOWED: dict[str, str] = {}
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _text(pattern: str, allowed: str) -> StringConstraints:
    _ALLOWED[pattern] = allowed
    return StringConstraints(pattern=pattern)


_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_OF_THE_IMAGE = ("python", "meta", "code-server")
"""What lies below the mount of every image, or may."""
_STEPS = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*"

Name = Annotated[str, _text(rf"^{_NAME}$", "letters, digits, '_', '.' and '-'")]
"""Name of an image or a view: the uenv CLI's grammar."""

Mount = Annotated[str, _text(rf"^(/{_NAME})+$", "an absolute path of letters, digits, '_', '.' and '-'")]
"""Where an image is mounted."""

Below = Annotated[str, _text(rf"^{_STEPS}$", "a path below the mount, without '..' and a leading '/'")]
"""A path inside of an image."""

Package = Annotated[str, _text(r"^[a-z0-9]+(-[a-z0-9]+)*$", "a package's name in small letters, with '-'")]
"""Name of a package in its normal form (PEP 503)."""

Pattern = Annotated[str, _text(r"^[^/\x00-\x1f][^\x00-\x1f]*$", "a pattern of paths below the mount")]
"""A pattern of paths inside of an image, as `pathlib` matches them: `**` stands for any directories."""

Extra = Literal["hub", "build", "sandbox", "bench", "test"]
"""An extra of this project."""

Line = Annotated[str, _text(r"^[^\x00-\x1f\x7f]{0,500}$", "one line of up to 500 characters")]


class ViewPart(Part):
    """A view: what changes for whoever loads it."""

    description: Line = ""
    """One line for people."""
    prepend: dict[str, tuple[Line, ...]] = Field(default={})
    """List, such as `PATH` → what comes before its fields; what does not begin with `/` lies in the image."""
    append: dict[str, tuple[Line, ...]] = Field(default={})
    """List → what comes after its fields."""
    set: dict[str, Line] = Field(default={})
    """Variable → value; `${@HOME@}` stands for what a variable is then."""
    unset: tuple[Line, ...] = ()
    """Variables that are taken away."""

    def relations(self) -> Iterator[tuple[Place, str]]:
        """Check the names of variables."""
        for key in ("prepend", "append", "set"):
            for name in getattr(self, key):
                if not _VARIABLE_NAME.fullmatch(name):
                    yield (key, name), "is no name of a variable"
        for position, name in enumerate(self.unset):
            if not _VARIABLE_NAME.fullmatch(name):
                yield ("unset", position), "is no name of a variable"
            elif name in {*self.prepend, *self.append, *self.set}:
                yield ("unset", position), "is set or changed, too"
        for name in self.set:
            if name in {*self.prepend, *self.append}:
                yield ("set", name), "is a list that is prepended or appended to, too"

    def values(self, mount: str) -> dict[str, Any]:
        """Return `env.values` of `meta/env.json`: https://github.com/eth-cscs/uenv (`src/uenv/meta.cpp`)."""
        lists: dict[str, list[dict[str, Any]]] = {}
        for op, fields in (("prepend", self.prepend), ("append", self.append)):
            for name, given in fields.items():
                value = [str(PurePosixPath(mount, each)) for each in given]
                lists.setdefault(name, []).append({"op": op, "value": value})
        return {"list": lists, "scalar": {**self.set, **dict.fromkeys(self.unset)}}


class ImageFile(Part):
    """What `image.yaml` says."""

    name: Name
    """Name that the image gives itself, and the first part of its label."""
    description: Line = ""
    """One line for people."""
    mount: Mount
    """Where it is mounted."""
    version: Package
    """The package whose version is the image's."""
    prefix: Below
    """Where its packages lie, with programs in `bin`: `env/jupyter`."""
    launcher: Annotated[bool, Field(strict=True)] = False
    """Whether it holds this project, so that sessions can run from it."""
    extras: tuple[Extra, ...] = ()
    """The extras of this project that it holds, too: `hub` is for images of hubs."""
    code_server: Annotated[bool, Field(strict=True)] = False
    """Whether it may hold VS Code, by the pins of `code-server.yaml`."""
    gpu: tuple[Package, ...] = ()
    """Packages of `requirements.in` that only images for GPUs hold, with what only they need."""
    leave_out: tuple[Package, ...] = ()
    """Packages of the lock that nobody misses."""
    prune: tuple[Pattern, ...] = ()
    """Files and directories that nobody runs."""
    views: dict[Name, ViewPart] = Field(min_length=1)
    """Its views."""
    default_view: Name
    """The view that is loaded where none is named."""
    compression: Literal["zstd", "lz4"] = "zstd"
    """How the squashfs is compressed: `zstd` makes it smaller, from `lz4` programs start sooner."""

    def relations(self) -> Iterator[tuple[Place, str]]:
        """Check the places, and that the default view is a view."""
        if of_the_system(self.mount):
            yield ("mount",), "is the system's; allowed is a place of its own, such as /user-tools"
        if self.prefix.split("/")[0] in _OF_THE_IMAGE:
            own = ", ".join(_OF_THE_IMAGE)
            yield ("prefix",), f"must not begin with what each image has there ({own}); usual is env/NAME"
        if self.version in (*self.leave_out, *self.gpu):
            yield ("version",), "is a package that not all images hold: leave_out or gpu names it"
        for position, pattern in enumerate(self.prune):
            try:
                expression(pattern)
            except re.error:
                yield ("prune", position), "has a range that ends before it begins"
        if self.extras and not self.launcher:
            yield ("extras",), "are this project's, which is not in the image: launcher is false"
        if self.default_view not in self.views:
            yield ("default_view",), f"is not one of the views: {', '.join(self.views)}"

    def description_of_itself(self) -> dict[str, Any]:
        """Return what stands in the image's `meta/env.json`."""
        return {
            "name": self.name,
            "description": self.description or None,
            "mount": self.mount,
            "default-view": self.default_view,
            "views": {
                name: {
                    "description": view.description,
                    "env": {"version": 1, "type": "augment", "values": view.values(self.mount)},
                }
                for name, view in self.views.items()
            },
        }


WORDS = Words(ImageFile, _ALLOWED)
"""The words for what is wrong with `image.yaml`."""


FILES = ("image.yaml", "requirements.in", "requirements.txt", "interpreters.yaml", "verify")
"""The files that each recipe has."""
_PINS = "code-server.yaml"
"""The one that those have which may hold VS Code."""


class Recipe(NamedTuple):
    """A recipe.

    Attributes:
        directory: Where it lies.
        image: What its `image.yaml` says.
    """

    directory: Path
    image: ImageFile

    @classmethod
    def load(cls, directory: Path) -> Recipe:
        """Read a recipe.

        Raises:
            InvalidFile: With every problem of `image.yaml`, and each file of the recipe that is missing.
        """
        path = directory / "image.yaml"
        image = checked(Source(path), ImageFile, WORDS)
        needed = [*FILES, *([_PINS] if image.code_server else [])]
        missing = [
            Problem("is missing", file=directory / name)
            for name in needed
            if not (directory / name).is_file()
        ]
        if missing:
            raise InvalidFile(list(missing))
        return cls(directory, image)

    def files(self) -> list[Path]:
        """Return its files, but for those for Stackinator; what else lies beside them is no part of it."""
        paths = (self.directory / name for name in (*FILES, _PINS))
        return [path for path in paths if path.is_file()]

    @property
    def requirements(self) -> Path:
        """The list of what is wanted."""
        return self.directory / "requirements.in"

    @property
    def lock(self) -> Path:
        """The hashed lock."""
        return self.directory / "requirements.txt"


def recipes_directory() -> Path:
    """Return the directory of the recipes that come with the launcher."""
    package = Path(launcher.__file__).parent
    installed = package / "uenv"
    return installed if installed.is_dir() else package.parent / "uenv"


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the launcher."""
    return sorted(path.parent.name for path in recipes_directory().glob("*/image.yaml"))


def find_recipe(named: str) -> Path:
    """Return the directory of a recipe.

    Args:
        named: The name of one that comes with the launcher, or the path of a directory: that holds a
            slash, or is `.`.

    Raises:
        UsageError: If there is none.
    """
    return find_directory(named, recipes_directory(), FILES[0], "launcher build uenv")


def find_directory(named: str, own: Path, file: str, command: str) -> Path:
    """Return the directory of a recipe of some kind.

    Args:
        named: As of `find_recipe`.
        own: The directory of those that come with the launcher.
        file: The file by which one is known.
        command: What builds it.

    Raises:
        UsageError: If there is none.
    """
    names = sorted(path.parent.name for path in own.glob(f"*/{file}"))
    if "/" not in named and named != "." and named in names:
        return own / named
    directory = Path(named)
    try:
        if ("/" in named or named == ".") and directory.is_dir():
            if (directory / file).is_file():
                return directory
            raise UsageError(f"{named} is no recipe: it holds no {file}.")
    except OSError as error:
        raise UsageError(f"{named} can't be looked into.", why=f"{error.strerror}.") from None
    raise UsageError(
        f"There is no recipe {named!r}.",
        why=f"The launcher's own are {', '.join(names)}; another one is named by the path of its directory.",
        todo=f"Try: {command} {names[0]}" if names else "",
    )
