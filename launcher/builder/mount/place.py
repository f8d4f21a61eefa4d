"""Where an image may be mounted."""

from __future__ import annotations

import posixpath
import re

_PATH = re.compile(r"/[A-Za-z0-9_.-][A-Za-z0-9_./-]*")
_OF_THE_SYSTEM = re.compile(
    r"/(?:(?:usr|etc|dev|proc|sys|run|bin|sbin|boot|lib(?:32|64|x32)?)(?:/.*)?|tmp|root|home|var)?"
)


def of_the_system(mount: str) -> bool:
    """Tell whether an image would hide what every program needs, or what a machine mounts itself.

    Args:
        mount: An absolute path, without empty steps and `..`.
    """
    return bool(_OF_THE_SYSTEM.fullmatch(mount))


def placed(mount: object) -> str:
    """Return where an image is to be mounted, without empty steps.

    Args:
        mount: What somebody says, who may be anybody.

    Raises:
        ValueError: If nothing can be mounted there; the text says why.
    """
    if not isinstance(mount, str) or not _PATH.fullmatch(mount):
        raise ValueError("A mount point is an absolute path of letters, digits, '_', '.', '/' and '-'.")
    if ".." in mount.split("/"):
        raise ValueError("A mount point has no step up.")
    place = posixpath.normpath(mount)
    if of_the_system(place):
        raise ValueError("That place is the system's; take one of its own, such as /user-tools.")
    return place
