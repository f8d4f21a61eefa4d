"""The images of a session: whether they are there, and made for this node's processors."""

from __future__ import annotations

import os
from collections.abc import Iterator

from launcher.errors import PreflightFailed
from launcher.singleuser import file_system
from launcher.singleuser.image import Image, View

_MACHINES = {22: "s390x", 21: "ppc64le", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
"""What programs are made for: `e_machine` of elf.h, as uname(2) calls it."""

_LIKELY = ("python3", "bash", "gcc", "perl", "julia")
"""Programs that are seldom scripts."""

_LOOKED_AT = 12
"""How many programs of a folder are looked at: it may hold nothing but scripts."""


def check_mounted(images: list[Image]) -> None:
    """Make sure that each image of a session is there: one that is not leaves an empty directory.

    Raises:
        PreflightFailed: If one is missing.
    """
    for image in images:
        if os.path.isfile(f"{image.mount}/meta/env.json"):
            continue
        # A site may put something else in the image's place.
        place = os.path.realpath(image.mount)
        if not any(each.mount == place for each in file_system.mounts()):
            there = os.path.isdir(place)
            raise PreflightFailed(
                f"The image {image.label} is not mounted at {image.mount} on this node.",
                why="Nothing is mounted on that directory." if there else "There is no such directory.",
                todo="Press Start again to get another node; if it stays so, choose another environment, or "
                "tell the site's support.",
            )


def check_processors(images: list[Image], views: list[View]) -> None:
    """Make sure that the programs of the user's views are made for this node.

    Of each image the first program that can be told is looked at.

    Raises:
        PreflightFailed: If they are made for other processors.
    """
    node = os.uname().machine
    labels = {image.mount: image.label for image in images}
    for mount, label in labels.items():
        folders = [folder for view in views if view.mount == mount for folder in _folders(view)]
        machine = next(filter(None, map(_machine, _programs(mount, folders))), None)
        if machine and machine != node and node in _MACHINES.values():
            raise PreflightFailed(
                f"The image {label} is for {machine} processors; this node has {node}.",
                todo="Choose an environment that is made for this node, or a partition with other nodes.",
            )


def _folders(view: View) -> Iterator[str]:
    """Yield the folders of a view's PATH that its image holds."""
    for operation in view.patch.lists.get("PATH", ()):
        yield from (folder for folder in operation.values if folder.startswith(f"{view.mount}/"))


def _programs(mount: str, folders: list[str]) -> Iterator[str]:
    """Yield paths of programs that an image holds, likely ones first."""
    for folder in dict.fromkeys(folders):
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        names.sort(key=lambda name: (name not in _LIKELY, name))
        for name in names[:_LOOKED_AT]:
            path = f"{folder}/{name}"
            if os.path.realpath(path).startswith(f"{os.path.realpath(mount)}/"):
                yield path


def _machine(path: str) -> str | None:
    """Return what a program is made for, or None if it is none, or none that is known."""
    try:
        head = file_system.read(path, 20)
    except OSError:
        return None
    if len(head) < 20 or not head.startswith(b"\x7fELF"):
        return None
    return _MACHINES.get(int.from_bytes(head[18:20], "big" if head[5] == 2 else "little"))
