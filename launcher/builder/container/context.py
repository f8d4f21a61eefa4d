"""What an engine gets to see of a build: the tools, what the base's Python lacks, and the recipe."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from launcher.builder import squashfs
from launcher.builder.container.recipe import (
    DOCKERFILE,
    IGNORED,
    INSTALLER,
    ContainerRecipe,
    containers_directory,
)
from launcher.builder.digest import sha256_of
from launcher.builder.inputs import CHECKS
from launcher.builder.order import Built
from launcher.builder.report import VERIFY
from launcher.errors import BuildFailed

TOOLS = "tools"
KERNEL = "kernel"
META = "meta/container"
"""Where the recipe of the container lies below the mount; its SBOM and what it was made from, too."""
_PROGRAMS = "bin"


def make_context(directory: Path, recipe: ContainerRecipe, tools: Built, meta: dict[str, bytes]) -> None:
    """Fill the directory of a build; what the base's Python lacks lies in its `kernel` already.

    Args:
        directory: The directory.
        recipe: The recipe.
        tools: The image of the tools.
        meta: What else the image tells of itself: name → content.

    Raises:
        BuildFailed: If the tools can't be unpacked, or are others by now.
        OSError: If something can't be written.
    """
    if sha256_of(tools.image) != tools.sha256:
        raise BuildFailed("Another launcher has replaced the tools.", todo="Build again.")
    tree = directory / TOOLS
    squashfs.unpack(tools.image, tree)
    # In the image of the tools all is nobody's, and a directory may give its group to what is made in it.
    owner = f"{os.geteuid()}:{os.getegid()}"
    subprocess.run(["chown", "--recursive", "--no-dereference", owner, str(tree)], check=True)
    prefix = recipe.tools.image.prefix
    (tree / _PROGRAMS).symlink_to(f"{prefix}/bin")
    own = tree / META
    own.mkdir()
    for name, path in recipe.files.items():
        shutil.copyfile(path, own / name)
    for name, content in meta.items():
        (own / name).write_bytes(content)
    (own / CHECKS).symlink_to(f"../../{Path(VERIFY).parent}/{CHECKS}")
    for path in own.iterdir():
        if not path.is_symlink():
            path.chmod(0o644)
    for name in (DOCKERFILE, IGNORED):
        shutil.copyfile(recipe.directory / name, directory / name)
    shutil.copyfile(containers_directory() / INSTALLER, directory / KERNEL / INSTALLER)
