"""Terminals: the user's shell, in the user's environment."""

import pwd
from pathlib import Path

import pytest

from launcher.singleuser.environment import Environments
from launcher.singleuser.terminals import Terminals, shell


@pytest.fixture
def account(monkeypatch):
    """Return a function that sets the shell of this process' account."""

    def have(login_shell):
        def entry(uid):
            if not login_shell:
                raise KeyError(uid)
            return pwd.struct_passwd(("alice", "x", uid, uid, "", "/", login_shell))

        monkeypatch.setattr("launcher.singleuser.terminals.pwd.getpwuid", entry)

    return have


@pytest.fixture
def program(tmp_path):
    def make(name):
        path = tmp_path / name
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return str(path)

    return make


class TestShell:
    def test_it_is_the_one_that_the_environment_names(self, account, program):
        account("/bin/sh")
        assert shell({"SHELL": program("fish")}) == program("fish")

    @pytest.mark.parametrize("named", ["", "/no/such/shell", "/etc/passwd", "/bin/false"])
    def test_where_that_can_not_be_run_it_is_the_accounts(self, account, program, named):
        account(program("tcsh"))
        assert shell({"SHELL": named}) == program("tcsh")

    @pytest.mark.parametrize("login_shell", ["", "/usr/sbin/nologin", "/bin/false", "/no/such/shell"])
    def test_else_it_is_bash_as_in_a_container_that_knows_no_account(self, account, program, login_shell):
        account(login_shell)
        path = str(Path(program("bash")).parent)
        assert shell({"PATH": path}) == program("bash")

    def test_else_any(self, account, tmp_path):
        account("")
        assert shell({"PATH": str(tmp_path)}) == "/bin/sh"


def test_a_terminal_has_the_users_environment_and_what_makes_it_a_terminal(monkeypatch):
    monkeypatch.setenv("PATH", "/user-tools/env/jupyter/bin:/usr/bin")
    monkeypatch.setenv("ONLY_THE_SERVERS", "secret")
    user = {"PATH": "/user-environment/env/default/bin:/usr/bin", "CUDA_HOME": "/user-environment/cuda"}
    terminals = type("Some", (Terminals,), {"environments": Environments({}, user, {}, [], [])})(
        shell_command=["bash"], extra_env={"JUPYTER_SERVER_ROOT": "/"}
    )
    made = terminals.make_term_env(height=30, width=100)
    assert {name: made[name] for name in user} == user
    assert made["TERM"].startswith("xterm")
    assert (made["LINES"], made["COLUMNS"], made["JUPYTER_SERVER_ROOT"]) == ("30", "100", "/")
    assert "ONLY_THE_SERVERS" not in made
    terminals.blocking_io_executor.shutdown()
