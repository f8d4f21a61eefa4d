"""What a job learns when it claims its launch: the cluster file's keys, and the admin's arguments."""

import pytest
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

from launcher.clusters import Cluster, parse_options
from launcher.clusters.answer import claim_answer
from launcher.protocol import Tls, encode, parse_claim_answer


def answer(*arguments, options=None, tls=None, log="", **keys):
    values = {
        "name": "tiny",
        "firecrest": {"url": "https://firecrest.example.org", "system": "tiny"},
        "home": "/home/{user}",
        "launcher": "/opt/bin/launcher-singleuser",
        "partitions": [{"name": "normal", "time_limit": 480}],
        "node_addresses": ["10.0.0.0/8", "fd00:7::/32"],
    }
    cluster = Cluster.model_validate(values | keys)
    answer = claim_answer(
        cluster,
        parse_options(cluster, options or {}, user="alice"),
        launch_id="c" * 32,
        launch_key="d" * 64,
        environment={"JUPYTERHUB_API_TOKEN": "t0ken"},
        arguments=[*arguments],
        log=log,
        tls=tls,
    )
    assert parse_claim_answer(encode(answer)) == answer
    return answer


class TestKeys:
    def test_the_servers_certificate_where_it_has_one(self):
        assert answer().tls is None
        assert answer(tls=Tls("key", "certificate", "authority")).tls == Tls(
            "key", "certificate", "authority"
        )

    def test_networks(self):
        given = answer(ports=[40000, 40100])
        assert (given.networks, given.names, given.interface) == (["10.0.0.0/8", "fd00:7::/32"], [], "")
        assert given.ports == (40000, 40100)

    def test_what_people_call_the_cluster_and_the_environment(self):
        environments = [{"id": "gnu", "kind": "container", "edf": "/edf/a.toml", "title": "GNU 14"}]
        given = answer(environments=environments, title="Tiny cluster")
        assert (given.cluster, given.title, given.kind) == ("Tiny cluster", "GNU 14", "container")
        assert answer().cluster == "tiny"
        assert answer().kind == "host"

    def test_the_images_that_the_session_must_have(self):
        environments = [
            {"id": "gnu", "kind": "uenv", "image": "prgenv-gnu/24.11:v1", "mount": "/user-gnu"},
            {"id": "container", "kind": "container", "edf": "/edf/a.toml"},
            {"id": "bare", "kind": "host", "launcher": "/opt/bin/launcher-singleuser"},
        ]
        keys = {"environments": environments, "tools": {"image": "jupyterlab/v4.6:v1"}}
        keys["launcher"] = None
        assert answer(**keys).images == {
            "/user-tools": "jupyterlab/v4.6:v1",
            "/user-gnu": "prgenv-gnu/24.11:v1",
        }
        for environment in ("container", "bare"):
            assert answer(options={"environment": environment}, **keys).images == {}

    def test_names_and_interface(self):
        given = answer(node_addresses={"names": ["nid*"], "interface": "hsn0"})
        assert (given.networks, given.names, given.interface) == ([], ["nid*"], "hsn0")

    @pytest.mark.parametrize(
        ("options", "directory"),
        [({}, "/home/alice"), ({"start_directory": "scratch"}, "/scratch/alice")],
    )
    def test_the_start_directory_that_the_user_chose(self, options, directory):
        given = answer(options=options, scratch="/scratch/{user}", start_directory=["home", "scratch"])
        assert given.start_directory == directory

    @pytest.mark.parametrize("offered", [True, False])
    def test_whether_vs_code_is_offered(self, offered):
        assert answer(vscode=offered).vscode is offered

    def test_whether_ports_of_the_users_programs_are_handed_on(self):
        assert answer().proxy is False
        assert answer(proxy=True).proxy is True

    def test_when_users_are_warned_and_how_early_the_server_ends(self):
        assert (answer().warnings, answer().end_warning) == ([30, 10, 2], 60)
        given = answer(warnings=[60, 5], end_warning=120)
        assert (given.warnings, given.end_warning) == ([60, 5], 120)
        assert answer(warnings=[]).warnings == []

    def test_where_the_jobs_log_is(self):
        assert answer().log == ""
        assert answer(log="/home/alice/jupyterlab-42.log").log == "/home/alice/jupyterlab-42.log"


class TestIdle:
    @staticmethod
    def settings(arguments):
        """Return what a server makes of its arguments."""
        app = ServerApp()
        app.parse_command_line(arguments)
        kernels = AsyncMappingKernelManager(config=app.config)
        return app.shutdown_no_activity_timeout, kernels.cull_idle_timeout, kernels.cull_interval

    def test_nothing_ends_where_the_cluster_file_does_not_say_so(self):
        assert answer().arguments == []

    def test_minutes_become_the_servers_seconds(self):
        arguments = answer(idle={"server": 90, "kernel": 30}).arguments
        assert self.settings(arguments) == (5400, 1800, 60)
        assert "--MappingKernelManager.cull_busy=False" in arguments
        assert "--MappingKernelManager.cull_connected=False" in arguments

    def test_one_may_be_given_without_the_other(self):
        assert self.settings(answer(idle={"server": 90}).arguments)[:2] == (5400, 0)
        assert self.settings(answer(idle={"kernel": 30}).arguments)[:2] == (0, 1800)

    @pytest.mark.parametrize(
        "given",
        [
            ["--ServerApp.shutdown_no_activity_timeout=7"],
            ["--debug", "--ServerApp.shutdown_no_activity_timeout", "7"],
        ],
    )
    def test_the_admins_own_argument_wins(self, given):
        arguments = answer(*given, idle={"server": 90, "kernel": 30}).arguments
        assert self.settings(arguments)[:2] == (7, 1800)
        assert arguments[-len(given) :] == given
