"""Images as squashfs files, as Enroot imports them and container engines on clusters start them.

It is the image's files as root's, with what the image says of itself in three of them:
https://github.com/NVIDIA/enroot/blob/master/doc/image-format.md.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

from launcher.builder import squashfs
from launcher.builder.container.engine import Image

_COMPRESSED = "-comp zstd -Xcompression-level 3".split()
"""Sessions start as soon from it as from what is packed tighter, and it is quick to make."""
_EMPTY = ("proc", "sys", "dev", "run", "tmp", "var/tmp")
"""What a node fills; it stays there, without what is in it."""


def pack(root: Path, image: Image, target: Path, epoch: int) -> None:
    """Make a squashfs file of an image: the same image gives the same bytes.

    Args:
        root: The directory of its files.
        image: What it says of itself.
        target: The file.
        epoch: The time of what is new, in seconds since 1970.

    Raises:
        BuildFailed: If it can't be made.
        MissingPart: If squashfs-tools are not installed.
    """
    files = {
        "etc/environment": ("644", "".join(_lines(image))),
        "etc/fstab": ("644", ""),
        "etc/rc": ("755", _start(image)),
    }
    with tempfile.TemporaryDirectory() as directory:
        definitions = Path(directory, "files")
        lines = []
        for number, (path, (mode, content)) in enumerate(files.items()):
            own = Path(directory, str(number))
            own.write_text(content)
            lines.append(f"{path} F {epoch} {mode} 0 0 cat {shlex.quote(str(own))}\n")
        definitions.write_text("".join(lines))
        # All after -e is left out.
        left_out = [*files, *(f"{each}/*" for each in _EMPTY), *(f"{each}/.[!.]*" for each in _EMPTY)]
        # Where an image is mounted, its root has the time of that.
        times = ("-mkfs-time", str(epoch), "-root-time", str(epoch))
        ours = ("-all-root", *times, "-pf", str(definitions), "-wildcards", "-e", *left_out)
        squashfs.make(root, target, *squashfs.PLAIN, *_COMPRESSED, *ours)


def _lines(image: Image) -> Iterator[str]:
    """Yield the variables; one with a line end would be read as two."""
    yield from (f"{name}={value}\n" for name, value in image.environment.items() if "\n" not in name + value)


def _start(image: Image) -> str:
    """Return what starts the image: a command that is given, or else its own."""
    directory, entry = shlex.quote(image.directory), shlex.join(image.entrypoint)
    own = shlex.join(image.command) or "/bin/sh"
    return f"""\
mkdir -p {directory} 2>/dev/null
cd {directory} && unset OLDPWD || exit 1

if [ -s /etc/rc.local ]; then
    . /etc/rc.local
fi

if [ $# -gt 0 ]; then
    exec {entry} "$@"
else
    exec {entry} {own}
fi
"""
