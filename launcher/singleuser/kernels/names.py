"""Names of kernels: those that Jupyter and notebooks use, the same in each session."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

MAIN = "python3"
"""What notebooks from elsewhere call their kernel, and what JupyterLab starts where nothing is said."""

_LONGEST = 100


def slug(text: str) -> str:
    """Return a text as a name that Jupyter allows, and that no directory is hidden by."""
    plain = re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-.")
    return plain if plain and len(plain) <= _LONGEST else f"{plain[:_LONGEST]}-{_digest(text)}".lstrip("-")


def names(texts: Iterable[str], taken: Iterable[str] = (MAIN,)) -> list[str]:
    """Return different names for kernels.

    Args:
        texts: What their names are made of. Where two would get the same name, neither does: which of them
            is there first may differ from session to session.
        taken: Names that others have.
    """
    texts = list(texts)
    slugs = [slug(text) for text in texts]
    times = Counter(slugs)
    used = set(taken)
    found = []
    for text, plain in zip(texts, slugs, strict=True):
        name = base = plain if times[plain] == 1 and plain not in used else f"{plain}-{_digest(text)}"
        number = 1
        while name in used:
            number += 1
            name = f"{base}-{number}"
        used.add(name)
        found.append(name)
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:6]
