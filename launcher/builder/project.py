"""This project as a wheel, the same bytes wherever it is made: from a checkout, or from an installation."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import subprocess
import sys
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path, PurePosixPath

import launcher
from launcher.builder.cache import made
from launcher.builder.lock.wanted import PROJECT, own_checkout
from launcher.errors import BuildFailed, MissingPart

_OF_AN_INSTALLATION = {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_cache.json"}
"""What an installer adds to a distribution's metadata."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip file knows."""


def project_wheel(directory: Path) -> Path:
    """Make a wheel of this project.

    Args:
        directory: Where it goes.

    Returns:
        The wheel.

    Raises:
        BuildFailed: If it can't be built.
        MissingPart: If what builds it from a checkout is not installed.
    """
    checkout = own_checkout()
    files = _built(checkout, directory) if checkout else _installed()
    name = f"{PROJECT.replace('-', '_')}-{launcher.__version__}"
    wheel = directory / f"{name}-py3-none-any.whl"
    with made(wheel) as aside:
        _pack(aside, files, f"{name}.dist-info/RECORD")
    return wheel


def _built(checkout: Path, directory: Path) -> dict[str, bytes]:
    """Have the checkout's own build backend make it."""
    if not (checkout / "launcher/singleuser/labextensions").is_dir():
        raise BuildFailed(
            "The session panel is not built, so there is no wheel of this project.",
            todo=f"Run `make setup` in {checkout}.",
        )
    try:
        metadata.version("hatchling")
    except metadata.PackageNotFoundError:
        raise MissingPart(
            "What builds a wheel of this checkout is not installed: hatchling.",
            todo="Install it: pip install 'firecrest-launcher[build]'",
        ) from None
    with tempfile.TemporaryDirectory(dir=directory) as aside:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", aside]
        done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildFailed("No wheel of this project could be built.", why=_last_words(done.stderr))
        (wheel,) = Path(aside).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return {name: archive.read(name) for name in archive.namelist()}


def _last_words(said: str) -> str:
    """Return what stands below the frames of a traceback."""
    return re.split(r"(?m)^ .*\n", said.strip())[-1][:1000]


def _installed() -> dict[str, bytes]:
    """Collect what an installer unpacked."""
    files = {}
    for entry in metadata.files(PROJECT) or []:
        path = PurePosixPath(entry)
        if path.parts[0] != ".." and path.name not in _OF_AN_INSTALLATION and path.suffix != ".pyc":
            files[str(path)] = Path(str(entry.locate())).read_bytes()
    if not files:
        raise BuildFailed(
            "There is no list of this project's files, so there is no wheel of it.",
            todo="Install it with pip: pip install 'firecrest-launcher[build]'",
        )
    return files


def _pack(wheel: Path, files: dict[str, bytes], record: str) -> None:
    """Write a wheel: https://packaging.python.org/en/latest/specifications/binary-distribution-format/."""
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(set(files) - {record}):
            digest = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).rstrip(b"=").decode()
            writer.writerow((name, f"sha256={digest}", len(files[name])))
            archive.writestr(_entry(name, files[name]), files[name])
        writer.writerow((record, "", ""))
        archive.writestr(_entry(record, b""), rows.getvalue())


def _entry(name: str, content: bytes) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    # Not all builds of zlib compress to the same bytes.
    entry.compress_type = zipfile.ZIP_STORED
    # An installer makes a program of what is one here; terminals have `launcher` from such a file.
    entry.external_attr = (0o100755 if content.startswith(b"#!") else 0o100644) << 16
    return entry
