"""The sandbox's people as users of this machine."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from scheduler_spec import state_directory
from support import missing

from launcher.errors import SandboxError
from launcher.sandbox import unix_users
from launcher.sandbox.accounts import Accounts, as_account

ENDED = "firecrest-launcher sandbox 1 9999999999999999"
NAMES = ("sbtest", "sbtest2", "sbtest3", "sbtest4", "sbtest5")


@pytest.fixture(autouse=True)
def root():
    if os.geteuid():
        missing("this needs root", "run the tests as root")
    yield
    for name in NAMES:
        with contextlib.suppress(KeyError):
            assert pwd.getpwnam(name).pw_uid >= 1000
            subprocess.run(["userdel", name], check=True)


@pytest.fixture
def state():
    with state_directory() as state:
        yield state


@contextlib.contextmanager
def made(state, *names):
    accounts = Accounts.create(state, names)
    try:
        yield list(accounts)
    finally:
        accounts.remove()


def exists(name: str) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(name))
    return False


def useradd(name: str, gecos: str) -> pwd.struct_passwd:
    subprocess.run(["useradd", "--no-create-home", "--comment", gecos, name], check=True)
    return pwd.getpwnam(name)


def start(account, script: str) -> None:
    """Run a script as an account to its end; what it puts into the background stays."""
    subprocess.run(as_account(account, ["/bin/sh", "-c", script]), check=True, start_new_session=True)


def processes(uid: int) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = (process / "status").read_text()
            if f"\nUid:\t{uid}\t" in status and "\nState:\tZ" not in status:
                found.append((process / "cmdline").read_text())
    return found


def test_everybody_is_a_user_with_a_private_home_and_a_mark(state):
    with made(state, "sbtest", "sbtest2") as accounts:
        for account in accounts:
            user = pwd.getpwnam(account.name)
            assert (user.pw_uid, user.pw_gid) == (account.uid, account.gid)
            assert user.pw_uid >= 1000
            assert user.pw_gecos == unix_users.mark()
            assert grp.getgrgid(account.gid).gr_name == account.name == account.unix_name
            assert account.home == state / "home" / account.name
            assert account.home.stat().st_uid == account.uid
            assert stat.S_IMODE(account.home.stat().st_mode) == 0o700


def test_a_command_runs_as_the_user_and_reaches_the_home(state):
    with made(state, "sbtest") as (account,):
        start(account, "id -u > ~/id; id -Gn >> ~/id")
        assert (account.home / "id").read_text().split() == [str(account.uid), account.name]


def test_a_name_that_exists_gets_a_number_and_its_user_is_left_alone(state):
    theirs = useradd("sbtest", "Somebody Else")
    with made(state, "sbtest") as (account,):
        assert account.name == account.unix_name == "sbtest2"
    assert pwd.getpwnam("sbtest") == theirs


def test_nothing_of_a_user_is_left_but_the_home_which_is_ours(state):
    with made(state, "sbtest") as (account,):
        start(account, "mkdir ~/a; touch ~/a/b; ln ~/a/b ~/c; ln -s /etc/passwd ~/d; setsid sleep 1000 &")
        assert len(processes(account.uid)) == 1
    assert not exists("sbtest")
    assert not processes(account.uid)
    found = [account.home, *account.home.rglob("*")]
    assert {path.lstat().st_uid for path in found} == {0}
    assert Path("/etc/passwd").stat().st_uid == 0


def test_a_home_of_an_earlier_run_is_the_new_users(state):
    with made(state, "sbtest") as (account,):
        start(account, "mkdir ~/a; echo kept > ~/a/b")
    with made(state, "sbtest") as (account,):
        start(account, "grep -q kept ~/a/b && echo more >> ~/a/b")


def test_users_and_processes_of_a_killed_run_are_removed_by_the_next(state):
    program = (
        "import pathlib, subprocess, sys; from launcher.sandbox.accounts import *\n"
        "account, = Accounts.create(pathlib.Path(sys.argv[1]), ['sbtest'])\n"
        "command = as_account(account, ['sh', '-c', 'setsid sleep 1000 & echo'])\n"
        "subprocess.run(command, stdout=sys.stdout)\nsys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program, str(state)], stdin=pipe, stdout=pipe) as run:
        assert run.stdout
        assert run.stdout.readline() == b"\n"
        uid = pwd.getpwnam("sbtest").pw_uid
        with state_directory() as other, made(other):
            assert exists("sbtest"), "its run is alive"
            assert processes(uid)
            run.send_signal(signal.SIGKILL)
            run.wait()
    with state_directory() as other, made(other):
        assert not exists("sbtest")
        assert not processes(uid)


def test_a_left_over_user_without_a_home_is_removed(state):
    useradd("sbtest", ENDED)
    with made(state):
        assert not exists("sbtest")


def test_a_user_that_is_not_ours_any_more_is_not_removed(state):
    with made(state, "sbtest") as (account,):
        subprocess.run(["usermod", "--comment", "Somebody Else", "sbtest"], check=True)
    assert pwd.getpwnam("sbtest").pw_uid == account.uid


def test_runs_side_by_side_get_people_of_their_own(state):
    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda _: Accounts.create(state, ["sbtest"]), range(4)))
        found = [account for run in runs for account in run]
        assert sorted(account.name for account in found) == sorted(NAMES[:4])
        assert len({account.uid for account in found}) == 4
        list(pool.map(Accounts.remove, runs))
    assert not any(map(exists, NAMES))


def test_a_home_that_can_not_be_reached_is_refused_and_nothing_is_left(state):
    closed = state / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(SandboxError, match="sbtest can't reach the home") as error:
        Accounts.create(closed / "state", ["sbtest"])
    assert error.value.why == f"{closed} is closed to other users."
    assert not exists("sbtest")
