"""Squashfs files: made bit for bit alike, and looked into without mounting them.

An image that is looked into may be anybody's: no more of it is read than was asked for, and names are told in
characters that can be printed.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from launcher.builder.program import found
from launcher.errors import BuildFailed, LauncherError, MissingPart

COMPRESSIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "zstd": ("-comp", "zstd", "-Xcompression-level", "9", "-b", "64K"),
        "lz4": ("-comp", "lz4", "-Xhc", "-b", "256K"),
    }
)
"""Name → what mksquashfs is told."""

PLAIN = ("-no-xattrs", "-noappend", "-no-recovery", "-no-progress", "-quiet")
"""What mksquashfs is told for all images."""

LARGEST = 16 << 20
"""Bytes of a file that are read unless somebody asks for more."""
_LONGEST_LIST = 256 << 20
"""Bytes of the list of what an image holds: some two million names."""
_SAID = 64 << 10
"""Bytes at the end of what a program said of its failure that are looked at."""

_NOBODY = "65534"
"""Owner of all files. A number, because systems call its group `nobody` or `nogroup`."""

_SPECIAL = ((3, "sS", 0o4000), (6, "sS", 0o2000), (9, "tT", 0o1000))
_KINDS = {
    "-": "file",
    "d": "directory",
    "l": "link",
    "c": "device",
    "b": "device",
    "p": "fifo",
    "s": "socket",
}


class Entry(NamedTuple):
    """What a squashfs file holds under one name.

    Attributes:
        path: Path below the image's top; that itself is `.`.
        kind: `file`, `directory`, `link`, `device`, `fifo` or `socket`.
        size: Length of a file in bytes; of a directory or a link, of what describes it; 0 of all others.
        mode: Permission bits, with those for setuid, setgid and sticky.
        target: Where a link leads, else empty.
    """

    path: str
    kind: str
    size: int
    mode: int
    target: str


def pack(tree: Path, image: Path, epoch: int, compression: str) -> None:
    """Make a squashfs file of a directory: the same tree, time and squashfs-tools give the same bytes.

    All files are `nobody`'s, and have no extended attributes; names that share a file are taken for files of
    their own.

    Args:
        tree: The directory; it becomes the image's top.
        image: The file; one that is there is replaced.
        epoch: Time of all files and of the image, in seconds since 1970.
        compression: One of `COMPRESSIONS`.

    Raises:
        BuildFailed: If it can't be made; then there is no file.
        MissingPart: If squashfs-tools are not installed.
    """
    owner = ("-force-uid", _NOBODY, "-force-gid", _NOBODY)
    times = ("-mkfs-time", str(epoch), "-all-time", str(epoch))
    make(tree, image, *owner, *times, *PLAIN, "-no-hardlinks", *COMPRESSIONS[compression])


def make(tree: Path, image: Path, *options: str) -> None:
    """Make a squashfs file of a directory by mksquashfs with options, mksquashfs(1).

    Raises:
        BuildFailed: If it can't be made; then there is no file.
        MissingPart: If squashfs-tools are not installed.
    """
    # mksquashfs refuses to be told of a time in two ways.
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    made = False
    try:
        done = subprocess.run(
            [_program("mksquashfs"), str(tree.absolute()), str(image.absolute()), *options],
            capture_output=True,
            check=False,
            env=environment,
        )
        made = not done.returncode
    finally:
        if not made:
            image.unlink(missing_ok=True)
    if not made:
        raise BuildFailed(f"mksquashfs could not make {image}.", why=_words(done))


def unpack(image: Path, directory: Path) -> None:
    """Unpack an image into a directory that is not there yet.

    Raises:
        BuildFailed: If it can't be unpacked.
        MissingPart: If squashfs-tools are not installed.
    """
    options = ("-quiet", "-no-progress", "-no-xattrs", "-dest", str(directory))
    done = subprocess.run([_program("unsquashfs"), *options, str(image)], capture_output=True, check=False)
    if done.returncode:
        raise BuildFailed(f"{image} could not be unpacked.", why=_words(done))


def read(image: Path, *paths: str, most: int = LARGEST) -> bytes:
    """Return the content of a file of an image, or of several, one after the other.

    Args:
        image: The squashfs file.
        paths: Paths below its top, some 500 kB of them.
        most: How many bytes that may be, whatever sizes the image claims.

    Raises:
        FileNotFoundError: If the image has no such file.
        LauncherError: If it is larger, can't be read, or is no squashfs file.
        MissingPart: If squashfs-tools are not installed.
    """
    _check(image)
    done = _unsquashfs(most, "-no-wildcards", "-cat", image.absolute(), *paths)
    if len(done.stdout) > most:
        raise LauncherError(
            f"{', '.join(paths)[:200]!r} of the image {str(image)!r} is larger than {most:,} bytes."
        )
    # 1 stands for a file system that is damaged.
    if done.returncode == 2 and b"cat: " in done.stderr:
        raise FileNotFoundError(f"{', '.join(paths)[:200]!r} is no file of the image {str(image)!r}")
    return _read(done, image)


def entries(image: Path) -> Iterator[Entry]:
    """Yield everything that an image holds, directories before what is in them.

    Raises:
        LauncherError: If it can't be read, is no squashfs file, or holds too much.
        MissingPart: If squashfs-tools are not installed.
    """
    _check(image)
    # Names may hold anything, even lines that look like another entry: those can't hold a word made up now.
    top = secrets.token_hex(16)
    done = _unsquashfs(_LONGEST_LIST, "-lln", "-d", top, image.absolute())
    if len(done.stdout) > _LONGEST_LIST:
        raise LauncherError(f"The image {str(image)!r} holds too many files to be listed.")
    listed = os.fsdecode(_read(done, image))
    begin = re.compile(
        r"^([-dlcbps])([-rwxsStT]{9}) \d+/\d+ +(\d+|\d+, *\d+) \d{4}-\d\d-\d\d \d\d:\d\d " + top, re.MULTILINE
    )
    heads = list(begin.finditer(listed))
    ends = [each.start() for each in heads[1:]] + [len(listed)]
    for each, end in zip(heads, ends, strict=True):
        path, target = listed[each.end() : end].removesuffix("\n").lstrip("/"), ""
        kind = _KINDS[each[1]]
        size = 0 if kind == "device" else int(each[3])
        if kind == "link":
            # A name, too, may hold an arrow.
            raw = os.fsencode(path)
            path, target = os.fsdecode(raw[: -size - len(b" -> ")]), os.fsdecode(raw[-size:])
        yield Entry(path or ".", kind, size, _mode(each[2]), target)


def _mode(letters: str) -> int:
    """Return the bits that `rwxr-sr-x` stands for."""
    bits = 0
    for letter in letters:
        bits = bits << 1 | (letter in "rwxst")
    for end, those, bit in _SPECIAL:
        bits |= bit if letters[end - 1] in those else 0
    return bits


def _check(image: Path) -> None:
    """Make sure that a file can be read: unsquashfs would only say that it is no squashfs file."""
    magic = b""
    try:
        # Who opens a FIFO may wait for ever.
        if stat.S_ISREG(image.stat().st_mode):
            with image.open("rb") as file:
                magic = file.read(4)
        elif image.is_dir():
            raise LauncherError(f"{str(image)!r} is no squashfs file.", why="It is a directory.")
        else:
            raise LauncherError(f"{str(image)!r} is no squashfs file.", why="It is no regular file.")
    except OSError as error:
        raise LauncherError(f"Can't read the image {str(image)!r}.", why=f"{error.strerror}.") from None
    if magic != b"hsqs":
        raise LauncherError(f"{str(image)!r} is no squashfs file.", why="It does not begin as one.")


def _unsquashfs(most: int, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run unsquashfs; once it has printed more bytes than are wanted, it is ended."""
    argv = [_program("unsquashfs"), *arguments]
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said) as process:
            output = process.stdout.read(most + 1) if process.stdout else b""
            if len(output) > most:
                process.kill()
        said.seek(max(said.seek(0, os.SEEK_END) - _SAID, 0))
        return subprocess.CompletedProcess(argv, process.returncode, output, said.read())


def _read(done: subprocess.CompletedProcess[bytes], image: Path) -> bytes:
    if done.returncode:
        raise LauncherError(
            f"The image {str(image)!r} can't be read: it is damaged, or incomplete.",
            why=_words(done),
            todo="Copy it again, or compare its SHA-256 with that of its maker.",
        )
    return done.stdout


def _words(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the last lines of what a program said, which may quote names of files."""
    lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    return "\n".join(line if line.isprintable() else ascii(line)[1:-1] for line in lines[-4:])


def _program(name: str) -> str:
    path = found(name)
    if not path:
        raise MissingPart(
            f"{name} is not installed.",
            todo="As root: apt-get install squashfs-tools, or: dnf install squashfs-tools.",
        )
    return path
