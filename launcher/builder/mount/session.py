"""What a command finds of the images that are mounted for it, as uenv would have it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from launcher.builder import description
from launcher.builder.mount.place import placed
from launcher.builder.mount.ways import Mounted
from launcher.errors import LauncherError, UsageError
from launcher.view import Patch

_PATH = re.compile(r"[A-Za-z0-9_./-]+")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_WORDS = "letters, digits, '_', '.', '/' and '-'"


class Described(NamedTuple):
    """An image, and what it says of itself.

    Attributes:
        image: The squashfs file.
        mount: Where it is to be mounted.
        name: The name that it gives itself, or that of its file where that is none for uenv.
        views: Name → view, in the form of `meta/env.json`; those that uenv could name.
        default_view: The view that is loaded where none is named, or empty.
        arch: The processors that it was built for, or empty.
    """

    image: Path
    mount: str
    name: str
    views: dict[str, Any]
    default_view: str
    arch: str


class View(NamedTuple):
    """A view that is to be loaded."""

    of: Described
    name: str
    patch: Patch


def described(named: Sequence[str]) -> list[Described]:
    """Return the images that are named on a command line.

    Args:
        named: Each as `FILE` or `FILE:MOUNT`.

    Raises:
        UsageError: If a path can't be used, or an image has no mount point, or one that another has.
        LauncherError: If an image can't be read.
        MissingPart: If squashfs-tools are not installed.
    """
    images = [_described(each) for each in named]
    for position, each in enumerate(images):
        for other in images[:position]:
            if PurePosixPath(each.mount).is_relative_to(other.mount) or PurePosixPath(
                other.mount
            ).is_relative_to(each.mount):
                raise UsageError(
                    f"{other.image.name} and {each.image.name} can't be mounted together: "
                    f"{other.mount} and {each.mount} are one in the other.",
                    todo="Name another mount point: FILE:MOUNT.",
                )
    return images


def views(images: Sequence[Described], named: Sequence[str] | None) -> list[View]:
    """Return the views that are to be loaded, in order.

    Args:
        images: The images.
        named: Each as `VIEW` or `NAME:VIEW`, with the name of its image; None stands for the images' default
            views.

    Raises:
        UsageError: If there is no such view, or if several images have it.
        LauncherError: If an image describes it in a form that can't be read.
    """
    if named is None:
        return [_view(each, each.default_view) for each in images if each.default_view]
    return [_named_view(images, each) for each in named]


def changes(
    images: Sequence[Described], loaded: Sequence[View], environment: Mapping[str, str]
) -> dict[str, str | None]:
    """Return the variables that differ in the session of some images from those outside.

    They are those of the views, and the two by which programs know of the session.
    """
    after = Patch.merged(view.patch for view in loaded).applied(environment)
    after["UENV_MOUNT_LIST"] = ",".join(f"{each.image}:{each.mount}" for each in images)
    after["UENV_VIEW"] = ",".join(f"{view.of.mount}:{view.of.name}:{view.name}" for view in loaded)
    changed: dict[str, str | None] = dict.fromkeys(environment.keys() - after.keys())
    return changed | {name: value for name, value in after.items() if environment.get(name) != value}


def mounted(images: Sequence[Described]) -> list[Mounted]:
    """Return the images as `command` takes them."""
    return [Mounted(each.image, each.mount) for each in images]


def _described(named: str) -> Described:
    file, colon, mount = named.rpartition(":")
    if not colon or not mount.startswith("/"):
        file, mount = named, ""
    image = Path(os.path.abspath(file))  # noqa: PTH100 - pathlib keeps `..`
    try:
        there = image.exists()
    except OSError as error:
        raise UsageError(f"The path {file!r:.200} can't be used.", why=f"{error.strerror}.") from None
    if not there and not file.startswith((".", "/")):
        raise UsageError(
            f"There is no file {file!r}.",
            todo="It takes squashfs files; where uenv is installed, `uenv run` takes labels.",
        )
    if not _PATH.fullmatch(str(image)):
        raise UsageError(f"The path {str(image)!r} can't be used.", why=f"uenv allows {_WORDS} in it.")
    told = description.read(image)
    views = told.get("views")
    known = (
        {name: view for name, view in views.items() if _NAME.fullmatch(name)}
        if isinstance(views, dict)
        else {}
    )
    default = told.get("default-view")
    name = told.get("name")
    return Described(
        image,
        _mount(image, mount, told.get("mount")),
        name if isinstance(name, str) and _NAME.fullmatch(name) else image.name.partition(".")[0],
        known,
        default if isinstance(default, str) and default in known else "",
        description.arch(image),
    )


def _mount(image: Path, named: str, told: object) -> str:
    """Return where an image is to be mounted: as the command line says, or else the image."""
    if not (named or told):
        raise UsageError(
            f"The image {image.name} does not say where it belongs.",
            todo=f"Say it: {image}:/user-environment.",
        )
    try:
        return placed(named or told)
    except ValueError as error:
        if named:
            raise UsageError(f"No image can be mounted at {named!r:.200}.", why=str(error)) from None
        raise UsageError(
            f"{image.name} can't be mounted at {told!r:.200}, as its {description.PATH} says.",
            why=str(error),
            todo=f"Name another place: {image}:/user-environment.",
        ) from None


def _named_view(images: Sequence[Described], named: str) -> View:
    name, _, view = named.rpartition(":")
    having = [each for each in images if view in each.views and name in ("", each.name)]
    if len(having) == 1:
        return _view(having[0], view)
    if having:
        which = " or ".join(f"{each.name}:{view}" for each in having)
        raise UsageError(f"Several images have a view {view!r}.", todo=f"Name the image, too: {which}.")
    there = ", ".join(f"{each.name}:{view}" for each in images for view in each.views)
    raise UsageError(
        f"There is no view {named!r}.", why=f"There are {there:.1000}." if there else "There are none."
    )


def _view(image: Described, name: str) -> View:
    told = image.views[name]
    environment = told.get("env") if isinstance(told, dict) else None
    try:
        patch = Patch.read(environment.get("values", {}) if isinstance(environment, dict) else {})
    except ValueError as error:
        raise LauncherError(
            f"The view {name} of {image.image} can't be loaded.",
            why=f"{description.PATH}: {str(error)!r:.300}",
        ) from None
    return View(image, name, patch)
