"""Images as squashfs files, as Enroot imports them and container engines on clusters start them.

It is the image's files as root's, with what the image says of itself in three of them:
https://github.com/NVIDIA/enroot/blob/master/doc/image-format.md.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from launcher.builder.container.engine import Image
from launcher.builder.mount.namespace import found
from launcher.errors import BuildFailed, MissingPart

_PLAIN = "-all-root -no-xattrs -noappend -no-recovery -no-progress -quiet".split()
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
    program = found("mksquashfs")
    if not program:
        raise MissingPart("mksquashfs is not installed.", todo="As root: apt-get install squashfs-tools.")
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
        done = subprocess.run(
            [
                *(program, str(root), str(target), *_PLAIN, *_COMPRESSED),
                # Where an image is mounted, its root has the time of that.
                *("-mkfs-time", str(epoch), "-root-time", str(epoch)),
                *("-pf", str(definitions), "-wildcards", "-e", *left_out),
            ],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env={name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"},
        )
    if done.returncode:
        target.unlink(missing_ok=True)
        raise BuildFailed("mksquashfs could not make the file.", why=done.stderr.strip()[-500:])


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
