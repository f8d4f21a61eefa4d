"""`launcher-singleuser`, from the script's call to JupyterLab's own import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import claims
import pytest

import launcher
from launcher.protocol import EventKind, encode, encode_refusal, parse_claim, parse_event
from launcher.singleuser import entry

ROOT = Path(launcher.__file__).parents[1]
TICKET = "5ec2e7" + "0" * 58
ANSWER = claims.ANSWER._replace(
    environment={"JUPYTERHUB_API_TOKEN": "t0ken", "JUPYTERHUB_SERVICE_PREFIX": "/user/alice/"},
    arguments=["--debug"],
)

# JupyterLab's place is taken by a module that tells what it finds when it is imported.
UP_TO_JUPYTERLAB = """
import sys
bare = set(sys.modules)
opened, listed = [], []
def audit(event, args):
    if event == "open":
        opened.append(str(args[0]))
    elif event in ("os.listdir", "os.scandir"):
        listed.append(str(args[0]))
sys.addaudithook(audit)

class Server:
    def find_spec(self, name, path=None, target=None):
        if name != "launcher.singleuser.server":
            return None
        modules, files, folders = set(sys.modules) - bare, len(opened), len(listed)
        import importlib.machinery
        return importlib.machinery.ModuleSpec(name, Loader(modules, files, folders))

class Loader:
    def __init__(self, modules, files, folders):
        self.found = {"modules": sorted(modules), "files": files, "folders": folders}
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        def serve(session):
            import json, os
            answer, listener = session.answer, session.listener
            found = {"arguments": answer.arguments, "environment": dict(os.environ)}
            found |= {"launch_key": answer.launch_key, "directory": os.getcwd()}
            found["listens"] = [listener.address, listener.port]
            print(json.dumps(self.found | found))
        module.serve = serve

sys.meta_path.insert(0, Server())
from launcher.singleuser import ahead, main
ahead.MODULES = ()
sys.exit(main([]))
"""


def start(*arguments, home, **environment):
    """Run it as the batch script does."""
    return subprocess.run(
        [sys.executable, *arguments],
        env={
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "SLURM_JOB_ID": "42",
            "SLURMD_NODENAME": "nid001",
            **environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def singleuser(*arguments, home, **environment):
    return start("-m", "launcher.singleuser", *arguments, home=home, **environment)


class TestCommandLine:
    def test_its_version_is_the_projects(self, tmp_path):
        done = singleuser("--version", home=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{launcher.__version__}\n", "")

    @pytest.mark.parametrize("option", ["--help", "-h"])
    def test_its_help_names_what_it_reads_and_how_it_ends(self, tmp_path, option):
        done = singleuser(option, home=tmp_path)
        assert done.returncode == 0
        for word in (
            "LAUNCHER_TICKET",
            "LAUNCHER_HUB_URL",
            "LAUNCHER_CLAIM_TIMEOUT",
            "20",
            "21",
            "22",
            "23",
            "24",
        ):
            assert word in done.stdout

    @pytest.mark.parametrize(
        "given", [{}, {"LAUNCHER_TICKET": TICKET}, {"LAUNCHER_HUB_URL": "http://127.0.0.1:1"}]
    )
    def test_started_by_hand_it_says_what_it_is_and_what_to_do(self, tmp_path, given):
        what = "This is the JupyterHub launcher's single-user server, and no hub has asked for it."
        done = singleuser(home=tmp_path, **given)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.splitlines() == [
            f"launcher-singleuser: {what}",
            "LAUNCHER_TICKET and LAUNCHER_HUB_URL are not set; a batch script sets them.",
            "Start a server from JupyterHub. For a JupyterLab of your own: jupyter lab",
        ]


class TestEndings:
    """Each has its exit code, and words in the job's log in place of a traceback."""

    @pytest.fixture
    def end(self, hub, tmp_path):
        def run(*command, **environment):
            done = start(
                *(command or ("-m", "launcher.singleuser")),
                home=environment.pop("HOME", tmp_path),
                LAUNCHER_TICKET=TICKET,
                LAUNCHER_HUB_URL=hub.url,
                LAUNCHER_CLAIM_TIMEOUT="0",
                **environment,
            )
            assert "Traceback" not in done.stderr
            assert TICKET not in done.stdout + done.stderr
            return done

        return run

    def test_a_hub_that_is_not_reachable(self, end, hub):
        hub.close()
        done = end()
        assert done.returncode == 20
        assert f"launcher-singleuser: The hub at {hub.url} could not be reached" in done.stderr

    def test_a_hub_that_does_not_want_the_job(self, end, hub):
        hub.answers = [(410, encode_refusal("It was stopped."))]
        done = end()
        assert done.returncode == 21
        assert done.stderr.splitlines() == [
            "launcher-singleuser: The hub does not want this job.",
            "It was stopped.",
        ]

    def test_a_launch_that_another_claimed(self, end, hub):
        hub.answers = [(409, b"")]
        assert end().returncode == 21

    def test_a_hub_address_that_is_none(self, tmp_path):
        done = singleuser(home=tmp_path, LAUNCHER_TICKET=TICKET, LAUNCHER_HUB_URL="hub")
        assert done.returncode == 2
        assert "LAUNCHER_HUB_URL is not an http URL" in done.stderr

    def test_a_preflight_that_fails_is_told_to_the_hub_too(self, end, hub, tmp_path):
        hub.answers = [(200, encode(ANSWER)), (200, b"{}")]
        done = end(HOME=f"{tmp_path}/none")
        assert done.returncode == 22
        event = parse_event(hub.posts[1].body)
        assert (event.kind, event.reason, event.exit_code) == (EventKind.STOPPING, "failed", 22)
        assert f"Your home directory {tmp_path}/none does not exist" in event.message
        assert event.message in done.stderr

    def test_a_node_outside_the_hubs_networks(self, end, hub):
        answer = encode(ANSWER).replace(b"127.0.0.0/8", b"240.0.0.0/24")
        hub.answers = [(200, answer), (200, b"{}")]
        assert end().returncode == 23
        assert parse_event(hub.posts[-1].body).exit_code == 23

    def test_a_node_without_jupyterlab(self, end, hub):
        hub.answers = [(200, encode(ANSWER)), (200, b"{}")]
        bare = f"import sys; sys.path.append({str(ROOT)!r})"
        done = end("-I", "-S", "-c", f"{bare}; from launcher.singleuser import main; sys.exit(main())")
        assert done.returncode == 24
        assert "JupyterLab is not installed on this node" in done.stderr
        assert "pip install firecrest-launcher" in done.stderr
        event = parse_event(hub.posts[-1].body)
        assert (event.kind, event.exit_code) == (EventKind.STOPPING, 24)


class TestUpToJupyterLab:
    @pytest.fixture
    def done(self, hub, tmp_path):
        hub.answers = [(200, encode(ANSWER)), (200, b"{}")]
        given = {"LAUNCHER_TICKET": TICKET, "LAUNCHER_HUB_URL": hub.url, "LAUNCHER_CLAIM_TIMEOUT": "10"}
        done = start("-c", UP_TO_JUPYTERLAB, home=tmp_path, **given)
        assert done.stderr == ""
        return done

    @pytest.fixture
    def found(self, done):
        return json.loads(done.stdout)

    def test_the_hub_hears_of_each_step(self, done, hub):
        claim = parse_claim(hub.posts[0].body)
        assert (claim.ticket, claim.job_id, claim.node) == (TICKET, "42", "nid001")
        events = [parse_event(post.body) for post in hub.posts[1:]]
        assert [event.kind for event in events] == [EventKind.STARTING, EventKind.STOPPING]
        assert (events[-1].reason, events[-1].exit_code) == ("exit", 0)
        assert done.returncode == 0

    def test_the_server_gets_what_the_hub_said(self, found):
        address, port = found["listens"]
        assert found["arguments"] == ["--debug"]
        assert found["launch_key"] == ANSWER.launch_key
        assert found["directory"] == ANSWER.start_directory
        assert found["environment"].items() >= ANSWER.environment.items()
        assert found["environment"]["JUPYTERHUB_SERVICE_URL"] == f"http://{address}:{port}/user/alice/"

    def test_neither_ticket_nor_launch_key_is_left_for_the_kernels(self, found):
        values = json.dumps(found["environment"])
        assert TICKET not in values
        assert ANSWER.launch_key not in values
        assert not any(name.startswith("LAUNCHER_") for name in found["environment"])

    def test_only_the_standard_library_and_a_few_modules_of_our_own_are_imported(self, found):
        ours = {name for name in found["modules"] if name.partition(".")[0] == "launcher"}
        foreign = {name for name in found["modules"] if name.partition(".")[0] not in sys.stdlib_module_names}
        assert foreign == ours
        assert {name for name in ours if not name.startswith("launcher.singleuser")} <= {
            "launcher",
            "launcher.errors",
            "launcher.node_name",
            "launcher.protocol",
            "launcher.view",
        }

    def test_a_thousand_nodes_may_do_this_at_once(self, found):
        # Measured with Python 3.11, beyond a bare interpreter: 114 modules, 93 files opened (185 without byte
        # code), 20 directories listed.
        assert len(found["modules"]) < 150
        assert found["files"] < 220
        assert found["folders"] < 30


def test_an_unknown_argument_is_refused(capsys):
    assert entry.run(["--bogus"]) == 2
    assert "unknown argument '--bogus'" in capsys.readouterr().err
