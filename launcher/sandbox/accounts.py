"""The people of one run of the sandbox: unix users of their own, or without root the caller by many names."""

import os
import pwd
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from launcher.errors import SandboxError
from launcher.sandbox import unix_users


@dataclass(frozen=True)
class Account:
    """One person of the sandbox.

    Attributes:
        name: Log-in name; the unix user's name too if there is one of its own.
        password: Made for this run.
        uid: Unix user id.
        gid: Unix group id.
        home: Home directory.
        unix_name: The unix user's name.
    """

    name: str
    password: str = field(repr=False)
    uid: int
    gid: int
    home: Path
    unix_name: str


class Accounts:
    """The people of one run, by log-in name. Make them with `create`."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._made: list[Account] = []

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts.values())

    def __getitem__(self, name: str) -> Account:
        return self._accounts[name]

    @classmethod
    def create(cls, state: Path, names: Sequence[str] = ("alice", "bob"), *, own_users: bool = True) -> Self:
        """Make the people of this run; as root, also remove those that a killed run left.

        Blocks, as root for some hundred milliseconds.

        Args:
            state: State directory of the run. As root it becomes passable for others, as homes lie in it.
            names: The wished log-in names. As root, a name that exists gets a number: alice2.
            own_users: Whether root makes a unix user for each; without root, everybody is the caller.

        Raises:
            MissingPart: A program such as useradd(8) is not installed.
            SandboxError: A user could not be made, or can't reach its home.
        """
        people = cls()
        homes = state.absolute() / "home"
        homes.mkdir(parents=True, exist_ok=True)
        if os.geteuid() != 0 or not own_users:
            for name in names:
                people._add(name, unix_users.caller(), homes / name)
            return people
        for directory in (state, homes):
            directory.chmod(directory.stat().st_mode | 0o001)
        try:
            with unix_users.alone():
                unix_users.remove_left_over()
                for name in names:
                    user = unix_users.make(name, homes)
                    account = people._add(user.pw_name, user, Path(user.pw_dir))
                    people._made.append(account)
                    _check_reach(account)
        except BaseException:
            people.remove()
            raise
        return people

    def _add(self, name: str, user: pwd.struct_passwd, home: Path) -> Account:
        home.mkdir(mode=0o700, exist_ok=True)
        password = secrets.token_urlsafe(12)
        account = Account(name, password, user.pw_uid, user.pw_gid, home, user.pw_name)
        self._accounts[name] = account
        return account

    def remove(self) -> None:
        """End all processes of the users made for this run, and remove them. Their homes stay, as root's.

        Blocks until that is done: call it in a thread where an event loop runs.

        Raises:
            SandboxError: userdel(8) refused.
        """
        if self._made:
            with unix_users.alone():
                for account in self._made:
                    unix_users.remove(account.unix_name, account.uid)


def login_environment(account: Account) -> dict[str, str]:
    """What an ssh log-in of this account would find in its environment."""
    return {
        "HOME": str(account.home),
        "USER": account.unix_name,
        "LOGNAME": account.unix_name,
        "SHELL": "/bin/bash",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
    }


def as_account(
    account: Account, command: Sequence[str], *, environment: Mapping[str, str] | None = None
) -> list[str]:
    """The argument list that runs a command as an account; the command gets SIGTERM when our thread ends.

    Args:
        account: Whom to run as.
        command: Program, looked up in the log-in's PATH, and arguments.
        environment: Added to that of a log-in. It shows in the list of processes for a moment: no secrets.
    """
    variables = login_environment(account) | dict(environment or {})
    return [
        unix_users.program("setpriv"),
        *([] if account.uid == os.geteuid() else unix_users.identity(account.uid, account.gid)),
        "--pdeathsig=TERM",
        "--",
        # After the change of user, so that no variable, such as LD_PRELOAD, meets a program of root's.
        unix_users.program("env"),
        "-i",
        "--",
        *(f"{name}={value}" for name, value in variables.items()),
        *command,
    ]


def _check_reach(account: Account) -> None:
    command = as_account(account, ["test", "-w", str(account.home)])
    done = subprocess.run(command, check=False, capture_output=True, text=True, start_new_session=True)
    if done.returncode:
        closed = next((path for path in account.home.parents if not path.stat().st_mode & 0o001), None)
        raise SandboxError(
            f"{account.name} can't reach the home {account.home}.",
            why=f"{closed} is closed to other users." if closed else done.stderr.strip(),
            todo="Put the state directory where every user may pass, for example under /var/tmp.",
        )
