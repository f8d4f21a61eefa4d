"""uenv images: what is mounted, and which views it has.

`UENV_MOUNT_LIST` holds `FILE:MOUNT,…` and `UENV_VIEW` `MOUNT:NAME:VIEW,…`; an image describes itself in its
`meta/env.json`: https://github.com/eth-cscs/uenv (`src/uenv/meta.cpp`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from launcher.errors import PreflightFailed
from launcher.view import Patch, is_below

MOUNTS = "UENV_MOUNT_LIST"
VIEWS = "UENV_VIEW"


class View(NamedTuple):
    """A view of a mounted image.

    Attributes:
        mount: Where its image is mounted.
        name: Its name.
        patch: What it changes.
    """

    mount: str
    name: str
    patch: Patch


class Image(NamedTuple):
    """A mounted uenv image.

    Attributes:
        mount: Where it is mounted.
        label: What people call it: its label, or the name that it gives itself.
        name: The name that it gives itself, or that of its file.
        views: Name → view.
        default_view: The view that is loaded where none is named, or empty.
    """

    mount: str
    label: str
    name: str
    views: dict[str, View]
    default_view: str


def mounted(environment: Mapping[str, str], labels: Mapping[str, str]) -> list[Image]:
    """Return the images that a session has, or should have, in the order of their mounts.

    Args:
        environment: The job's environment.
        labels: Mount point → label, as far as the hub knows them.

    Raises:
        PreflightFailed: If the description of an image can't be read.
    """
    files = {}
    for entry in filter(None, environment.get(MOUNTS, "").split(",")):
        file, _, mount = entry.rpartition(":")
        if mount.startswith("/"):
            files[mount] = file
    return [_image(mount, files.get(mount, ""), labels.get(mount, "")) for mount in {**labels, **files}]


def loaded_views(images: list[Image], environment: Mapping[str, str], own: str) -> list[View]:
    """Return the views that the user's programs have: those that `UENV_VIEW` names, or else the default ones.

    Args:
        images: The images.
        environment: The job's environment.
        own: Prefix of the server's own Python; the image that holds it brings no view to users by itself.

    Raises:
        PreflightFailed: If an image has no such view.
    """
    by_mount = {image.mount: image for image in images}
    named = [entry.split(":") for entry in environment.get(VIEWS, "").split(",") if entry]
    views = [_view(by_mount[entry[0]], entry[-1]) for entry in named if entry[0] in by_mount]
    return views or [
        _view(image, image.default_view)
        for image in images
        if image.default_view and not is_below(own, image.mount)
    ]


def _view(image: Image, name: str) -> View:
    if name in image.views:
        return image.views[name]
    has = f"It has {', '.join(image.views)}." if image.views else "It has none."
    raise PreflightFailed(
        f"The image {image.label} has no view {name}.",
        why=has,
        todo="Choose another view or environment, or tell the site's support.",
    )


def _image(mount: str, file: str, label: str) -> Image:
    described = _description(mount, label or file)
    stem = os.path.basename(file or label).partition(".")[0]
    name = described.get("name") or stem
    try:
        views = dict(_views(mount, described))
    except ValueError as error:
        raise _unreadable(mount, label or file, str(error)) from None
    default = described.get("default-view")
    return Image(
        mount,
        label or str(name),
        str(name),
        views,
        default if isinstance(default, str) and default in views else "",
    )


def _description(mount: str, label: str) -> dict[str, Any]:
    path = f"{mount}/meta/env.json"
    try:
        with open(path, "rb") as file:
            described = json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(mount, label, str(error)) from None
    if not isinstance(described, dict):
        raise _unreadable(mount, label, "it is not a JSON object")
    return described


def _views(mount: str, described: dict[str, Any]) -> Iterator[tuple[str, View]]:
    views = described.get("views") or {}
    if not isinstance(views, dict):
        raise ValueError("views: not an object")  # noqa: TRY004 - a fault of the file
    for name, view in views.items():
        environment = (view.get("env") or {}) if isinstance(view, dict) else None
        values = environment.get("values", {}) if isinstance(environment, dict) else None
        try:
            yield name, View(mount, name, Patch.read(values))
        except ValueError as error:
            raise ValueError(f"view {name}: {error}") from None


def _unreadable(mount: str, label: str, why: str) -> PreflightFailed:
    return PreflightFailed(
        f"The description of the image {label} can't be used: {mount}/meta/env.json.",
        why=f"{why}.",
        todo="Choose another environment, and tell whoever made the image.",
    )
