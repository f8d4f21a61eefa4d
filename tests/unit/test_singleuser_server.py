"""The server of a node opens in its start directory, unless an admin or its user has said otherwise."""

import asyncio

import pytest
from traitlets.config import Config

from launcher.protocol import ClaimAnswer
from launcher.singleuser.server import _Launch, _NodeServer


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

        class Server(_NodeServer):
            launch = _Launch(answer, None, None)

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
