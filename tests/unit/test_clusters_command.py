"""`launcher clusters`: which clusters there are, and all that is known of one."""

import functools
import json
from pathlib import Path

import pytest

from launcher.clusters import load_cluster
from launcher.clusters.template import template_directory

FULL = """name: full
title: Full cluster
description: Everything at once
firecrest: {url: "https://firecrest.example.org/v2", system: fullsystem}
architecture: aarch64
glibc: "2.31"
home: /users/{user}
scratch: /scratch/{user}
start_directory: {choices: [home, scratch], roots: [/project]}
partitions:
  - name: normal
    time_limit: 240
    hint: For most
    max_nodes: 7
    max_node_minutes: 480
    max_gpus: 3
    qos: partitionqos
    constraint: partitionfeature
    reservation: partitionreservation
times: {choices: [31, 61], default: 61, maximum: 121}
max_nodes: 9
accounts: [accounta, accountb]
constraint: feature
reservation: clusterreservation
qos: clusterqos
gres: gpu:h100
gpus: [1, 2]
cpus: [17, 34]
memory: 64G
directives: [--exclusive]
launcher: /host/launcher-singleuser
tools: {image: "jupyterlab/v4:v1", mount: /tools, launcher: /tools/launcher-singleuser}
uenv: {attach: run, mount: /uenv, repo: /repository}
environments:
  - id: gnu
    kind: uenv
    title: GNU
    hint: Compilers
    image: prgenv-gnu/24.11:v1
    view: modules
    typed_view: true
    mount: /gnu
    launcher: /gnu/launcher-singleuser
    prologue: export GNU=1
  - {id: own, kind: uenv, typed: {labels: false, roots: [/images]}}
  - {id: torch, kind: container, edf: pytorch, launcher: /container/launcher-singleuser}
  - {id: edf, kind: container, typed: {roots: [/edfs]}}
  - {id: bare, kind: host}
prologue: export FIRST=1
epilogue: export LAST=1
node_addresses: {networks: [10.1.0.0/16], interface: hsn0}
ports: [40001, 40099]
claim_timeout: 777
vscode: false
idle: {server: 59, kernel: 43}
proxy: true
warnings: [29, 11]
end_warning: 66
links: [partition]
announcements:
  - {text: Welcome, level: danger, until: 2026-12-01T06:00:00+01:00}
maintenance:
  - {start: 2026-12-02T06:00:00+01:00, end: 2026-12-02T18:00:00+01:00, text: New disks}
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A directory to stand in, with two good cluster files and a broken one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAUNCHER_CLUSTERS", raising=False)
    (tmp_path / "full.yaml").write_text(FULL)
    (tmp_path / "broken.yaml").write_text("name: broken\n")
    return tmp_path


@pytest.fixture
def clusters(site, command):
    """Return a function that gives exit code, standard output and standard error."""
    return functools.partial(command, "clusters")


class TestList:
    def test_those_of_the_launcher_are_listed(self, clusters):
        code, out, err = clusters()
        assert (code, err) == (0, "")
        header, *lines = out.splitlines()
        assert header.split() == ["NAME", "TITLE", "SYSTEM", "PARTITIONS", "ENVIRONMENTS"]
        files = (template_directory() / "clusters").glob("*.yaml")
        assert [line.split()[0] for line in lines] == sorted(path.stem for path in files)

    def test_a_broken_one_is_listed_as_broken_and_the_exit_code_says_so(self, clusters):
        code, out, _ = clusters("--clusters", ".")
        assert code == 3
        assert "broken  broken: launcher check broken.yaml\n" in out
        assert "full    Full cluster  fullsystem  normal      gnu, own, torch, edf, bare\n" in out

    def test_as_json_it_is_the_same(self, clusters):
        code, out, _ = clusters("--json", "--clusters", ".")
        broken, full = json.loads(out)["clusters"]
        assert code == 3
        assert (broken["name"], broken["ok"]) == ("broken", False)
        first = broken["problems"][0]
        assert (first["file"], first["line"], first["column"]) == ("broken.yaml", 1, 1)
        assert (first["key"], first["message"]) == ("firecrest", "is needed")
        assert full == {
            "name": "full",
            "path": "full.yaml",
            "ok": True,
            "title": "Full cluster",
            "system": "fullsystem",
            "partitions": ["normal"],
            "environments": ["gnu", "own", "torch", "edf", "bare"],
        }

    def test_a_directory_that_is_not_there_is_a_wrong_command_line(self, clusters):
        code, _, err = clusters("--clusters", "none")
        assert (code, err) == (2, "Error: none can't be read.\nNo such file or directory.\n")


class TestOne:
    def leaves(self, value):
        if isinstance(value, dict):
            for each in value.values():
                yield from self.leaves(each)
        elif isinstance(value, list):
            for each in value:
                yield from self.leaves(each)
        else:
            yield value

    def test_nothing_that_its_file_says_is_left_out(self, clusters):
        code, out, _ = clusters("full", "--clusters", ".")
        assert code == 0
        said = self.leaves(load_cluster(Path("full.yaml")).model_dump(mode="json"))
        words = {240: "4 hours", 480: "8 hours", False: "not offered"}
        words |= {minutes: f"{minutes} minutes" for minutes in (59, 43, 29, 11)}
        for value in said:
            if value not in (None, "", True):
                text = words.get(value, str(value)) if isinstance(value, int) else value
                assert text.strip() in out, value

    @pytest.mark.parametrize(
        ("keys", "lines"),
        [
            (
                "proxy: true\nwarnings: [29, 11]",
                ["/proxy/<port> handed on", "users warned 29 minutes, 11 minutes before the end"],
            ),
            ("proxy: false\nwarnings: []", ["/proxy/<port> off", "users warned never"]),
        ],
    )
    def test_it_tells_of_a_sessions_ports_and_warnings(self, clusters, keys, lines):
        Path("full.yaml").write_text(FULL.replace("proxy: true\nwarnings: [29, 11]", keys))
        _, out, _ = clusters("full", "--clusters", ".")
        shown = [" ".join(line.split()) for line in out.splitlines()]
        assert set(lines) <= set(shown)

    def test_every_option_of_users_has_a_line(self, clusters):
        _, out, _ = clusters("daint")
        for name in (
            "environment",
            "partition",
            "time",
            "account",
            "start_directory",
            "nodes",
            "reservation",
        ):
            assert f"\n  {name} " in out

    def test_no_line_ends_in_blanks(self, clusters):
        _, out, _ = clusters("full.yaml")
        assert all(line == line.rstrip() for line in out.splitlines())

    def test_as_json_it_is_the_model_and_the_choices(self, clusters):
        code, out, _ = clusters("full.yaml", "--json")
        result = json.loads(out)
        assert code == 0
        assert result["cluster"]["firecrest"]["system"] == "fullsystem"
        time = next(each for each in result["choices"] if each["name"] == "time")
        assert (time["kind"], time["default"], time["maximum"]) == ("number", "61", 121)

    def test_a_broken_one_is_told_as_by_check(self, clusters):
        code, out, err = clusters("broken.yaml")
        assert (code, out) == (3, "")
        assert err.splitlines()[0] == "broken.yaml:1:1: firecrest: is needed"
