"""The sandbox's state directory: everything that a run writes lies in it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from launcher.errors import UsageError
from launcher.sandbox.processes import start_time

_PREFIX = "launcher-demo-"
_OWNER = "owner"
# Batch scripts name paths below it.
_PATH = re.compile(r"(/[A-Za-z0-9_.-]+)+")


@contextlib.contextmanager
def state_directory(chosen: Path | None) -> Iterator[Path]:
    """Make the state directory of a run; a temporary one is removed at the end.

    Args:
        chosen: An empty or new directory, which is kept; None for a temporary one.

    Raises:
        UsageError: If the chosen one is not empty, or can't be made.
    """
    if chosen:
        chosen = chosen.absolute()
        if not _PATH.fullmatch(str(chosen)):
            raise UsageError(
                f"{chosen} can't be used.",
                todo="Name one of letters, digits and the signs . _ - only.",
            )
        try:
            chosen.mkdir(parents=True, exist_ok=True)
            empty = not any(chosen.iterdir())
            if empty:
                chosen.chmod(0o711)
        except OSError as error:
            raise UsageError(f"{chosen} can't be used: {error.strerror}.") from None
        if not empty:
            raise UsageError(f"{chosen} is not empty.", todo="Name a new directory for the demo's files.")
        yield chosen.resolve()
        return
    _remove_left_over()
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_base()))
    (directory / _OWNER).write_text(f"{os.getpid()} {start_time(os.getpid())}\n")
    # Jobs run as other accounts; what is not theirs lies in directories of its own, closed to them.
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _base() -> Path:
    """Return where temporary directories go: on a disk, and open to all accounts."""
    disk = Path("/var/tmp")  # noqa: S108 - mkdtemp makes the directory
    return disk if os.access(disk, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def _remove_left_over() -> None:
    """Remove the directories of runs of this user that were killed."""
    for directory in _base().glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, ValueError):
            if directory.is_symlink() or directory.stat().st_uid != os.geteuid():
                continue
            pid, started = (directory / _OWNER).read_text().split()
            if start_time(int(pid)) != started:
                shutil.rmtree(directory, ignore_errors=True)
