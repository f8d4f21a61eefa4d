"""What an image is built for."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from launcher.errors import UsageError

ARCHITECTURES = ("x86_64", "aarch64")
"""The processors that images are built for, as `uname -m` names them."""
OTHER_NAMES: Mapping[str, str] = MappingProxyType({"x86_64": "amd64", "aarch64": "arm64"})
"""What Debian, releases of code-server, and images of containers call them."""


class Target(NamedTuple):
    """The machines that an image is for.

    Attributes:
        arch: Their processors, one of `ARCHITECTURES`.
        glibc: Their C library, `(2, 31)`: nothing in the image needs a newer one.
        python: The image's Python, `(3, 11)`.
    """

    arch: str
    glibc: tuple[int, int]
    python: tuple[int, int]

    @classmethod
    def of(cls, arch: str, glibc: tuple[int, int], python_full: str) -> Target:
        """Return one whose Python is given by its full version: `3.11.2`."""
        major, minor, _ = map(int, python_full.split("."))
        return cls(arch, glibc, (major, minor))

    @property
    def foreign(self) -> bool:
        """Whether this machine can't run it by itself."""
        return self.arch != os.uname().machine


def dotted(version: tuple[int, int]) -> str:
    """Return a version as it is written: `2.31`."""
    return "{}.{}".format(*version)


def glibc_version(text: str) -> tuple[int, int]:
    """Read the version of a C library, such as `2.31`.

    Raises:
        UsageError: If it is none.
    """
    found = re.fullmatch(r"2\.(\d{1,3})", text)
    if not found:
        raise UsageError(
            f"{text!r} is not a version of glibc.", todo="Give it as 2.31: `ldd --version` tells it."
        )
    return 2, int(found[1])


def own_glibc() -> tuple[int, int]:
    """Return the version of this machine's C library.

    Raises:
        UsageError: If it is not glibc.
    """
    name, version = platform.libc_ver()
    if name != "glibc":
        raise UsageError("This machine has no glibc.", todo="Name that of the cluster: --glibc 2.31")
    return glibc_version(".".join(version.split(".")[:2]))


def own_arch() -> str:
    """Return this machine's processors.

    Raises:
        UsageError: If no images are built for those.
    """
    arch = os.uname().machine
    if arch not in ARCHITECTURES:
        raise UsageError(
            f"Images are not built for {arch}.", todo="Name processors: --arch x86_64 or aarch64"
        )
    return arch
