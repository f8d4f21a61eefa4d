"""VS Code: when it is offered, how it is started, and what of it lies where."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import claims
import jupyter_vscode_proxy
import pytest
from jupyter_server_proxy.config import ServerProcess, get_entrypoint_server_processes
from jupyter_server_proxy.handlers import SuperviseAndProxyHandler

from launcher.singleuser import vscode
from launcher.singleuser.environment import Environments
from launcher.singleuser.session import Session

ANSWER = claims.ANSWER._replace(
    environment={},
    networks=[],
    start_directory="/home/alice",
    cluster="Piz Daint (GPU)",
    cluster_name="daint",
)
QUIET = {"telemetry.telemetryLevel": "off", "remote.autoForwardPorts": False}
USER = {
    "PATH": "/user/bin",
    "PYTHONPATH": "/user/lib",
    "FLAGS": "{port} {not} {",
    "BASH_FUNC_m%%": "() { :; }",
    "JUPYTERHUB_SERVICE_PREFIX": "/user/alice/",
}


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A program in the server's PATH, which is all that the server's environment has, and its user's home."""
    path = tmp_path / "bin/code-server"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.setattr(os, "environ", {"PATH": str(path.parent), "PYTHONNOUSERSITE": "1"})
    monkeypatch.setattr(jupyter_vscode_proxy, "setup_vscode", jupyter_vscode_proxy.setup_vscode)
    monkeypatch.setitem(sys.modules, "jupyter_vscode_proxy", jupyter_vscode_proxy)
    return path


@pytest.fixture
def offered(program, tmp_path):
    """Return a function that gives what jupyter-server-proxy will start: one process, or none."""

    def of(user=(), **answer):
        directory = tmp_path / "session"
        directory.mkdir(mode=0o700, exist_ok=True)
        environment = USER | {"HOME": str(tmp_path / "home")} | dict(user)
        session = Session(
            ANSWER._replace(**answer),
            SimpleNamespace(),
            SimpleNamespace(),
            Environments({}, environment, {}, [], []),
            str(directory),
        )
        vscode.use(session)
        found = [each for each in get_entrypoint_server_processes() if each.name == "vscode"]
        assert all(isinstance(each, ServerProcess) for each in found)
        return found

    return of


def rendered(process, what):
    """Return the command or the environment with all that stands for something in it filled in."""

    class Handler(SuperviseAndProxyHandler):
        def __init__(self):
            """Serve nothing."""

        @property
        def process_args(self):
            return {"port": 4000, "unix_socket": process.unix_socket, "base_url": "/user/alice/"}

    return Handler()._realize_rendered_template(getattr(process, what))


def options(process):
    """Return the options of the command that have a value."""
    words = rendered(process, "command")
    return {word: after for word, after in itertools.pairwise(words) if word.startswith("--")}


class TestTheTile:
    def test_it_is_there_with_a_program_in_the_servers_path_and_opens_a_tab(self, offered):
        (process,) = offered()
        assert process.launcher_entry.title == "VS Code"
        assert process.launcher_entry.path_info == "vscode/"
        assert process.new_browser_tab

    def test_it_is_not_there_without_the_program_and_nothing_is_said(self, offered, program, capsys):
        program.unlink()
        assert offered(USER | {"PATH": str(program.parent)}) == []
        assert capsys.readouterr() == ("", "")

    def test_it_is_not_there_where_the_cluster_does_not_want_it_and_nothing_is_said(self, offered, capsys):
        os.environ["CODE_EXECUTABLE"] = "openvscode-server"
        assert offered(vscode=False) == []
        assert capsys.readouterr() == ("", "")

    def test_a_program_that_would_let_others_in_is_refused(self, offered, capsys):
        os.environ["CODE_EXECUTABLE"] = "openvscode-server"
        assert offered() == []
        assert "CODE_EXECUTABLE is 'openvscode-server': there is no VS Code" in capsys.readouterr().err

    def test_the_program_may_be_named_as_it_is(self, offered):
        os.environ["CODE_EXECUTABLE"] = "code-server"
        assert len(offered()) == 1

    def test_without_the_package_a_server_starts(self, offered, monkeypatch):
        monkeypatch.setitem(sys.modules, "jupyter_vscode_proxy", None)
        vscode._leave_out()
        assert offered() == []


class TestTheCommand:
    def test_it_is_the_program_that_the_server_finds(self, offered, program):
        (process,) = offered()
        assert str(program) in rendered(process, "command")

    def test_its_sockets_lie_in_the_sessions_directory(self, offered, tmp_path):
        (process,) = offered()
        assert process.unix_socket == f"{tmp_path}/session/vscode.sock"
        given = options(process)
        assert given["--socket"] == process.unix_socket
        assert given["--socket-mode"] == "0600"
        assert given["--session-socket"] == f"{tmp_path}/session/vscode-session.sock"

    def test_no_configuration_of_the_users_counts(self, offered, tmp_path):
        (process,) = offered()
        path = tmp_path / "session/code-server.yaml"
        assert options(process)["--config"] == str(path)
        assert path.read_text() == "auth: none\n"
        assert path.stat().st_mode & 0o777 == 0o600
        assert rendered(process, "command"), "it may be started again"

    def test_it_tells_nobody_of_its_use_and_is_no_way_to_ports(self, offered):
        words = rendered(offered()[0], "command")
        assert {"--disable-telemetry", "--disable-update-check", "--disable-proxy"} <= set(words)

    @pytest.mark.parametrize("start", ["/scratch/alice", "/scratch/{port} {}"])
    def test_it_opens_in_the_start_directory_whatever_was_open_before(self, offered, start):
        words = rendered(offered(start_directory=start)[0], "command")
        assert words[-2:] == ["--ignore-last-opened", start]


class TestSettingsAndExtensions:
    @pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
    def test_each_cluster_and_kind_of_processor_has_its_own(self, offered, tmp_path, monkeypatch, machine):
        monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine=machine))
        given = options(offered()[0])
        own = f"{tmp_path}/home/.local/share/code-server/daint-{machine}"
        assert given["--user-data-dir"] == own
        assert given["--extensions-dir"] == f"{own}/extensions"

    def test_where_no_hub_names_the_cluster_the_processor_alone_counts(self, offered):
        given = options(offered(cluster_name="")[0])
        assert given["--user-data-dir"].endswith(f"/code-server/{os.uname().machine}")

    def test_no_name_of_a_cluster_leads_elsewhere(self, offered):
        given = options(offered(cluster_name="../../x")[0])
        assert given["--user-data-dir"].endswith(f"/code-server/-x-{os.uname().machine}")

    def test_they_lie_where_the_users_programs_have_such_files(self, offered, tmp_path):
        given = options(offered({"XDG_DATA_HOME": f"{tmp_path}/data"})[0])
        assert given["--user-data-dir"].startswith(f"{tmp_path}/data/code-server/daint-")

    def test_extensions_lie_where_the_user_wants_them(self, offered):
        given = options(offered({"CODE_EXTENSIONSDIR": "/scratch/extensions"})[0])
        assert given["--extensions-dir"] == "/scratch/extensions"

    def test_telemetry_is_off_from_the_first_start_and_settings_are_the_users_own(self, offered):
        (process,) = offered()
        data = options(process)["--user-data-dir"]
        settings = Path(data, "User/settings.json")
        assert json.loads(settings.read_text()) == QUIET
        assert Path(data).stat().st_mode & 0o777 == 0o700
        settings.write_text("{}")
        rendered(process, "command")
        assert settings.read_text() == "{}"

    def test_a_home_that_takes_nothing_is_left_for_the_program_to_tell(self, offered):
        assert options(offered({"HOME": "/proc"})[0])["--user-data-dir"].startswith("/proc/")


class TestTheEnvironment:
    def test_it_is_the_users_and_has_nothing_of_the_servers(self, offered, program, tmp_path):
        program.write_text(f"#!{sys.executable} -I\nimport json, os\nprint(json.dumps(dict(os.environ)))\n")
        os.environ |= {"SSL_CERT_FILE": "/etc/ssl/ca-bundle.pem", "LC_ALL": "C"}
        (process,) = offered({"LC_ALL": "C.UTF-8"})
        done = subprocess.run(
            rendered(process, "command"),
            env=os.environ | rendered(process, "environment"),
            capture_output=True,
            check=True,
        )
        assert json.loads(done.stdout) == {
            **USER,
            "LC_ALL": "C.UTF-8",
            "HOME": f"{tmp_path}/home",
            "XDG_RUNTIME_DIR": f"{tmp_path}/session",
            "VSCODE_CLI": "1",
            "VSCODE_IPC_HOOK_CLI": "",
        }

    def test_addresses_of_ports_are_those_of_the_server_where_the_cluster_allows_them(self, offered):
        (process,) = offered(proxy=True)
        assert rendered(process, "environment")["VSCODE_PROXY_URI"] == "/user/alice/proxy/{{port}}/"
        (process,) = offered({"VSCODE_PROXY_URI": "https://{{port}}.example.org"}, proxy=True)
        assert rendered(process, "environment")["VSCODE_PROXY_URI"] == "https://{{port}}.example.org"
