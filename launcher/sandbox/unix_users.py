"""Unix users that last as long as one run of the sandbox, made and removed by useradd(8) and userdel(8).

Each carries a mark in its GECOS field that names the process of its run. Nobody without a mark is ever
touched, and nobody below uid 1000.
"""

import contextlib
import fcntl
import os
import pwd
import random
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from launcher.errors import MissingPart, SandboxError
from launcher.sandbox.processes import start_time

LOWEST_UID = 1000
_PATIENCE = 20.0
"""Seconds to wait for another program's lock on /etc/passwd, or for killed processes to go."""
_MARK = re.compile(r"firecrest-launcher sandbox (?P<pid>[1-9][0-9]{0,9}) (?P<started>[0-9]{1,20})")


def mark() -> str:
    """The GECOS field of the users of this run."""
    return f"firecrest-launcher sandbox {os.getpid()} {start_time(os.getpid())}"


def is_ours(user: pwd.struct_passwd) -> bool:
    """Whether a run of the sandbox, this or another, made this user."""
    return user.pw_uid >= LOWEST_UID and _MARK.fullmatch(user.pw_gecos) is not None


def is_left_over(user: pwd.struct_passwd) -> bool:
    """Whether a run made this user and has ended without removing it."""
    made = _MARK.fullmatch(user.pw_gecos)
    return is_ours(user) and made is not None and start_time(int(made["pid"])) != made["started"]


def caller() -> pwd.struct_passwd:
    """The user that runs this process, whom the machine need not know by name."""
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return pwd.struct_passwd((str(uid), "x", uid, os.getegid(), "", "/", "/bin/sh"))


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keep other runs from making or removing users, so that a uid read meanwhile stays the same user's."""
    directory = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def make(wished: str, homes: Path) -> pwd.struct_passwd:
    """Make a user of this run. What an earlier run left in a home of the same name becomes the user's.

    Args:
        wished: The name; if it exists, it gets a number.
        homes: Directory of the home.

    Raises:
        MissingPart: useradd(8) is not installed.
        SandboxError: useradd(8) refused.
    """
    for name in (wished, *(f"{wished}{number}" for number in range(2, 100))):
        home = homes / name
        create = "--no-create-home" if home.exists() else "--create-home"
        done = _change_users(
            *("useradd", "--comment", mark(), "--home-dir", str(home), create),
            *("--shell", "/bin/bash", "--user-group", "--no-log-init", name),
        )
        if done.returncode == 0:
            user = pwd.getpwnam(name)
            if user.pw_uid < LOWEST_UID:
                _change_users("userdel", name)
                raise SandboxError(f"useradd gave {name} the uid {user.pw_uid}, a system user's.")
            _hand_over(home, os.geteuid(), user.pw_uid, user.pw_gid)
            home.chmod(0o700)
            return user
        if done.returncode != 9:  # the name is in use
            break
    raise SandboxError(f"No unix user could be made for {wished}.", why=done.stderr.strip())


def remove_left_over() -> None:
    """Remove the users of runs that ended without doing it."""
    for user in pwd.getpwall():
        if is_left_over(user):
            remove(user.pw_name, user.pw_uid)


def remove(name: str, uid: int) -> None:
    """End all processes of a user that a run made, then remove the user; its home stays, as the caller's.

    Args:
        name: The user's name.
        uid: Its id. If the name has come to mean another user, nothing happens.

    Raises:
        SandboxError: userdel(8) refused.
    """
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        return
    if user.pw_uid != uid or not is_ours(user):
        return
    # As that user, kill(-1) hits all of its processes in one system call: none can fork its way past it.
    kill_all = [program("setpriv"), *identity(uid, user.pw_gid), "/bin/sh", "-c", "kill -KILL -1"]

    def gone() -> bool:
        subprocess.run(kill_all, check=False, start_new_session=True)
        return not _has_processes(uid)

    _wait_until(gone)
    _hand_over(Path(user.pw_dir), uid, os.geteuid(), os.getegid())
    done = _change_users("userdel", name)
    if done.returncode:
        raise SandboxError(
            f"The unix user {name} could not be removed.",
            why=done.stderr.strip(),
            todo="The next `launcher demo` tries again.",
        )


def identity(uid: int, gid: int) -> list[str]:
    """What makes setpriv(1) run a command as a user, with that user's groups."""
    return [f"--reuid={uid}", f"--regid={gid}", "--init-groups", "--inh-caps=-all"]


def program(name: str) -> str:
    """The path of a system's program, which for root's need not be in PATH.

    Raises:
        MissingPart: It is not installed.
    """
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if not found:
        raise MissingPart(f"{name} is not installed.", todo="On Debian: apt-get install passwd util-linux")
    return found


def _has_processes(uid: int) -> bool:
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            facts = dict(re.findall(r"^(\w+):\s*(.*)$", status.read_text(errors="replace"), re.MULTILINE))
            if str(uid) in facts["Uid"].split() and not facts["State"].startswith("Z"):
                return True
    return False


def _hand_over(home: Path, old_uid: int, uid: int, gid: int) -> None:
    """Give what a user has below a home to another, but nothing of ours to which a link leads out of it."""
    if not home.is_dir():
        return
    for _, directories, files, directory in os.fwalk(home, follow_symlinks=False):
        for name in (".", *directories, *files):
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            elsewhere = found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode)
            if found.st_uid == old_uid and not (elsewhere and old_uid == os.geteuid()):
                os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)


def _change_users(*command: str) -> subprocess.CompletedProcess[str]:
    """Run useradd or userdel, again while another program has the lock or a killed process is not gone."""
    arguments = [program(command[0]), *command[1:]]
    answers: list[subprocess.CompletedProcess[str]] = []

    def answered() -> bool:
        environment = {"LC_ALL": "C", "PATH": os.defpath}
        # A second Ctrl-C, which the terminal sends to the whole group, must not cut it short.
        done = subprocess.run(
            arguments,
            check=False,
            capture_output=True,
            text=True,
            env=environment,
            start_new_session=True,
        )
        answers.append(done)
        return not re.search("try again later|currently used by process", done.stderr)

    _wait_until(answered)
    return answers[-1]


def _wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + _PATIENCE
    while not holds() and time.monotonic() < until:
        time.sleep(random.uniform(0.05, 0.3))  # noqa: S311 - so that two programs don't meet again and again
