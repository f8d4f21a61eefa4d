"""The sandbox's people, without touching the machine's users."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import MissingPart
from launcher.sandbox import unix_users
from launcher.sandbox.accounts import Account, Accounts, as_account, login_environment

LIVING = unix_users.mark()
ENDED = "firecrest-launcher sandbox 1 9999999999999999"


def user(*, name="alice", uid=1500, gecos=ENDED):
    return pwd.struct_passwd((name, "x", uid, uid, gecos, "/nowhere", "/bin/bash"))


@pytest.fixture
def ordinary(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4321)


@pytest.fixture
def alice(tmp_path):
    return Account("alice", "secret", 1500, 1600, tmp_path, "alice")


def test_without_root_everybody_is_the_caller_with_a_home_each(ordinary, tmp_path):
    accounts = Accounts.create(tmp_path, ["alice", "bob"])
    assert [(account.name, account.uid) for account in accounts] == [("alice", 4321), ("bob", 4321)]
    for account in accounts:
        assert account.home == tmp_path / "home" / account.name
        assert stat.S_IMODE(account.home.stat().st_mode) == 0o700
    accounts.remove()
    assert accounts["bob"].home.is_dir()


def test_a_caller_without_a_name_is_called_by_its_number(ordinary, tmp_path):
    (alice,) = Accounts.create(tmp_path, ["alice"])
    assert alice.unix_name == "4321"


def test_passwords_are_random_and_not_shown(ordinary, tmp_path):
    alice, bob = Accounts.create(tmp_path)
    assert alice.password != bob.password
    assert len(alice.password) >= 16
    assert alice.password not in repr(alice)


def test_a_command_runs_in_a_log_ins_environment(alice):
    command = as_account(alice, ["program", "argument"], environment={"LANG": "C", "MORE": "a b"})
    start = command.index("-i")
    expected = login_environment(alice) | {"LANG": "C", "MORE": "a b"}
    assert command[start + 2 : -2] == [f"{name}={value}" for name, value in expected.items()]
    assert command[-2:] == ["program", "argument"]


def test_the_environment_comes_after_the_change_of_user(alice):
    command = as_account(alice, ["program"], environment={"LD_PRELOAD": "theirs"})
    assert command[0].endswith("/setpriv")
    assert command[1:3] == ["--reuid=1500", "--regid=1600"]
    assert command.index("--reuid=1500") < command.index("LD_PRELOAD=theirs")


def test_the_callers_own_account_needs_no_change_of_user(alice, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: alice.uid)
    assert not any("uid" in word for word in as_account(alice, ["program"]))


def test_a_commands_output_is_what_a_log_in_sees(alice, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: alice.uid)
    monkeypatch.setenv("OURS", "x")
    found = subprocess.run(as_account(alice, ["env"]), check=True, capture_output=True, text=True).stdout
    assert dict(line.split("=", 1) for line in found.splitlines()) == login_environment(alice)


def test_a_missing_program_is_named(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(MissingPart, match="useradd is not installed"):
        unix_users.program("useradd")


def test_users_of_an_ended_run_are_left_over():
    assert unix_users.is_left_over(user())


def test_users_of_a_living_run_are_not_left_over():
    assert not unix_users.is_left_over(user(gecos=LIVING))


def test_a_run_whose_process_id_came_again_has_ended():
    assert unix_users.is_left_over(user(gecos=f"firecrest-launcher sandbox {os.getpid()} 1"))


@given(st.integers(0, 999), st.sampled_from([ENDED, LIVING]))
def test_nobody_below_uid_1000_is_ever_ours(uid, gecos):
    assert not unix_users.is_ours(user(uid=uid, gecos=gecos))
    assert not unix_users.is_left_over(user(uid=uid, gecos=gecos))


@given(st.integers(0, 2**32), st.text(max_size=50), st.text(max_size=5))
def test_nobody_without_the_very_mark_is_ever_ours(uid, before, after):
    for gecos in (before, before + "x" + ENDED, ENDED + "x" + after, ENDED + "\n", "Alice,,," + ENDED):
        assert not unix_users.is_ours(user(uid=uid, gecos=gecos))


@pytest.mark.parametrize(
    "found",
    [
        user(uid=0),
        user(uid=999),
        user(uid=1501),
        user(gecos=""),
        user(gecos="Alice"),
    ],
    ids=["root", "system", "another", "nobody", "somebody"],
)
def test_whoever_is_not_ours_is_not_removed(monkeypatch, found):
    monkeypatch.setattr(pwd, "getpwnam", lambda _: found)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a program was run"))
    monkeypatch.setattr(os, "chown", lambda *_, **__: pytest.fail("a file was handed over"))
    unix_users.remove("alice", found.pw_uid if found.pw_uid != 1501 else 1500)


def test_useradd_is_run_again_while_another_program_has_the_lock(monkeypatch, tmp_path):
    (tmp_path / "useradd").write_text(
        "#!/bin/sh\n"
        f"[ -e {tmp_path}/tried ] && exit 9\n"
        f"touch {tmp_path}/tried\n"
        "echo 'useradd: cannot lock /etc/passwd; try again later.' >&2\nexit 1\n"
    )
    (tmp_path / "useradd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert unix_users._change_users("useradd", "alice").returncode == 9


def test_what_a_link_leads_to_is_not_handed_over(monkeypatch, tmp_path):
    home = tmp_path / "home"
    (home / "sub").mkdir(parents=True)
    (home / "own").touch()
    (tmp_path / "secret").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory/file").touch()
    (home / "hard").hardlink_to(tmp_path / "secret")
    (home / "soft").symlink_to(tmp_path / "secret")
    (home / "sub/away").symlink_to(tmp_path / "directory")
    handed: list[str] = []

    def chown(name, uid, gid, *, dir_fd, follow_symlinks):
        assert not follow_symlinks
        handed.append(str(Path(f"/proc/self/fd/{dir_fd}").readlink().relative_to(tmp_path) / name))

    monkeypatch.setattr(os, "chown", chown)
    unix_users._hand_over(home, os.geteuid(), 1500, 1500)
    assert set(handed) == {"home", "home/own", "home/soft", "home/sub", "home/sub/away"}
