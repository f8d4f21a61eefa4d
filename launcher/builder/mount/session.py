"""What a command finds of the images that are mounted for it, as uenv would have it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from launcher.builder import squashfs
from launcher.builder.mount.ways import Mounted
from launcher.errors import LauncherError, UsageError
from launcher.view import Patch

_PATH = re.compile(r"[A-Za-z0-9_./-]+")
_WORDS = "letters, digits, '_', '.', '/' and '-'"


class Described(NamedTuple):
    """An image, and what it says of itself.

    Attributes:
        image: The squashfs file.
        mount: Where it is to be mounted.
        name: The name that it gives itself, or that of its file.
        views: Name → view, in the form of `meta/env.json`.
        default_view: The view that is loaded where none is named, or empty.
    """

    image: Path
    mount: str
    name: str
    views: dict[str, Any]
    default_view: str


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
    if not image.is_file() and not file.startswith((".", "/")):
        raise UsageError(
            f"There is no file {file}.",
            todo="It takes squashfs files; where uenv is installed, `uenv run` takes labels.",
        )
    for path in (str(image), mount or "/"):
        if not _PATH.fullmatch(path) or "/../" in f"{path}/":
            raise UsageError(
                f"The path {path!r} can't be used.", why=f"uenv allows {_WORDS} in it, and no step up."
            )
    told = _description(image)
    mount = os.path.normpath(mount or str(told.get("mount") or "")) if mount or told.get("mount") else ""
    if not mount:
        raise UsageError(
            f"The image {image.name} does not say where it belongs.",
            todo=f"Say it: {file}:/user-environment.",
        )
    if not _PATH.fullmatch(mount) or not re.match("/[^/]", mount):
        raise UsageError(f"An image can't be mounted at {mount!r}.")
    known = told.get("views")
    known = known if isinstance(known, dict) else {}
    default = told.get("default-view")
    name = told.get("name")
    return Described(
        image,
        mount,
        name if isinstance(name, str) and name else image.name.partition(".")[0],
        known,
        default if isinstance(default, str) and default in known else "",
    )


def _description(image: Path) -> dict[str, Any]:
    """Return an image's `meta/env.json`; it may have none."""
    try:
        told = json.loads(squashfs.read(image, "meta/env.json"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise LauncherError(f"The meta/env.json of {image} can't be read.", why=f"{error}.") from None
    if not isinstance(told, dict):
        raise LauncherError(f"The meta/env.json of {image} can't be read.", why="It is no JSON object.")
    return told


def _named_view(images: Sequence[Described], named: str) -> View:
    name, _, view = named.rpartition(":")
    having = [each for each in images if view in each.views and name in ("", each.name)]
    if len(having) == 1:
        return _view(having[0], view)
    if having:
        which = " or ".join(f"{each.name}:{view}" for each in having)
        raise UsageError(f"Several images have a view {view}.", todo=f"Name the image, too: {which}.")
    there = ", ".join(f"{each.name}:{view}" for each in images for view in each.views)
    raise UsageError(f"There is no view {named}.", why=f"There are {there}." if there else "There are none.")


def _view(image: Described, name: str) -> View:
    told = image.views[name]
    environment = told.get("env") if isinstance(told, dict) else None
    try:
        patch = Patch.read(environment.get("values", {}) if isinstance(environment, dict) else {})
    except ValueError as error:
        raise LauncherError(
            f"The view {name} of {image.image} can't be loaded.", why=f"meta/env.json: {error}."
        ) from None
    return View(image, name, patch)
