"""Cluster files: data in, a checked model out, and all mistakes of a file at once."""

from ipaddress import ip_network
from pathlib import Path

import pytest
import yaml

from launcher.clusters import load_cluster
from launcher.clusters.script import template_directory
from launcher.errors import InvalidFile

BROKEN = Path(__file__).parent / "clusters/broken"
WHOLE = {
    "name": "tiny",
    "title": "Tiny cluster",
    "firecrest": {"url": "https://firecrest.example.org/v2", "system": "tiny"},
    "home": "/home/{user}",
    "launcher": "/opt/launcher/bin/launcher-singleuser",
    "partitions": [{"name": "normal", "time_limit": 240}],
    "node_addresses": ["10.0.0.0/8"],
}


def load(tmp_path, **changes):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump({**WHOLE, **changes}, sort_keys=False))
    return load_cluster(path)


@pytest.mark.parametrize("fault", sorted(path.name for path in BROKEN.iterdir()))
def test_a_broken_file_is_refused_with_each_mistake_at_its_place(fault, monkeypatch):
    """Each folder is named by its fault, and holds the file and what an admin reads."""
    monkeypatch.chdir(BROKEN / fault)
    with pytest.raises(InvalidFile) as error:
        load_cluster(Path("tiny.yaml"))
    assert str(error.value) == Path("expected.txt").read_text().rstrip("\n")


def test_the_mistakes_come_one_by_one_for_programs():
    with pytest.raises(InvalidFile) as error:
        load_cluster(BROKEN / "many-mistakes/tiny.yaml")
    assert len(error.value.problems) == 5


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidFile, match=r"tiny\.yaml: can't be read: .*No such file"):
        load_cluster(tmp_path / "tiny.yaml")


def test_a_whole_file_needs_no_more_than_the_facts_of_the_cluster(tmp_path):
    cluster = load(tmp_path)
    assert cluster.title == "Tiny cluster"
    assert cluster.node_addresses == (ip_network("10.0.0.0/8"),)
    assert cluster.default_time in cluster.times
    assert cluster.ports is None
    assert cluster.template == "slurm.sh.j2"


def test_networks_may_be_of_both_kinds(tmp_path):
    cluster = load(tmp_path, node_addresses=["10.0.0.7", "fd00::/64"])
    assert cluster.node_addresses == (ip_network("10.0.0.7/32"), ip_network("fd00::/64"))


def test_a_cluster_can_not_be_changed_after_its_check(tmp_path):
    with pytest.raises(ValueError, match="frozen"):
        load(tmp_path).launcher = "/bin/true; reboot"


def test_a_partition_is_found_by_its_name(tmp_path):
    cluster = load(tmp_path)
    assert cluster.partition("normal").time_limit == 240
    assert cluster.partition("debug") is None


def test_a_home_follows_from_the_users_name(tmp_path):
    assert load(tmp_path, home="/users/{user}").home_of("alice") == "/users/alice"
    assert load(tmp_path, home="/{user}").home_of("alice") == "/alice"


def test_a_port_range_may_be_one_port(tmp_path):
    assert load(tmp_path, ports=[40000, 40000]).ports == (40000, 40000)


@pytest.mark.parametrize(
    "path", sorted((template_directory() / "clusters").glob("*.yaml")), ids=lambda path: path.name
)
def test_the_cluster_files_that_come_with_the_project_are_whole(path):
    assert load_cluster(path).name == path.stem
