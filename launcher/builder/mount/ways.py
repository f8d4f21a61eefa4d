"""The ways of mounting images for a command, whichever of them the machine has."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import signal
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from launcher.builder.mount.namespace import in_namespace, is_admin, namespace_problem
from launcher.builder.program import found
from launcher.errors import LauncherError, MissingPart, UsageError

WAYS = ("namespace", "squashfs-mount", "uenv", "squashfuse")
"""A private mount namespace with loop devices; two programs of uenv; squashfuse. Tried in this order."""

_NOTHING: Mapping[str, str | None] = MappingProxyType({})

_DROPPED = ("LD_LIBRARY_PATH", "LD_PRELOAD", "LOCPATH", "MALLOC_TRACE", "NLSPATH", "TMPDIR", "TZDIR")
"""What glibc takes from the environment of a setuid program, as squashfs-mount is one: ld.so(8)."""


class Mounted(NamedTuple):
    """An image and its place.

    Attributes:
        image: The squashfs file.
        mount: Where it is mounted: an absolute path without `..` or `:`.
    """

    image: Path
    mount: str


def command(
    images: Sequence[Mounted],
    argv: Sequence[str],
    *,
    user: str | None = None,
    how: str | None = None,
    changes: Mapping[str, str | None] = _NOTHING,
) -> list[str]:
    """Return the command that runs another with images mounted, read-only, for nobody else.

    It becomes the other command: signals, terminal and exit code are its own. 125 is the exit code if
    something can't be mounted.

    Args:
        images: The images.
        argv: The other command.
        user: Name of the account that the other command runs as; only root may name another.
        how: One of `WAYS`; without it, the first that this machine has.
        changes: Variables that the other command has, or None where it has them no more.

    Raises:
        UsageError: If there is no such account, or only root could become it.
        MissingPart: If this machine can't mount the images, or not in that way.
        LauncherError: If an image can't be read.
    """
    for each in images:
        _check_readable(each.image)
    way = _way([each.mount for each in images], how)
    changed = dict(changes)
    if way == "squashfs-mount":
        changed = {**{name: os.environ[name] for name in _DROPPED if name in os.environ}, **changed}
    became: list[str] = []
    if user is not None:
        became, own = _as_user(user)
        changed = own | changed
    unset = [part for name, value in changed.items() if value is None for part in ("-u", name)]
    values = [f"{name}={value}" for name, value in changed.items() if value is not None]
    # Only the command itself gets these: what mounts the next image must not find a library in the one
    # before.
    full = [*became, *(["env", *unset, "--", *values] if changed else []), *argv]
    pairs = ",".join(f"{each.image.absolute()}:{each.mount}" for each in images)
    if way == "squashfs-mount":
        return [way, f"--sqfs={pairs}", "--", *full]
    if way == "uenv":
        return [way, "run", *_without_views(), pairs, "--", *full]
    kind = "loop" if way == "namespace" else "fuse"
    return in_namespace([(kind, str(each.image.absolute()), each.mount) for each in images], full)


def run(
    images: Sequence[Mounted],
    argv: Sequence[str],
    *,
    user: str | None = None,
    how: str | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command with images mounted, and wait for it; its output is returned.

    Args:
        images: The images.
        argv: The command.
        user: As of `command`.
        how: As of `command`.
        environment: The variables that it has; without it, those of this process. `PATH` must lead to
            util-linux.
        timeout: Seconds that it may take; then it is killed with all that it has started.

    Raises:
        subprocess.TimeoutExpired: If it took longer.
        LauncherError: As of `command`.
    """
    started = subprocess.Popen(
        command(images, argv, user=user, how=how),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        output, errors = started.communicate(timeout=timeout)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.communicate()
        raise
    return subprocess.CompletedProcess(argv, started.returncode, output, errors)


def _way(mounts: list[str], how: str | None) -> str:
    problems = {way: _problem(way, mounts) for way in ([how] if how else WAYS)}
    for way, problem in problems.items():
        if not problem:
            return way
    why = "\n".join(f"{way}: {problem}" for way, problem in problems.items())
    if how:
        raise MissingPart(f"This machine can't mount images with {how}.", why=why)
    raise MissingPart(
        "This machine can't mount images for you.",
        why=why,
        todo="Run it as root, or install squashfuse (apt-get install squashfuse, or dnf install squashfuse), "
        "or uenv (https://github.com/eth-cscs/uenv).",
    )


def _problem(way: str, mounts: list[str]) -> str:
    """Return why images can't be mounted in some way, or an empty text."""
    if way == "namespace":
        if os.geteuid():
            return "only root can do that."
        if not is_admin():
            return "this container has no CAP_SYS_ADMIN."
        if not Path("/dev/loop-control").exists():
            return "there are no loop devices: /dev/loop-control is missing."
        return namespace_problem()
    if way == "squashfuse":
        if not (found("squashfuse_ll") or found("squashfuse")):
            return "it is not installed."
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            return "/dev/fuse is missing, or not open to you."
        return namespace_problem()
    if not found(way):
        return "it is not installed."
    absent = [mount for mount in mounts if not Path(mount).is_dir()]
    return f"this machine has no directory {', '.join(absent)}." if absent else ""


def _as_user(name: str) -> tuple[list[str], dict[str, str | None]]:
    """Return what a command begins with to run as an account, and the variables that change with it."""
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise UsageError(f"This machine has no account {name!r}.") from None
    if account.pw_uid == os.geteuid():
        return [], {}
    if os.geteuid():
        raise UsageError(f"Only root can run a command as {name}.")
    groups = ("--regid", str(account.pw_gid), "--init-groups")
    became = ["setpriv", "--reuid", str(account.pw_uid), *groups, "--no-new-privs", "--inh-caps=-all", "--"]
    own = {"HOME": account.pw_dir, "USER": name, "LOGNAME": name, "SHELL": account.pw_shell}
    return became, {**own, "XDG_RUNTIME_DIR": None}


def _without_views() -> list[str]:
    """Return what makes `uenv run` load no view: from version 10 on it loads default ones."""
    told = subprocess.run(["uenv", "--version"], capture_output=True, check=False, text=True).stdout
    version = re.search(r"\d+", told)
    return ["--no-default-view"] if version and int(version[0]) >= 10 else []


def _check_readable(image: Path) -> None:
    try:
        # Who opens a FIFO may wait for ever.
        if not stat.S_ISREG(image.stat().st_mode):
            raise LauncherError(f"{str(image)!r} is no squashfs file.", why="It is no regular file.")
        image.open("rb").close()
    except OSError as error:
        raise LauncherError(f"Can't read the image {str(image)!r}.", why=f"{error.strerror}.") from None
