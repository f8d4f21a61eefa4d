"""Where starts are measured, and how often."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

RUNS = click.Option(["--runs"], default=5, show_default=True, help="Starts of each kind.")
BELOW = click.Option(
    ["--below"],
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default="/var/tmp",  # noqa: S108 - a new directory is made there, with a name of its own
    show_default=True,
    help="A directory on the disk that is measured.",
)


@contextmanager
def workplace(below: Path) -> Iterator[Path]:
    """Lend an empty directory that everybody may enter.

    Args:
        below: On which disk.

    Raises:
        click.UsageError: If nothing can be measured, for lack of rights.
    """
    if os.geteuid():
        raise click.UsageError("Only root can drop caches and mount images.")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=below) as work:
        Path(work).chmod(0o755)  # the server is an ordinary user's
        yield Path(work)


def unpacked(image: Path, tree: Path) -> Path:
    """Return a new directory with what is in an image.

    Args:
        image: The image.
        tree: The directory, which is not there.
    """
    subprocess.run(["unsquashfs", "-q", "-n", "-d", str(tree), str(image)], check=True)
    return tree
