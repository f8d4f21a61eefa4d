"""Without a ticket: what another spawner has set becomes a server, and its hub may be told the port."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from launcher.errors import HubUnreachable, LaunchRefused, NoPort, PreflightFailed, UsageError
from launcher.protocol import EventKind
from launcher.singleuser import dropin, reporter
from launcher.singleuser import hub as hub_module
from launcher.singleuser.dropin import DropIn, PortReporter, SpawnerHub
from launcher.singleuser.listener import Listener

TOKEN = "70c0de" * 10
HERE = "http://127.0.0.1:0/user/alice/"


class SpawnersHub:
    """A hub on 127.0.0.1.

    Attributes:
        version: What it says to be.
        answers: Path below its API → statuses with which posts there are answered; the last one stays.
        asked: What it was asked, in order: method, path, token, body.
        as_json: Whether its answers are its own, not a proxy's.
        ahead: Seconds by which its clock is ahead.
    """

    def __init__(self):
        self.version = {"version": "6.1.1"}
        self.answers = {}
        self.asked = []
        self.as_json = True
        self.ahead = 0
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                hub.asked.append(("GET", self.path, self.headers.get("Authorization"), None))
                self.answer(200, hub.version)

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hub.asked.append(("POST", self.path, self.headers.get("Authorization"), body))
                left = hub.answers.get(self.path.rpartition("/")[2], [404])
                status = left.pop(0) if left[1:] else left[0]
                self.answer(status, {"status": status, "message": "said"})

            def answer(self, status, said):
                text = (json.dumps(said) if hub.as_json else "<h1>Not here</h1>").encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def date_time_string(self, timestamp=None):
                return super().date_time_string(time.time() + hub.ahead)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hub/api"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self):
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    @property
    def told(self):
        """What was posted, by path."""
        return [(path.rpartition("/")[2], body) for method, path, _, body in self.asked if method == "POST"]


@pytest.fixture
def hub():
    hub = SpawnersHub()
    yield hub
    hub.close()


@pytest.fixture
def read(hub):
    """Return a function that reads what a spawner has set."""

    def dropped_in(*arguments, **environment):
        return DropIn.of(
            {
                "JUPYTERHUB_API_URL": hub.url,
                "JUPYTERHUB_API_TOKEN": TOKEN,
                "JUPYTERHUB_SERVICE_URL": HERE,
                "JUPYTERHUB_SERVICE_PREFIX": "/user/alice/",
                **environment,
            },
            arguments,
            0,
        )

    return dropped_in


class TestPlace:
    @pytest.mark.parametrize(
        ("arguments", "url", "place"),
        [
            ((), "http://10.1.2.3:8888/user/alice/", ("10.1.2.3", 8888)),
            ((), "http://0.0.0.0:0/user/alice/", ("0.0.0.0", 0)),
            # JupyterHub would take it for 80.
            ((), "http://node/user/alice/", ("node", 0)),
            ((), "http://:8888/user/alice/", ("", 8888)),
            ((), "http://[::1]:8888/", ("::1", 8888)),
            ((), "", ("", 0)),
            (("--ip=127.0.0.1", "--port=9000"), "http://0.0.0.0:8888/", ("127.0.0.1", 9000)),
            (("--ip", "127.0.0.1", "--port", "9000"), "", ("127.0.0.1", 9000)),
            (("--ServerApp.ip=*", "--ServerApp.port=0"), "http://10.1.2.3:8888/", ("", 0)),
        ],
    )
    def test_it_is_what_the_arguments_say_or_else_the_environment(self, read, arguments, url, place):
        found = read(*arguments, JUPYTERHUB_SERVICE_URL=url)
        assert (found.host, found.port) == place
        assert found.answer.arguments == []

    @pytest.mark.parametrize(
        ("arguments", "url"),
        [
            (("--port=none",), HERE),
            (("--port=65536",), HERE),
            ((), "http://127.0.0.1:port/"),
            ((), "http://["),
        ],
    )
    def test_one_that_is_none_is_told(self, read, arguments, url):
        with pytest.raises(UsageError, match="does not say where to listen"):
            read(*arguments, JUPYTERHUB_SERVICE_URL=url)


class TestArguments:
    @pytest.mark.parametrize("program", ["jupyterhub-singleuser", "/opt/lab/bin/jupyter-labhub"])
    def test_the_program_that_this_one_stands_for_is_passed_over(self, read, program):
        assert read(program, "--debug").answer.arguments == ["--debug"]

    def test_the_servers_are_handed_on(self, read):
        given = ["--debug", "--ServerApp.allow_origin=*", "--LabApp.news_url", "None", "--", "jupyter-labhub"]
        assert read("--port=1234", *given).answer.arguments == given


class TestStartDirectory:
    def test_it_is_the_jobs_own_where_the_hub_says_nothing(self, read, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        answer = read().answer
        assert answer.start_directory == str(tmp_path)
        assert "JUPYTERHUB_ROOT_DIR" not in answer.environment

    def test_it_is_the_hubs_root_which_an_argument_overrides(self, read, monkeypatch):
        monkeypatch.setenv("HOME", "/users/alice")
        root = {"JUPYTERHUB_ROOT_DIR": "~/work"}
        for arguments, directory in (
            ((), "/users/alice/work"),
            (("--notebook-dir=/data",), "/data"),
            (("--ServerApp.root_dir=/data",), "/data"),
        ):
            answer = read(*arguments, **root).answer
            assert answer.start_directory == answer.environment["JUPYTERHUB_ROOT_DIR"] == directory
            assert answer.arguments == []


class TestAnswer:
    def test_it_is_what_the_spawner_has_set_and_no_launch(self, read):
        answer = read(PATH="/bin", JUPYTERHUB_USER="alice").answer
        assert answer.environment["JUPYTERHUB_SERVICE_PREFIX"] == "/user/alice/"
        assert answer.environment["JUPYTERHUB_USER"] == "alice"
        assert "PATH" not in answer.environment
        assert (answer.launch_id, answer.launch_key, answer.jupyterhub_version) == ("", "", "6.1.1")
        assert TOKEN not in repr(answer)

    def test_the_hub_is_asked_for_its_version_and_not_through_a_proxy(self, read, hub, monkeypatch):
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        read()
        assert hub.asked == [("GET", "/hub/api/", None, None)]

    def test_a_hub_that_is_not_there_is_told(self, read, hub):
        hub.close()
        with pytest.raises(HubUnreachable, match="could not be reached from this node"):
            read()

    def test_something_else_in_its_place_is_told(self, read, hub):
        hub.version = {"name": "FirecREST"}
        with pytest.raises(HubUnreachable, match="is not a JupyterHub"):
            read()
        hub.as_json = False
        with pytest.raises(HubUnreachable, match="could not be reached"):
            read()

    @pytest.mark.parametrize("url", ["", "hub.example.org", "http://hub:none"])
    def test_an_address_that_is_none_is_told(self, read, url):
        with pytest.raises(UsageError, match="JUPYTERHUB_API_URL is not an http URL"):
            read(JUPYTERHUB_API_URL=url)

    def test_certificates_that_are_not_on_the_node_are_told(self, read):
        with pytest.raises(PreflightFailed, match=r"certificates .* can't be used") as error:
            read(JUPYTERHUB_SSL_CERTFILE="/none.crt", JUPYTERHUB_SSL_KEYFILE="/none.key")
        assert "/none.crt" in error.value.why


class TestPort:
    @pytest.fixture
    def tell(self, hub, read, clock, monkeypatch):
        """Return a function that has a reporter hear of `ready`, and ends when nothing more is to be told."""
        killed = threading.Event()
        monkeypatch.setattr(reporter.os, "kill", lambda pid, number: killed.set())
        for asking in (dropin, hub_module):
            monkeypatch.setattr(asking, "time", clock)

        def ready(*arguments):
            with PortReporter(read(*arguments)) as told:
                told.send(EventKind.STARTING)
                told.send(EventKind.READY, address="127.0.0.1", port=4321)
                # The thread ends with this, and not before all else is told.
                told._events.put(None)
                told.join()
                assert killed.is_set() == (told.reason == "failed")

        return ready

    def test_batchspawner_is_told_with_the_servers_token(self, tell, hub):
        hub.answers = {"batchspawner": [201]}
        tell()
        assert hub.asked[1:] == [
            ("POST", "/hub/api/batchspawner", f"token {TOKEN}", {"port": 4321}),
        ]

    def test_without_batchspawner_firecrestspawner_is_told(self, tell, hub):
        hub.answers = {"firecrestspawner": [201]}
        tell()
        assert hub.told == [("batchspawner", {"port": 4321}), ("firecrestspawner", {"port": 4321})]

    def test_a_port_that_the_hub_gave_is_told_to_nobody(self, tell, hub):
        tell("--port=4321")
        assert hub.told == []

    def test_where_nobody_can_be_told_the_server_ends_and_says_what_is_missing(self, tell, hub):
        with pytest.raises(UsageError) as error:
            tell()
        assert [path for path, _ in hub.told] == ["batchspawner", "firecrestspawner"]
        assert str(error.value).splitlines() == [
            "This hub can't be told on which port the server listens.",
            "Its spawner gave no port, and it has neither batchspawner's API nor FirecRESTSpawner's.",
            error.value.todo,
        ]
        assert error.value.todo.endswith("needs c.Spawner.port or, with batchspawner, import batchspawner.")

    def test_a_hub_that_is_on_its_way_is_asked_again(self, tell, hub, clock, capsys):
        hub.answers = {"batchspawner": [503, 502, 201]}
        tell()
        assert [path for path, _ in hub.told] == ["batchspawner"] * 3
        assert len(clock.naps) == 2
        assert clock.naps[0] < clock.naps[1]
        assert TOKEN not in capsys.readouterr().err

    def test_a_proxys_404_is_no_hubs(self, tell, hub, clock, monkeypatch):
        def comes_back(seconds, sleep=clock.sleep):
            sleep(seconds)
            hub.as_json = True

        def tell_port(self, port, tell=SpawnerHub.tell_port):
            hub.as_json = False
            tell(self, port)

        hub.answers = {"batchspawner": [404, 201]}
        monkeypatch.setattr(clock, "sleep", comes_back)
        monkeypatch.setattr(SpawnerHub, "tell_port", tell_port)
        tell()
        assert [path for path, _ in hub.told] == ["batchspawner", "batchspawner"]

    def test_a_hub_that_does_not_come_back_is_told(self, tell, hub, clock):
        hub.answers = {"batchspawner": [503]}
        with pytest.raises(HubUnreachable, match="for 600 seconds"):
            tell()
        assert 550 < sum(clock.naps) < 650

    def test_a_hub_that_has_given_the_start_up_is_told(self, tell, hub):
        hub.answers = {"batchspawner": [403]}
        with pytest.raises(LaunchRefused, match="did not take this server's port"):
            tell()


class TestListener:
    @pytest.fixture
    def bound(self):
        listeners = []

        def at(host, port=0):
            listeners.append(Listener.at(host, port))
            return listeners[-1]

        yield at
        for each in listeners:
            each.socket.close()

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_it_is_bound_to_the_address_or_name_of_the_hub(self, bound, host):
        listener = bound(host)
        assert listener.host == host
        assert listener.socket.getsockname()[0] in ("127.0.0.1", "::1")
        assert listener.port == listener.socket.getsockname()[1] >= 1024

    @pytest.mark.parametrize("host", ["", "0.0.0.0", "::"])
    def test_all_interfaces_are_all(self, bound, host):
        if host == "::" and not socket.has_dualstack_ipv6():
            pytest.skip("this machine has no IPv6")
        # Nothing listens: it is only bound.
        assert bound(host).socket.getsockname()[0] in ("0.0.0.0", "::")

    def test_the_port_is_the_hubs(self, bound):
        port = bound("127.0.0.1").port
        assert bound("127.0.0.2", port).port == port

    def test_a_port_that_somebody_has_is_told(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(NoPort, match=f"Nothing can listen on 127.0.0.1, port {port}") as error:
                Listener.at("127.0.0.1", port)
        assert "Address already in use" in error.value.why

    @pytest.mark.parametrize("host", ["no-such-name.invalid", "240.0.0.1"])
    def test_an_address_of_another_machine_is_told(self, host):
        with pytest.raises(NoPort, match=f"Nothing can listen on {host}"):
            Listener.at(host, 0)


# JupyterLab's place is taken by a module that is ready at once, tells what it finds, and ends.
UP_TO_JUPYTERLAB = """
import json, os, signal, sys, types
from launcher.protocol import EventKind
def serve(session):
    answer, listener, reporter = session.answer, session.listener, session.reporter
    signal.signal(signal.SIGTERM, lambda *_: None)
    reporter.send(EventKind.READY, address=listener.address, port=listener.port)
    found = {"arguments": answer.arguments, "server": dict(os.environ), "user": session.environments.user}
    print(json.dumps(found | {"directory": os.getcwd(), "port": listener.port}), flush=True)
    # The thread of reports ends with this, and not before all else is told.
    reporter._events.put(None)
    reporter.join()
module = types.ModuleType("launcher.singleuser.server")
module.serve = serve
sys.modules["launcher.singleuser.server"] = module
from launcher.singleuser import main
sys.exit(main(sys.argv[1:]))
"""


class TestProgram:
    @pytest.fixture
    def run(self, hub, tmp_path):
        def singleuser(*arguments, **environment):
            done = subprocess.run(
                [sys.executable, "-c", UP_TO_JUPYTERLAB, *arguments],
                env={
                    "HOME": str(tmp_path),
                    "PATH": os.environ["PATH"],
                    "JUPYTERHUB_API_URL": hub.url,
                    "JUPYTERHUB_API_TOKEN": TOKEN,
                    "JUPYTERHUB_SERVICE_URL": HERE,
                    "JUPYTERHUB_SERVICE_PREFIX": "/user/alice/",
                    **environment,
                },
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert "Traceback" not in done.stderr
            assert TOKEN not in done.stderr
            return done

        return singleuser

    def test_the_server_gets_what_its_spawner_has_set(self, run, hub, tmp_path):
        hub.answers = {"batchspawner": [201]}
        done = run("jupyterhub-singleuser", "--debug", OMP_NUM_THREADS="4")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert hub.told == [("batchspawner", {"port": found["port"]})]
        assert found["arguments"] == ["--debug"]
        assert found["directory"] == str(tmp_path)
        for each in (found["server"], found["user"]):
            assert each["JUPYTERHUB_API_TOKEN"] == TOKEN
            assert each["JUPYTERHUB_SERVICE_URL"] == f"http://127.0.0.1:{found['port']}/user/alice/"
            assert each["OMP_NUM_THREADS"] == "4"

    def test_where_nobody_can_be_told_its_port_it_ends_with_a_code_of_its_own(self, run):
        done = run()
        assert done.returncode == 2
        assert "launcher-singleuser: This hub can't be told on which port the server listens." in done.stderr

    def test_a_preflight_that_fails_is_in_the_jobs_log(self, run, hub, tmp_path):
        done = run(HOME=f"{tmp_path}/none")
        assert done.returncode == 22
        assert f"Your home directory {tmp_path}/none does not exist" in done.stderr
        hub.version = {"version": "4.1.6"}
        done = run()
        assert done.returncode == 22
        assert "does not fit JupyterHub 4.1.6 at the hub" in done.stderr
        hub.version, hub.ahead = {"version": "6.1.1"}, 600
        done = run()
        assert done.returncode == 22
        assert "The clock of this node is" in done.stderr

    def test_with_a_ticket_it_is_the_launchers_hub_that_counts(self, run, hub):
        done = run("--debug", LAUNCHER_TICKET="5ec2e7" + "0" * 58, LAUNCHER_HUB_URL=hub.url)
        assert done.returncode == 2
        assert "unknown argument '--debug'" in done.stderr
        assert hub.asked == []
