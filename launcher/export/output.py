"""Where an export goes."""

from __future__ import annotations

import os
from pathlib import Path

from launcher.errors import UsageError


def write(path: Path, text: str, *, replace: bool) -> None:
    """Write a file as a whole: who reads it meanwhile sees what it was, or all that it will be.

    Args:
        path: The file.
        text: What it shall hold.
        replace: Whether a file that is there may be replaced.

    Raises:
        UsageError: If there is one that may not be, or the file can't be written.
    """
    if path.exists() and not replace:
        raise UsageError(f"{path} is there already.", todo="To replace it, add --force.")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no file.", todo="Without -o the result is printed.")
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            aside.write_text(text, encoding="utf-8", newline="\n")
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{path} can't be written.", why=f"{error.strerror}.") from None
