"""VS Code for an image: a release of code-server, whose files `code-server.yaml` pins by their SHA-256.

Releases: https://github.com/coder/code-server/releases.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, BinaryIO

from pydantic import Field, StringConstraints

from launcher.builder.cache import made
from launcher.builder.digest import sha256_of
from launcher.builder.elf import facts
from launcher.builder.target import ARCHITECTURES, OTHER_NAMES
from launcher.errors import BuildFailed, UsageError
from launcher.yaml_file import Part, Place, Source, Words, checked, shown

RELEASES = "https://github.com/coder/code-server/releases"
"""Where its files are."""

_VERSION = r"[0-9]+\.[0-9]+\.[0-9]+"
_ARCHIVE = re.compile(rf"code-server-(?P<version>{_VERSION})-linux-(?P<arch>amd64|arm64)\.tar\.gz")
_ALLOWED = {rf"^{_VERSION}$": "a version such as 4.139.1", r"^[0-9a-f]{64}$": "64 hexadecimal digits"}
_SPECIAL_BITS = 0o7000
_UNUSED = re.compile(r".*/test/fixtures/.*|.*\.test\.ts|.*/(prebuilds|bin)/(darwin|freebsd|win32)-.*")
"""What no one runs of what a release holds: tests, some with private keys, and programs for other systems."""


class CodeServerPin(Part):
    """What `code-server.yaml` says."""

    version: Annotated[str, StringConstraints(pattern=rf"^{_VERSION}$")]
    """The release."""
    sha256: dict[str, Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]] = Field(min_length=1)
    """Processors, as `uname -m` names them → SHA-256 of the release's file for them."""

    @classmethod
    def load(cls, path: Path) -> CodeServerPin:
        """Read a `code-server.yaml`.

        Raises:
            InvalidFile: With every problem in it.
        """
        return checked(Source(path), cls, Words(cls, _ALLOWED))

    def relations(self) -> Iterator[tuple[Place, str]]:
        """Check the names of processors."""
        for arch in self.sha256:
            if arch not in ARCHITECTURES:
                yield ("sha256", arch), f"is not one of {', '.join(ARCHITECTURES)}"

    def archive(self, arch: str) -> str:
        """Return the name of the release's file for a processor."""
        return f"code-server-{self.version}-linux-{OTHER_NAMES[arch]}.tar.gz"


def unpack(pin_file: Path, archive: Path, arch: str, target: Path) -> None:
    """Unpack a release, without the directory that it stands in.

    Args:
        pin_file: The `code-server.yaml`.
        archive: The release's file.
        arch: The processors of the image, as `uname -m` names them.
        target: The new directory for it; it appears only as a whole.

    Raises:
        InvalidFile: If the pins have mistakes.
        BuildFailed: If it is not the file that is pinned, or holds something that does not belong in one.
    """
    pin = CodeServerPin.load(pin_file)
    wanted = pin.sha256.get(arch)
    if wanted is None:
        raise BuildFailed(
            f"{pin_file} pins no code-server for {arch}.",
            todo=f"Pin {pin.archive(arch)}: launcher lock --code-server FILE",
        )
    try:
        # What is checked is what is unpacked, whatever the name stands for by then.
        with archive.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != wanted:
                raise BuildFailed(
                    f"{archive} is not the code-server that {pin_file} pins.",
                    why=f"Its SHA-256 is not {wanted}.",
                    todo=f"Take {pin.archive(arch)} from {RELEASES}/tag/v{pin.version}",
                )
            file.seek(0)
            _unpack(file, arch, target)
    except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError) as error:
        raise BuildFailed(f"{archive} can't be unpacked.", why=f"{error}.") from None


def pinned(pin_file: Path, archives: Sequence[Path]) -> str:
    """Return the text of a `code-server.yaml` that pins the files of a release.

    Args:
        pin_file: The file as it is, whose comments stay.
        archives: The release's files, named as there, one for each processor that is pinned; of the release
            that is pinned already, some are enough.

    Raises:
        InvalidFile: If the pins have mistakes.
        UsageError: If the files are not those of one release, or some are missing.
    """
    pin = CodeServerPin.load(pin_file)
    found = [(path, _ARCHIVE.fullmatch(path.name)) for path in archives]
    for path, match in found:
        if not match:
            raise UsageError(
                f"{path.name} is not named as a file of a release of code-server.",
                todo=f"Keep the name that it has at {RELEASES}: {pin.archive(ARCHITECTURES[0])}",
            )
    versions = {match["version"] for _, match in found if match}
    if len(versions) != 1:
        raise UsageError("These are files of several releases.", todo="Give those of one.")
    version = versions.pop()
    given = {
        arch: path
        for path, match in found
        for arch in ARCHITECTURES
        if match and match["arch"] == OTHER_NAMES[arch]
    }
    missing = [arch for arch in pin.sha256 if arch not in given]
    if version != pin.version and missing:
        names = " and ".join(pin.model_copy(update={"version": version}).archive(arch) for arch in missing)
        raise UsageError(f"{names} of the same release is missing.", why="All are pinned together.")
    sums = {**pin.sha256, **{arch: sha256_of(path) for arch, path in given.items()}}
    comments = [line for line in pin_file.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    lines = [
        *comments,
        f"version: {version}",
        "sha256:",
        *(f"  {arch}: {each}" for arch, each in sums.items()),
    ]
    return "\n".join(lines) + "\n"


def _unpack(file: BinaryIO, arch: str, target: Path) -> None:
    with made(target) as aside:
        aside.mkdir()
        aside.chmod(0o755)
        links = []
        with tarfile.open(fileobj=file, mode="r:gz") as tar:
            for member, path in _plain(tar, aside):
                path.parent.mkdir(parents=True, exist_ok=True)
                if member.isdir():
                    path.mkdir(exist_ok=True)
                    path.chmod(0o755)
                elif member.issym():
                    links.append((member, path))
                elif member.islnk():
                    path.hardlink_to(aside.joinpath(*_parts(member.linkname)[1:]))
                else:
                    _write(tar, member, path)
                    if (program := facts(path)) and program.machine != arch:
                        # Packages bring theirs for many processors.
                        path.unlink()
        # They come last: nothing was written through one, and it is seen where each leads at the end.
        for member, path in links:
            path.symlink_to(member.linkname)
        top = aside.resolve()
        for member, path in links:
            if member.linkname.startswith("/") or not _end(path).is_relative_to(top):
                raise _refused(member, "is a link that leaves the directory")


def _plain(tar: tarfile.TarFile, aside: Path) -> Iterator[tuple[tarfile.TarInfo, Path]]:
    """Yield what a release holds, and where each goes, without the directory around it all.

    Raises:
        BuildFailed: For what no release holds.
    """
    top = ""
    for member in tar:
        first, *rest = _parts(member.name)
        top = top or first
        if first != top:
            raise _refused(member, f"lies beside {shown(top)}")
        if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
            raise _refused(member, "is neither a file, a directory nor a link")
        if member.mode & _SPECIAL_BITS:
            raise _refused(member, "is setuid, setgid or sticky")
        if member.islnk() and (_parts(member.linkname)[0] != top or len(_parts(member.linkname)) == 1):
            raise _refused(member, "is a link that leaves the directory")
        if rest and not _UNUSED.fullmatch(member.name):
            yield member, aside.joinpath(*rest)
        elif not rest and not member.isdir():
            raise _refused(member, "should be a directory")


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    """Write a file that is not there yet; its mode does not depend on who packed or unpacks it."""
    content = tar.extractfile(member)
    assert content
    with content, path.open("xb") as out:
        shutil.copyfileobj(content, out)
    path.chmod(0o755 if member.mode & 0o100 else 0o644)


def _end(link: Path) -> Path:
    """Return where a link leads; a circle leads nowhere but to itself."""
    return Path(os.path.realpath(link))


def _parts(name: str) -> tuple[str, ...]:
    """Return the steps of a path in an archive, which must go down only."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or not name.isprintable():
        raise BuildFailed(f"The archive holds {shown(name)}, which leaves its directory.")
    return parts


def _refused(member: tarfile.TarInfo, what: str) -> BuildFailed:
    return BuildFailed(f"The archive holds {shown(member.name)}, which {what}.")
