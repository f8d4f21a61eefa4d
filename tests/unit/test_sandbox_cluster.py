"""A site's cluster file in the sandbox: what this machine can't have is left out, all else stays."""

from pathlib import Path

import pytest
import yaml

from launcher.clusters import ClusterFile
from launcher.errors import InvalidFile
from launcher.sandbox.cluster import SandboxCluster

SITE = {
    "name": "mesa",
    "title": "Mesa",
    "firecrest": {"url": "https://firecrest.example.org/v2", "system": "mesa"},
    "home": "/users/{user}",
    "scratch": "/scratch/{user}",
    "start_directory": ["scratch", "home"],
    "partitions": [
        {"name": "long", "time_limit": 1440, "reservation": "jupyter", "max_gpus": 2},
        {"name": "short", "time_limit": 30, "hint": "Starts first."},
    ],
    "times": [30, 60],
    "max_nodes": 16,
    "gpus": [1, 2],
    "constraint": "mc",
    "directives": ["--exclusive"],
    "tools": {"image": "jupyterlab/v4.6:v1"},
    "environments": [
        {"id": "gnu", "title": "GNU", "kind": "uenv", "image": "prgenv-gnu/24.11", "prologue": "export A=1"},
        {"id": "torch", "kind": "container", "edf": "/edf/torch.toml"},
    ],
    "prologue": "echo begins\n",
    "node_addresses": {"names": ["nid*"]},
}


@pytest.fixture
def mesa(tmp_path):
    path = tmp_path / "clusters/mesa.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(SITE, sort_keys=False))
    return path


def written(cluster: SandboxCluster, tmp_path: Path):
    directory = tmp_path / "hub"
    directory.mkdir()
    path = cluster.write(
        directory,
        url="http://127.0.0.1:4711",
        system="sandbox",
        state=Path("/var/tmp/run"),
        launcher=Path("/var/tmp/run/launcher-singleuser"),
    )
    return ClusterFile.load(path).cluster


def test_what_users_see_stays_and_where_things_are_is_this_runs(mesa, tmp_path):
    cluster = written(SandboxCluster(mesa), tmp_path)
    assert (cluster.name, cluster.title, cluster.prologue) == ("mesa", "Mesa", "echo begins\n")
    assert cluster.times.choices == (30, 60)
    assert cluster.start_directory.choices == ("scratch", "home")
    assert [partition.hint for partition in cluster.partitions] == ["", "Starts first."]
    assert (cluster.home, cluster.scratch) == ("/var/tmp/run/home/{user}", "/var/tmp/run/scratch/{user}")
    assert str(cluster.firecrest.url) == "http://127.0.0.1:4711/"
    assert [str(network) for network in cluster.node_addresses.networks] == ["127.0.0.0/8"]


def test_every_environment_runs_on_the_host(mesa, tmp_path):
    cluster = written(SandboxCluster(mesa), tmp_path)
    assert [(each.id, each.name, each.kind) for each in cluster.environments] == [
        ("gnu", "GNU", "host"),
        ("torch", "torch", "host"),
    ]
    assert cluster.environments[0].prologue == "export A=1\n"


def test_what_this_machine_has_not_is_left_out_and_told(mesa, tmp_path):
    sandbox = SandboxCluster(mesa)
    cluster = written(sandbox, tmp_path)
    assert (cluster.gpus, cluster.constraint, cluster.directives, cluster.tools) == (None, None, (), None)
    assert cluster.partitions[0].reservation is None
    assert cluster.max_nodes == 2
    assert sandbox.notes() == [
        "tools is left out",
        "constraint is left out",
        "gpus is left out",
        "directives is left out",
        "there are 2 nodes, not 16",
        "reservation of long is left out",
        "max_gpus of long is left out",
        "container and uenv environments run on the host, and none is typed",
    ]


def test_its_partitions_are_those_of_the_scheduler(mesa):
    assert SandboxCluster(mesa).partitions == {"long": 1440 * 60, "short": 30 * 60}


def test_its_batch_template_comes_along(mesa, tmp_path):
    own = mesa.parent.parent / "own.sh.j2"
    own.write_text('{% extends "slurm.sh.j2" %}{% block setup %}echo own\n{% endblock %}')
    mesa.write_text(yaml.safe_dump({**SITE, "template": "own.sh.j2"}))
    written(SandboxCluster(mesa), tmp_path)
    assert (tmp_path / "hub/own.sh.j2").read_text() == own.read_text()


def test_a_file_under_another_name_is_another_file(mesa, tmp_path):
    again = SandboxCluster(mesa, {"name": "butte", "title": "Butte"})
    cluster = written(again, tmp_path)
    assert (again.name, cluster.name, cluster.title) == ("butte", "butte", "Butte")
    assert [path.name for path in (tmp_path / "hub").glob("*.yaml")] == ["butte.yaml"]


def test_a_file_with_mistakes_is_refused_before_anything_starts(mesa):
    mesa.write_text("name: mesa\n")
    with pytest.raises(InvalidFile, match="firecrest"):
        SandboxCluster(mesa)


def test_the_sandboxs_own_file_is_used_as_it_stands(tmp_path):
    sandbox = SandboxCluster()
    before = sandbox.cluster
    after = written(sandbox, tmp_path)
    assert after.partitions == before.partitions
    assert after.environments == before.environments
    assert sandbox.notes() == []
