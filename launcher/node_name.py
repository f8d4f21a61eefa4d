"""Names of compute nodes: which of them the patterns of a cluster file allow.

Hub and node look with the same eyes; the node to choose among its names, the hub because a node could say
anything. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

# RFC 1123 in lower case, without the labels that RFC 5891 keeps for encoded international names.
_LABEL = r"(?!..--)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_MAX_LENGTH = 253
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether a text is, as a whole, a host name in lower case that one of the patterns allows.

    Args:
        name: What a node says that it is called.
        patterns: Host names in which `*` stands for letters, digits and `-`, never for a dot.
    """
    labels = name.split(".")
    # Resolvers take what ends in a number for an address: 2130706433 is 127.0.0.1.
    if len(name) > _MAX_LENGTH or not _HOST_NAME.fullmatch(name) or _NUMBER.fullmatch(labels[-1]):
        return False
    return any(
        len(allowed) == len(labels) and all(map(fnmatchcase, labels, allowed))
        for allowed in (pattern.split(".") for pattern in patterns)
    )
