"""A recipe whose image is built in seconds: one package, and what the shipped recipes pin."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from launcher.builder.recipe import recipes_directory

_IMAGE = """\
name: small
mount: /small-tools
version: click
prefix: env/small
views:
  default:
    prepend: {PATH: [env/small/bin]}
    set: {SMALL: "${@HOME@}/small"}
    unset: [LARGE]
default_view: default
"""
_VERIFY = """\
import checks

@checks.check("click is there", needs=checks.PROGRAM)
def click(image):
    return image.run("bin/python", "-I", "-c", "import click; print(click.__file__)")

checks.main()
"""


def small_recipe(directory: Path, *packages: str, verify: str = _VERIFY) -> Path:
    """Make the recipe.

    Args:
        directory: The new directory for it.
        packages: More packages than click, of those that the shipped lock pins.
        verify: Its `verify`.
    """
    shipped = recipes_directory() / "jupyterlab"
    directory.mkdir(parents=True)
    names = ("click", *packages)
    lock = (shipped / "requirements.txt").read_text()
    pins = [re.search(rf"(?m)^{name}==.*(\n    --hash=.*)+\n", lock) for name in names]
    locked = re.search(r"(?m)^# locked: .*\n", lock)
    assert locked
    (directory / "requirements.txt").write_text(locked[0] + "".join(pin[0] for pin in pins if pin))
    (directory / "requirements.in").write_text("".join(f"{name}\n" for name in names))
    (directory / "image.yaml").write_text(_IMAGE)
    (directory / "verify").write_text(verify)
    shutil.copy(shipped / "interpreters.yaml", directory)
    return directory
