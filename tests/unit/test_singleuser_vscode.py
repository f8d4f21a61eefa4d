"""VS Code has the environment of the user's programs, and is found where the server's are."""

import os
import sys

import jupyter_vscode_proxy
import pytest
from jupyter_server_proxy.config import ServerProcess, get_entrypoint_server_processes
from jupyter_server_proxy.handlers import SuperviseAndProxyHandler

from launcher.singleuser import vscode
from launcher.singleuser.environment import Environments

USER = {
    "PATH": "/user/bin",
    "PYTHONPATH": "/user/lib",
    "FLAGS": "{port} {not} {",
    "BASH_FUNC_m%%": "() { :; }",
}


@pytest.fixture
def process(monkeypatch, tmp_path):
    """What jupyter-server-proxy will start, with a program in the server's PATH."""
    program = tmp_path / "code-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(os, "environ", {"PATH": str(tmp_path), "PYTHONNOUSERSITE": "1", "HOME": "/home/a"})
    monkeypatch.setattr(jupyter_vscode_proxy, "setup_vscode", jupyter_vscode_proxy.setup_vscode)
    vscode.use(Environments({}, USER, {}, [], []))
    (found,) = [each for each in get_entrypoint_server_processes() if each.name == "vscode"]
    assert isinstance(found, ServerProcess)
    return found


@pytest.fixture
def rendered(process):
    """Return a function that renders what is a template there."""

    class Handler(SuperviseAndProxyHandler):
        def __init__(self):
            """Serve nothing."""

        @property
        def process_args(self):
            return {"port": 4000, "unix_socket": "", "base_url": "/user/a/"}

    return Handler()._realize_rendered_template


def test_it_has_the_users_environment_and_nothing_of_the_servers(process, rendered):
    os.environ.pop("PYTEST_CURRENT_TEST")
    assert rendered(process.environment) == {"PYTHONNOUSERSITE": "", "HOME": "", **USER}


def test_it_is_found_in_the_servers_path(process, rendered, tmp_path):
    program, *arguments = rendered(process.command)
    assert program == str(tmp_path / "code-server")
    assert "--port=4000" in arguments


def test_where_a_cluster_does_not_want_it_jupyter_server_proxy_does_not_see_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "jupyter_vscode_proxy", None)
    vscode.leave_out()
    assert [each for each in get_entrypoint_server_processes() if each.name == "vscode"] == []


def test_without_the_package_a_server_starts(monkeypatch):
    monkeypatch.setitem(sys.modules, "jupyter_vscode_proxy", None)
    vscode.use(Environments({}, USER, {}, [], []))
