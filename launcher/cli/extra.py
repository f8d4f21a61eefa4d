"""What a command needs besides the base install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from launcher.errors import MissingPart


@contextmanager
def reads_cluster_files() -> Iterator[None]:
    """Name the extra to install if an import fails that reading cluster files needs.

    Raises:
        MissingPart: If it does.
    """
    try:
        yield
    except ImportError as error:
        raise MissingPart(
            "What reads cluster files is not installed.",
            why=f"{error}.",
            todo="Install it: pip install 'firecrest-launcher[hub]'",
        ) from None


@contextmanager
def builds_images() -> Iterator[None]:
    """Name the extra to install if an import fails that building and inspecting images needs.

    Raises:
        MissingPart: If it does.
    """
    try:
        yield
    except ImportError as error:
        raise MissingPart(
            "What builds images is not installed.",
            why=f"{error}.",
            todo="Install it: pip install 'firecrest-launcher[build]'",
        ) from None
