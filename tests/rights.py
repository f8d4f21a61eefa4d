"""Programs that get some of root's rights: capabilities, as the system stores them with a file."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

_NET_RAW = 13
"""<linux/capability.h>: what `ping` has."""
_VERSION_2, _EFFECTIVE = 0x02000000, 1


def may_have_rights(directory: Path) -> None:
    """Skip the test where no file in a directory can be given any."""
    probe = directory.with_name("rights")
    probe.touch()
    try:
        give_rights(probe)
    except OSError as error:
        pytest.skip(f"Files get rights from root alone, where the file system has room for them: {error}")
    finally:
        probe.unlink()


def give_rights(path: Path, right: int = _NET_RAW) -> None:
    """Do as setcap(8) does."""
    stored = struct.pack("<5I", _VERSION_2 | _EFFECTIVE, 1 << right, 0, 0, 0)
    os.setxattr(path, "security.capability", stored, follow_symlinks=False)
