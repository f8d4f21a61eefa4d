"""Where the user's programs must be able to write: the home, and the directory for temporary files."""

from __future__ import annotations

import errno
import os
import stat
import sys

from launcher.errors import PreflightFailed
from launcher.singleuser.file_system import FileSystem, why, write_somewhere

TEMPORARY = "/tmp"  # noqa: S108 - where programs go that are told no other

_CACHES = (
    ".cache .local/share/Trash .conda/pkgs miniconda3/pkgs miniforge3/pkgs .npm .apptainer/cache "
    ".singularity/cache .julia/compiled .nv/ComputeCache .vscode-server"
).split()
"""What is usually big in a home, and made again by those who need it."""

_FULL = (errno.ENOSPC, errno.EDQUOT)

_ANOTHER_NODE = "Press Start again to get another node; if it stays so, tell the site's support."


def check_home(home: str) -> None:
    """Make sure that the home is there and takes what is written.

    Args:
        home: Its path, or empty where it is not known.

    Raises:
        PreflightFailed: If it does not.
    """
    if not home:
        raise PreflightFailed("Your home directory is not known: $HOME is not set.", todo=_ANOTHER_NODE)
    try:
        mode = os.stat(home).st_mode
    except OSError as error:
        raise _not_there(home, error) from None
    if not stat.S_ISDIR(mode):
        raise PreflightFailed(
            f"Your home directory {home} is not a directory on this node.", todo=_ANOTHER_NODE
        )
    try:
        write_somewhere(home)
    except OSError as error:
        raise _unwritable(f"your home directory {home}", home, error, _what_to_delete(home)) from None


def check_temporary(directory: str) -> str:
    """Make sure that there is a directory for temporary files; return it.

    Args:
        directory: The one that the job names, or empty. One that takes nothing is no reason to fail: most
            programs then take `/tmp` by themselves.

    Raises:
        PreflightFailed: If nothing can be written to `/tmp` either.
    """
    if directory and directory != TEMPORARY:
        try:
            write_somewhere(directory)
        except OSError as error:
            # In the system's words, "no space left" would pass for the cause of whatever ends the job later.
            problem = "it is full" if error.errno in _FULL else error.strerror or error
            print(
                f"launcher-singleuser: TMPDIR {directory} can't be used on this node ({problem}), "
                f"{TEMPORARY} is used",
                file=sys.stderr,
                flush=True,
            )
        else:
            return directory
    try:
        write_somewhere(TEMPORARY)
    except OSError as error:
        name = f"the directory for temporary files {TEMPORARY}"
        todo = "Press Start again to get another node; if it stays so, delete files of yours there, or tell "
        raise _unwritable(name, TEMPORARY, error, f"{todo}the site's support.") from None
    return TEMPORARY


def _not_there(home: str, error: OSError) -> PreflightFailed:
    if error.errno != errno.ENOENT:
        what = f"Your home directory {home} can't be used on this node."
        return PreflightFailed(what, why=f"{error.strerror or error}.", todo=_ANOTHER_NODE)
    system = FileSystem.of(home)
    return PreflightFailed(
        f"Your home directory {home} does not exist on this node.",
        why=f"It would be on {system}: the file system that has it may not be mounted." if system else "",
        todo=_ANOTHER_NODE,
    )


def _unwritable(name: str, directory: str, error: OSError, todo: str) -> PreflightFailed:
    """Return the error of a directory; `todo` is for one that has no room."""
    what = {
        errno.ENOSPC: f"There is no space left in {name}.",
        errno.EDQUOT: f"Your quota is used up in {name}.",
        errno.EROFS: f"On this node nothing can be written to {name}: it is read-only.",
        errno.EACCES: f"On this node you may not write to {name}.",
        errno.EPERM: f"On this node you may not write to {name}.",
    }.get(error.errno or 0, f"Nothing can be written to {name}.")
    return PreflightFailed(
        what, why=why(error, directory), todo=todo if error.errno in _FULL else _ANOTHER_NODE
    )


def _what_to_delete(home: str) -> str:
    """Name the caches that are there; to look for what is big would be a crawl of a parallel file system."""
    there = [f"~/{each}" for each in _CACHES if os.path.isdir(f"{home}/{each}")]
    first = f", first what is only a cache: {', '.join(there)}" if there else ""
    return f"Delete or move files there{first}. Then press Start again."
