"""Programs of this machine that builds call."""

from __future__ import annotations

import os
import shutil


def found(program: str) -> str | None:
    """Return the path of a program, also of those that are for administrators."""
    return shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
