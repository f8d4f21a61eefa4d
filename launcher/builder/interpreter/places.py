"""Where the files of a Python go: what is run into `tree/`, shared libraries aside into `libraries/`."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from launcher.builder.interpreter.members import Place

_LEFT_OUT = (
    # Tests, and what shows, teaches or converts.
    "test",
    "*/test",
    "*/tests",
    "idlelib",
    "turtledemo",
    "turtle.py",
    "lib2to3",
    "lib-dynload/_test*",
    "lib-dynload/_ctypes_test.*",
    "lib-dynload/_xxtestfuzz.*",
    "lib-dynload/xxlimited*",
    # There is no display; and a virtual environment is made by the Python that is to run in it.
    "tkinter",
    "lib-dynload/_tkinter.*",
    "ensurepip",
    # Nothing is compiled against it.
    "config-*",
    # Databases, directories and sound of old, which would need libraries of their own.
    "lib-dynload/_dbm.*",
    "lib-dynload/_gdbm.*",
    "lib-dynload/nis.*",
    "lib-dynload/ossaudiodev.*",
    # The machine's business, not the image's.
    "EXTERNALLY-MANAGED",
    "sitecustomize.py",
    "site-packages",
    "dist-packages",
    # Made anew, for the paths of the image.
    "__pycache__",
    "*/__pycache__",
)
"""What of the standard library nobody runs."""

_OF_DEBIAN = re.compile(r"(?:usr/)?lib/[^/]+-linux-gnu/(lib[^/]+\.so[^/]*)")
_OF_STANDALONE = re.compile(r"lib/(lib[^/]+\.so[^/]*)")


def in_debian(minor: str) -> Place:
    """Return where the files of Debian's packages go.

    Args:
        minor: The version of Python: `3.11`.
    """

    def place(name: str) -> str | None:
        # The licences are to go wherever the libraries go.
        if re.fullmatch(r"usr/share/doc/[^/]+/copyright", name):
            return f"tree/{name.removeprefix('usr/')}"
        if found := _OF_DEBIAN.fullmatch(name):
            return f"libraries/{found[1]}"
        return _of_python(name.removeprefix("usr/"), minor) if name.startswith("usr/") else None

    return place


def in_standalone(minor: str) -> Place:
    """Return where the files of a standalone build go: of its archive, or of a directory.

    Args:
        minor: The version of Python: `3.11`.
    """

    def place(name: str) -> str | None:
        inner = name.removeprefix("python/")
        if found := _OF_STANDALONE.fullmatch(inner):
            return f"libraries/{found[1]}"
        return _of_python(inner, minor)

    return place


def version_in_standalone(name: str) -> str | None:
    """Return where the file of a standalone build goes that tells its version."""
    found = re.fullmatch(r"(?:python/)?include/python3\.[0-9]+/patchlevel\.h", name)
    return "patchlevel.h" if found else None


def _of_python(name: str, minor: str) -> str | None:
    if name == f"bin/python{minor}":
        return f"tree/{name}"
    inner = name.removeprefix(f"lib/python{minor}/")
    if inner == name:
        return None
    steps = inner.split("/")
    heads = ["/".join(steps[:count]) for count in range(1, len(steps) + 1)]
    left_out = any(fnmatchcase(head, each) for head in heads for each in _LEFT_OUT)
    return None if left_out else f"tree/{name}"
