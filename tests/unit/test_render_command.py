"""`launcher render`: the script that would be submitted, and why it would not be."""

import functools
import json
import re
from pathlib import Path

import pytest

from launcher.clusters import ClusterFile, LaunchFacts, parse_options
from launcher.errors import InvalidOptions

TINY = """name: tiny
firecrest: {url: "https://firecrest.example.org/v2", system: tiny}
home: /home/{user}
launcher: /opt/launcher/bin/launcher-singleuser
partitions:
  - {name: normal, time_limit: 240, max_nodes: 2}
  - {name: debug, time_limit: 60}
times: [30, 60, 120]
max_nodes: 4
accounts: firecrest
node_addresses: [10.0.0.0/8]
prologue: |
  echo "Grüezi"
environments:
  - {id: host, kind: host}
  - {id: own, kind: uenv, typed: {roots: ["/home/{user}"]}}
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A directory to stand in, with one good cluster file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAUNCHER_CLUSTERS", raising=False)
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


@pytest.fixture
def render(site, command):
    """Return a function that gives exit code, standard output and standard error."""
    return functools.partial(command, "render")


class TestScript:
    def test_it_is_what_a_user_gets_byte_for_byte_but_for_the_masked_ticket(self, render, site):
        ticket = "0123456789abcdef" * 4
        facts = LaunchFacts("0" * 32, ticket, "https://hub.example.org/hub/api", "alice")
        file = ClusterFile.load(site / "tiny.yaml")
        options = {"partition": "debug", "time": "30", "account": "csstaff"}
        real = file.render(parse_options(file.cluster, options, user="alice"), facts)
        chosen = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
        code, out, err = render("tiny.yaml", "--user", "alice", *chosen)
        assert (code, err) == (0, "")
        assert out == real.replace(ticket, "x" * 64)
        assert out.count("x" * 64) == 1

    def test_it_is_the_same_each_time(self, render):
        assert render("tiny.yaml") == render("tiny.yaml")

    def test_numbers_come_as_text_as_from_a_form(self, render):
        _, out, _ = render("tiny.yaml", "-o", "time=120", "-o", "nodes=2")
        assert "#SBATCH --time=120\n" in out
        assert "#SBATCH --nodes=2\n" in out

    def test_the_hub_is_the_one_that_is_given(self, render):
        assert (
            "https://hub.site.org/hub/api" in render("tiny.yaml", "--hub", "https://hub.site.org/hub/api")[1]
        )

    def test_as_json_the_request_comes_with_it(self, render):
        _, script, _ = render("tiny.yaml", "-o", "partition=debug")
        code, out, _ = render("tiny.yaml", "-o", "partition=debug", "--json")
        result = json.loads(out)
        assert code == 0
        assert result["script"] == script
        assert (result["cluster"], result["user"]) == ("tiny", "someone")
        assert result["request"]["partition"] == "debug"
        assert result["request"]["options"]["partition"] == "debug"

    def test_a_cluster_of_the_launcher_goes_by_its_name(self, render):
        code, out, _ = render("daint", "-o", "environment=julia")
        assert code == 0
        assert re.search(r"^    uenv run \S*julia/", out, re.MULTILINE)


class TestOptions:
    def test_a_bad_one_gives_the_message_of_the_form_one_line_a_field(self, render, site):
        options = {"partition": "debug", "time": "120", "colour": "red", "nodes": "0"}
        cluster = ClusterFile.load(site / "tiny.yaml").cluster
        with pytest.raises(InvalidOptions) as error:
            parse_options(cluster, options, user="someone")
        chosen = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
        code, out, err = render("tiny.yaml", *chosen)
        assert (code, out) == (4, "")
        assert err.splitlines() == [f"{name}: {text}" for name, text in error.value.fields.items()]
        assert len(err.splitlines()) == 3

    def test_as_json_the_messages_go_by_field(self, render):
        code, out, _ = render("tiny.yaml", "--json", "-o", "partition=low")
        assert code == 4
        assert json.loads(out)["errors"] == {"partition": "must be one of normal, debug"}

    @pytest.mark.parametrize(
        "arguments",
        [
            ["-o", "partition"],
            ["-o", "=debug"],
            ["-o", "time=30", "-o", "time=60"],
            ["--hub", "hub.example.org"],
            ["--user", "alice; reboot"],
            ["--nothing"],
        ],
    )
    def test_a_wrong_command_line_ends_with_2(self, render, arguments):
        code, out, err = render("tiny.yaml", *arguments)
        assert (code, out) == (2, "")
        assert "Error: " in err


class TestClusterFile:
    def test_a_broken_one_is_told_as_by_check(self, render, site):
        Path("tiny.yaml").write_text(f"{TINY}title: 5\n")
        message = "tiny.yaml:17:8: title: must be text: put it in quotes (it is 5)\n"
        assert render("tiny.yaml") == (3, "", message)

    def test_a_name_that_there_is_not_is_told_with_those_there_are(self, render, site):
        code, _, err = render("tinny", "--clusters", ".")
        assert code == 2
        assert err == f"Error: There is no cluster 'tinny' in {site}.\nThere are tiny.\nDid you mean tiny?\n"
