"""What an image says of itself: `meta/env.json` and more, which may be anybody's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from launcher.builder import squashfs
from launcher.builder.target import ARCHITECTURES
from launcher.errors import LauncherError, MissingPart

PATH = "meta/env.json"
"""Where it stands: https://github.com/eth-cscs/uenv (`src/uenv/meta.cpp`)."""
INPUTS = "meta/provenance.json"
"""Where images that this project has built name what they were built from, and for."""
LARGEST = 1_000_000
"""Bytes of each that are read."""


def read(image: Path) -> dict[str, Any]:
    """Return what an image says of itself; it may say nothing.

    Raises:
        LauncherError: If it can't be understood or is too large, or the image can't be read.
        MissingPart: If squashfs-tools are not installed.
    """
    try:
        told = json.loads(squashfs.read(image, PATH, most=LARGEST))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise LauncherError(f"The {PATH} of {str(image)!r} can't be read.", why=f"{error}.") from None
    if not isinstance(told, dict):
        raise LauncherError(f"The {PATH} of {str(image)!r} can't be read.", why="It is no JSON object.")
    return told


def arch(image: Path) -> str:
    """Return the processors that an image says it was built for; empty if it does not say.

    Raises:
        MissingPart: If squashfs-tools are not installed.
    """
    try:
        told = json.loads(squashfs.read(image, INPUTS, most=LARGEST))["externalParameters"]["arch"]
    except MissingPart:
        raise
    except (LauncherError, FileNotFoundError, ValueError, TypeError, LookupError, RecursionError):
        return ""
    return told if told in ARCHITECTURES else ""
