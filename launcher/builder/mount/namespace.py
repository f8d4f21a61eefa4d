"""Private mount namespaces: what is mounted in one, nobody else sees, and it is gone with the command.

All of it is util-linux and a POSIX shell, which become the command: signals, the terminal and the exit code
are its own.
"""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

from launcher.builder.program import found
from launcher.errors import MissingPart

_SCRIPT = Path(__file__).with_name("namespace.sh")
_PRIVATE = ("--mount", "--propagation", "private")
_OWN_USERS = ("--user", "--map-current-user", "--keep-caps")
_NO_RIGHTS = ("--no-new-privs", "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all")
_CAP_SYS_ADMIN = 21


def bound(directory: Path, mount: str, argv: list[str]) -> list[str]:
    """Return the command that runs another with a directory lying at a mount path, writable.

    Where this machine has no such path, there is one for the command only; the directory above it is then
    read-only.

    Args:
        directory: The directory.
        mount: Absolute path without `..` or `:`.
        argv: The other command.

    Raises:
        MissingPart: If this machine lets its user make no private mount namespace.
    """
    return in_namespace([("bind", str(directory.absolute()), mount)], argv)


def in_namespace(mounts: list[tuple[str, str, str]], argv: list[str]) -> list[str]:
    """Return the command that runs another in a private mount namespace.

    Args:
        mounts: Kind (`loop`, `fuse` or `bind`), source and mount path of each; absolute paths.
        argv: The other command.

    Raises:
        MissingPart: If this machine lets its user make none.
    """
    if problem := namespace_problem():
        raise MissingPart(
            "This machine lets you make no private mount namespace.",
            why=problem,
            todo="Run it as root, in a container with --cap-add SYS_ADMIN and --security-opt "
            "seccomp=unconfined, or let users make namespaces: sysctl user.max_user_namespaces, and "
            "on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0.",
        )
    script = _SCRIPT.read_text()
    told = [part for each in mounts for part in each]
    own = [] if is_admin() else ["setpriv", *_NO_RIGHTS, "--"]
    return [*_unshare(), "sh", "-c", script, "launcher", *told, "--", *own, *argv]


@cache
def namespace_problem() -> str:
    """Return why no private mount namespace can be made, or an empty text."""
    absent = [each for each in ("unshare", "setpriv", "mount") if not found(each)]
    if absent:
        return f"{', '.join(absent)} of util-linux is missing."
    tried = subprocess.run(
        [*_unshare(), "mount", "-n", "-t", "tmpfs", "launcher", "/sys"],
        capture_output=True,
        check=False,
        text=True,
        env=os.environ | {"LC_ALL": "C"},
    )
    return tried.stderr.strip() if tried.returncode else ""


@cache
def is_admin() -> bool:
    """Return whether this process may mount what it likes: root, where no container takes that from it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return os.geteuid() == 0 and bool(int(value, 16) >> _CAP_SYS_ADMIN & 1)
    return False


def _unshare() -> list[str]:
    return ["unshare", *_PRIVATE, *(() if is_admin() else _OWN_USERS), "--"]
