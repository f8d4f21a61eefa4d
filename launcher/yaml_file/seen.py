"""What the files were that something was made of."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import stat
from pathlib import Path


class Seen:
    """The files that were read or looked for, each as it was then.

    What they hold counts, not their times and sizes: a coarse clock can't hide an edit, nor can a network
    file system that remembers a file's attributes but asks again when it is opened.
    """

    def __init__(self) -> None:
        self._found: dict[Path, str] = {}

    def read(self, path: Path) -> bytes:
        """Return what a file holds, and note it, or note that it can't be read.

        Raises:
            OSError: If it can't be read; IsADirectoryError for all that is there but is no file.
        """
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise IsADirectoryError(errno.EISDIR, "is not a file")
            content = path.read_bytes()
        except OSError as error:
            self._found[path] = f"!{error.errno}"
            raise
        self._found[path] = hashlib.sha256(content).hexdigest()
        return content

    @property
    def files(self) -> dict[Path, str]:
        """The files that could be read, each with the SHA-256 of what it held, in the order of reading."""
        return {path: found for path, found in list(self._found.items()) if not found.startswith("!")}

    @property
    def digest(self) -> str:
        """SHA-256 of what all of them held together, in hexadecimal digits."""
        return hashlib.sha256(" ".join(self.files.values()).encode()).hexdigest()

    def changed(self) -> bool:
        """Look again: tell whether one of them is no longer what it was."""
        now = Seen()
        for path, found in list(self._found.items()):
            with contextlib.suppress(OSError):
                now.read(path)
            if now._found[path] != found:
                return True
        return False
