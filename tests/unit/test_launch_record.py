"""What is saved of a launch survives JSON, and damage to it harms nobody."""

import json
import time
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.database.launch_record import STATE_KEY, LaunchRecord, Phase

RECORD = LaunchRecord(
    launch_id="c" * 32,
    ticket_hash="e" * 64,
    ticket_expires=1_800_000_000.5,
    cluster="tiny",
    script_hash="f" * 64,
    options={"partition": "normal", "time": 60},
    phase=Phase.READY,
    job_id="42",
    nonce="b" * 64,
    node="nid001",
    url="http://10.0.0.7:40000",
    cluster_file={"name": "tiny", "partitions": [{"name": "normal", "time_limit": 240}]},
    asked={"partition": ["normal"]},
    successor_until=1_800_000_600.5,
)
SAVED = RECORD.to_state()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def saved(**changes):
    return {STATE_KEY: {**SAVED, **changes}}


@pytest.mark.parametrize("phase", Phase)
def test_a_record_is_the_same_after_the_database(phase):
    state = {STATE_KEY: LaunchRecord(**{**SAVED, "phase": phase}).to_state(), "of_another": 1}
    record = LaunchRecord.from_state(json.loads(json.dumps(state)))
    assert record == LaunchRecord(**{**SAVED, "phase": phase})
    assert isinstance(record.phase, Phase)


def test_what_is_not_known_yet_may_be_missing():
    needed = {
        name: SAVED[name]
        for name in ("launch_id", "ticket_hash", "ticket_expires", "cluster", "script_hash", "options")
    }
    record = LaunchRecord.from_state({STATE_KEY: needed})
    assert record.phase is Phase.SUBMITTING
    assert (record.job_id, record.nonce, record.node, record.url) == ("", "", "", "")
    assert (record.asked, record.cluster_file, record.successor_until) == ({}, {}, 0.0)


def test_a_field_of_a_later_version_is_passed_over():
    assert LaunchRecord.from_state(saved(colour="blue")) == RECORD


def test_no_state_holds_no_record():
    assert LaunchRecord.from_state({}) is None
    assert LaunchRecord.from_state({"remote_ip": "nid001"}) is None


@pytest.mark.parametrize("value", [None, [], "launch", 1, {}, {"launch_id": "c" * 32}])
def test_something_else_in_its_place_is_no_record(value):
    assert LaunchRecord.from_state({STATE_KEY: value}) is None


@pytest.mark.parametrize(
    "name", ["launch_id", "ticket_hash", "ticket_expires", "cluster", "script_hash", "options"]
)
def test_without_a_field_that_it_needs_it_is_no_record(name):
    assert (
        LaunchRecord.from_state({STATE_KEY: {key: value for key, value in SAVED.items() if key != name}})
        is None
    )


def test_what_was_saved_does_not_change_with_the_record():
    record = LaunchRecord(**deepcopy(SAVED))
    state = record.to_state()
    record.phase, record.options = Phase.GONE, {}
    assert state == SAVED


@pytest.mark.parametrize("name", sorted(SAVED))
@pytest.mark.parametrize("wrong", [None, ["x"], [{}]])
def test_a_field_of_a_wrong_type_makes_it_no_record(name, wrong):
    assert LaunchRecord.from_state(saved(**{name: wrong})) is None


def test_a_phase_that_nobody_knows_makes_it_no_record():
    assert LaunchRecord.from_state(saved(phase="dreaming")) is None


@given(st.dictionaries(st.sampled_from(sorted(SAVED)) | st.text(max_size=5), JSON, max_size=5))
def test_no_damage_raises_anything(changes):
    record = LaunchRecord.from_state(saved(**changes))
    if record:
        assert {record.launch_id, record.ticket_hash, record.job_id}
        assert (record.ticket_expires < time.time()) in (True, False)


def test_nothing_secret_is_saved():
    assert not {"ticket", "launch_key", "script", "environment", "api_token"} & set(SAVED)
