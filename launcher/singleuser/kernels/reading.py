"""Reading files that anybody may have put there: nothing in them makes a reader wait, or fill the memory."""

from __future__ import annotations

import os
import stat


def read(path: str, most: int) -> bytes:
    """Return how a regular file begins.

    Args:
        path: Where it is.
        most: How many bytes to read.

    Raises:
        OSError: If it can't be read, or is not a regular file.
    """
    # Opening a pipe that nobody writes to would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file.")
        return file.read(most)
