"""Builds of the tools image: one from wheels that are there, and others that find nothing changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.results import Result, at_most
from launcher.builder import squashfs
from launcher.builder.cache import cache_directory
from launcher.builder.interpreter import pinned_python
from launcher.builder.lock import Lock
from launcher.builder.recipe import Recipe, find_recipe
from launcher.builder.target import Target, own_arch, own_glibc
from launcher.builder.wheels import Wheel, fetch
from launcher.cli.progress import ShownProgress

BUILD, AGAIN = "Build of the tools image, wheels fetched", "Build of the tools image, nothing changed"
SIZE, SHARE = "Tools image", "Tools image against its directory"
DIRECTORY, FILES = "Directory of the tools image", "Files in the tools image"
LENGTHS = "by the lengths of the files"

_AGAIN = 3


def recipe() -> Recipe:
    """Return the recipe of the tools image."""
    return Recipe.load(find_recipe("jupyterlab"))


def built(work: Path) -> tuple[Path, list[Result]]:
    """Build the tools image from nothing but wheels, then again; return it, and what that took.

    Args:
        work: An empty directory.
    """
    cache = work / "cache"
    cache.mkdir()
    usual = cache_directory()
    fetched(usual)
    (cache / "wheels").symlink_to(usual / "wheels")
    told, seconds = build(work, cache)
    again = [build(work, cache)[1] for _ in range(_AGAIN)]
    image = Path(told["image"])
    return image, [
        Result.worst(BUILD, [round(seconds, 1)], "s", 90),
        Result.worst(AGAIN, [round(each, 1) for each in again], "s", 5),
        Result.worst(SIZE, [round(told["size"] / 1e6, 1)], "MB", 100),
    ]


def sizes(image: Path, tree: Path) -> list[Result]:
    """Return how an image compares with the directory that it was unpacked into."""
    files = [each.size for each in squashfs.entries(image) if each.kind == "file"]
    blocks = sum(path.lstat().st_blocks for path in tree.rglob("*"))
    size = image.stat().st_size
    share, on_disk = (round(100 * size / each, 1) for each in (sum(files), blocks * 512))
    lengths, megabytes = round(sum(files) / 1e6, 1), round(blocks * 512e-6, 1)
    return [
        Result(DIRECTORY, megabytes, "MB", (megabytes, megabytes), peers={LENGTHS: lengths}),
        Result(FILES, len(files), "files", (len(files), len(files))),
        Result(SHARE, on_disk, "%", (on_disk, on_disk), at_most(30), peers={LENGTHS: share}),
    ]


def fetched(cache: Path) -> list[Wheel]:
    """Return the wheels that the lock of the tools image names, downloading those that a cache lacks."""
    wanted = recipe()
    target, python = own_target()
    with ShownProgress() as progress:
        return fetch(Lock.read(wanted.lock), target, python, cache, progress)


def own_target() -> tuple[Target, str]:
    """Return what a tools image for this machine is built for, and the full version of its Python."""
    python = pinned_python(recipe().directory, own_arch(), None).python
    major, minor, _ = map(int, python.split("."))
    return Target(own_arch(), own_glibc(), (major, minor)), python


def build(output: Path, cache: Path) -> tuple[dict[str, Any], float]:
    """Build as a person does; return what the command said, and its seconds.

    Args:
        output: The directory for the image.
        cache: The builder's cache.
    """
    argv = [sys.executable, "-m", "launcher", "build", "uenv", "jupyterlab", "--json"]
    began = time.monotonic()
    done = subprocess.run(
        [*argv, "--cache", str(cache), "--output", str(output)],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONWARNINGS": ""},
    )
    return json.loads(done.stdout), time.monotonic() - began
