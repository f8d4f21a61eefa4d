"""What a launch knows of its cluster after a restart of the hub."""

import json

import pytest

from launcher.clusters import Cluster
from launcher.database.launch_record import STATE_KEY, LaunchRecord
from launcher.spawner.launches import Launch

CLUSTER = Cluster.model_validate(
    {
        "name": "tiny",
        "firecrest": {"url": "https://firecrest.example.org/v2", "system": "tiny"},
        "home": "/home/{user}",
        "launcher": "/opt/launcher/bin/launcher-singleuser",
        "partitions": [{"name": "normal", "time_limit": 600}],
        "node_addresses": ["10.0.0.0/16"],
    }
)


def record(**said):
    return LaunchRecord("a" * 32, "b" * 64, 0.0, "tiny", "c" * 64, {}, cluster_file=said)


def test_it_knows_what_its_cluster_file_said():
    said = CLUSTER.model_dump(mode="json", exclude_defaults=True)
    state = json.loads(json.dumps({STATE_KEY: record(**said).to_state()}))
    assert Launch(LaunchRecord.from_state(state), "ada").cluster == CLUSTER


@pytest.mark.parametrize("said", [{}, {"name": "tiny"}, {"colour": "blue"}])
def test_what_another_release_saved_does_not_count(said):
    assert Launch(record(**said), "ada").cluster is None
