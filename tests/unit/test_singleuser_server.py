"""The server of a node opens in its start directory, unless an admin or its user has said otherwise."""

import asyncio
import socket
import types

import pytest
from traitlets.config import Config

from launcher.errors import NoPort, ServerFailed
from launcher.protocol import ClaimAnswer
from launcher.singleuser.environment import Environments
from launcher.singleuser.listener import Listener
from launcher.singleuser.server import _NodeServer, serve
from launcher.singleuser.session import Session


@pytest.fixture
def start(tmp_path, monkeypatch):
    """The start directory: one below others."""
    for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    path = tmp_path / "scratch" / "alice"
    path.mkdir(parents=True)
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def server(start):
    """Return a function that configures a server; `settings` are those of an admin or a user."""
    servers = []

    def configure(directory=start, **settings):
        answer = ClaimAnswer("c" * 32, "d" * 64, {}, [], [], [], "", None, str(directory), True, "6.1.1")

        environments = Environments({}, {"SHELL": "/bin/bash"}, {}, [], [])

        class Server(_NodeServer):
            session = Session(answer, None, None, environments, str(directory))

        server = Server(config=Config(ServerApp={"default_url": "/lab"}))
        server.update_config(Config(settings))
        servers.append(server)
        server.init_ioloop()
        server.init_configurables()
        return server

    yield configure
    for each in servers:
        each.kernel_manager.context.destroy()


def opens_at(server):
    return server.root_dir, server.contents_manager.preferred_dir, server.default_url


def test_it_opens_there_and_everything_else_is_in_reach(server, start):
    path = str(start).lstrip("/")
    assert opens_at(server()) == ("/", path, f"/lab/tree/{path}")


def test_at_the_root_of_all_there_is_nothing_to_open(server):
    assert opens_at(server(directory="/")) == ("/", "", "/lab")


def test_below_a_hidden_directory_which_jupyterlab_does_not_show_nothing_else_is_in_reach(server, tmp_path):
    hidden = tmp_path / ".hidden" / "alice"
    hidden.mkdir(parents=True)
    assert opens_at(server(directory=hidden)) == (str(hidden), "", "/lab")


def test_a_root_that_somebody_set_stays(server, start):
    """An admin's `Spawner.notebook_dir` arrives as this setting, too."""
    above = str(start.parent)
    assert opens_at(server(ServerApp={"root_dir": above})) == (above, "alice", "/lab/tree/alice")


def test_a_root_elsewhere_is_opened_itself(server, tmp_path):
    elsewhere = tmp_path / "notebooks"
    elsewhere.mkdir()
    assert opens_at(server(ServerApp={"root_dir": str(elsewhere)})) == (str(elsewhere), "", "/lab")


def test_a_preferred_directory_that_somebody_set_stays(server, tmp_path):
    preferred = str(tmp_path).lstrip("/")
    assert opens_at(server(FileContentsManager={"preferred_dir": preferred})) == ("/", preferred, "/lab")


def test_a_first_page_that_somebody_set_stays(server):
    assert server(ServerApp={"default_url": "/lab/workspaces/mine"}).default_url == "/lab/workspaces/mine"


def test_kernels_begin_beside_their_notebook_and_others_in_the_start_directory(server, start, tmp_path):
    kernels = server().kernel_manager
    assert kernels.cwd_for_path(str(tmp_path)) == str(tmp_path)
    assert kernels.cwd_for_path("made-up-by-an-editor.ipynb") == str(start)


def test_what_runs_on_the_event_loop_runs_on_the_servers_own(server):
    """A check of the preferred directory runs one; what is set up after it must be on the same."""
    assert asyncio.get_event_loop_policy().get_event_loop() is server().io_loop.asyncio_loop


def test_kernels_talk_over_sockets_of_their_own_unless_somebody_wants_otherwise(server):
    def transport(**settings):
        manager = server(**settings).kernel_manager
        return manager.kernel_manager_factory(parent=manager).transport

    assert transport() == "ipc"
    assert transport(KernelManager={"transport": "tcp"}) == "tcp"
    assert transport(ConnectionFileMixin={"transport": "tcp"}) == "tcp"


def test_terminals_run_no_login_shell_whose_profile_would_set_path_anew(server):
    assert server().terminado_settings == {"shell_command": ["/bin/bash"]}


def test_a_shell_that_somebody_set_stays(server):
    settings = server(ServerApp={"terminado_settings": {"shell_command": ["/bin/sh", "-l"]}})
    assert settings.terminado_settings == {"shell_command": ["/bin/sh", "-l"]}


class TestStart:
    """A server that does not start says so in one sentence."""

    @pytest.fixture
    def launch(self, monkeypatch):
        """Return a function that starts a server, in whose place something is raised."""

        def run(error, reason="exit"):
            def launch_instance(arguments):
                raise error

            monkeypatch.setattr(
                "launcher.singleuser.server.JupyterHubSingleUser.launch_instance", launch_instance
            )
            answer = ClaimAnswer("c" * 32, "d" * 64, {}, [], [], [], "", None, "/", True, "6.1.1")
            serve(Session(answer, None, types.SimpleNamespace(reason=reason), None, "/"))

        return run

    def test_jupyterlabs_own_refusal(self, launch):
        with pytest.raises(ServerFailed, match="did not start") as failed:
            launch(SystemExit(1))
        assert "~/.jupyter" in str(failed.value)

    def test_an_error_that_nobody_expects(self, launch, capsys):
        with pytest.raises(ServerFailed, match="RuntimeError: an extension broke"):
            launch(RuntimeError("an extension broke"))
        assert "Traceback" in capsys.readouterr().err

    def test_no_memory(self, launch):
        with pytest.raises(ServerFailed, match="out of memory") as failed:
            launch(MemoryError())
        assert "Ask for more memory" in str(failed.value)

    def test_a_signal_is_no_failure(self, launch):
        with pytest.raises(SystemExit):
            launch(SystemExit(143), reason="terminated")

    def test_its_help_is_no_failure(self, launch):
        launch(SystemExit(0))

    def test_a_port_that_is_not_its_own_any_more(self, server):
        node = server()
        bound = socket.socket()
        bound.close()
        type(node).session = node.session._replace(listener=Listener(bound, "127.0.0.1", 40000))
        with pytest.raises(NoPort, match="port 40000"):
            node._find_http_port()
