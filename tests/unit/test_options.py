"""What a user may ask for: everything else is refused, by field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.clusters import Cluster, LaunchRequest, options_from_form, parse_options
from launcher.errors import InvalidOptions

CLUSTER = Cluster.model_validate(
    {
        "name": "tiny",
        "title": "Tiny cluster",
        "firecrest": {"url": "https://firecrest.example.org/v2", "system": "tiny"},
        "home": "/home/{user}",
        "launcher": "/opt/launcher/bin/launcher-singleuser",
        "partitions": [{"name": "normal", "time_limit": 240}, {"name": "debug", "time_limit": 30}],
        "times": [15, 30, 60, 240, 480],
        "default_time": 60,
        "node_addresses": ["10.0.0.0/8"],
    }
)
HOSTILE = [
    "normal\n",
    "normal\n#SBATCH --exclusive",
    "normal\r\nreboot",
    "normal\u2028#SBATCH --exclusive",
    "normal\x85",
    "normal\0",
    "normal; reboot",
    "$(reboot)",
    "`reboot`",
    "'\"normal\"'",
    "normal --account=other",
    " normal",
    "NORMAL",
    "nοrmal",  # noqa: RUF001 - a Greek o
    "../debug",
    "{{ 7 * 7 }}",
    "",
    "x" * 1_000_000,
    None,
    True,
    0,
    60.0,
    float("nan"),
    10**400,
    b"normal",
    [],
    ["normal"],
    {"name": "normal"},
    {"normal": {"normal": {}}},
]


def errors(options):
    with pytest.raises(InvalidOptions) as error:
        parse_options(CLUSTER, options)
    return error.value.fields


def test_no_options_ask_for_the_defaults():
    assert parse_options(CLUSTER, {}) == LaunchRequest(partition="normal", time=60)


def test_what_the_cluster_file_allows_is_taken():
    assert parse_options(CLUSTER, {"partition": "debug", "time": 15}) == LaunchRequest("debug", 15)


def test_a_time_may_be_a_text_as_forms_send_it():
    assert parse_options(CLUSTER, {"time": "240"}).time == 240


def test_the_default_time_fits_the_partition():
    assert parse_options(CLUSTER, {"partition": "debug"}) == LaunchRequest("debug", 30)


def test_a_request_is_options_again():
    request = LaunchRequest("debug", 15)
    assert parse_options(CLUSTER, request.as_options()) == request


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:30])
def test_a_partition_that_the_cluster_file_does_not_name_is_refused(value):
    assert errors({"partition": value}) == {"partition": "must be one of normal, debug"}


@pytest.mark.parametrize(
    "value",
    [*HOSTILE, "60\n", "６０", "1e2", "0x3c", "+60", "6 0", "-60", -60, False, 61, "61", "9" * 10_000],  # noqa: RUF001
    ids=lambda value: repr(value)[:30],
)
def test_a_time_that_is_not_offered_is_refused(value):
    assert errors({"time": value}) == {"time": "must be one of 15, 30, 60, 240, 480 (minutes)"}


def test_a_boolean_is_no_time_even_where_one_minute_is_offered():
    cluster = CLUSTER.model_copy(update={"times": (1, 60)})
    assert parse_options(cluster, {"time": 1}).time == 1
    with pytest.raises(InvalidOptions):
        parse_options(cluster, {"time": True})


def test_a_time_above_the_partitions_limit_is_refused():
    assert errors({"partition": "debug", "time": 60}) == {
        "time": "must be at most 30 minutes in partition debug"
    }


def test_an_unknown_option_is_refused_by_its_name():
    assert errors({"account": "proj1"}) == {"account": "is not an option of this cluster"}


def test_an_admins_value_is_no_option():
    for name in ("launcher", "template", "home", "ports", "node_addresses", "cluster", "job_name"):
        assert name in errors({name: "x"})


def test_all_mistakes_come_at_once():
    assert set(errors({"partition": "gpu", "time": 1, "account": "proj1"})) == {
        "partition",
        "time",
        "account",
    }


def test_an_options_name_came_from_outside_and_is_shown_without_harm():
    (name,) = errors({"\x1b[2J\n\u202e" + "x" * 1000: 1})
    assert name.isprintable()
    assert len(name) <= 40


def test_options_of_the_wrong_keys_are_refused_like_any_other():
    assert set(errors({1: 2, None: 3})) == {"1", "None"}


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["partition", "time"]) | st.text(max_size=12)
OFFERED = st.sampled_from(["normal", "debug", 15, 60, "30"])


@given(st.dictionaries(NAMES, NESTED | OFFERED, max_size=4))
def test_whatever_comes_in_is_an_allowed_request_or_a_list_of_field_errors(options):
    try:
        request = parse_options(CLUSTER, options)
    except InvalidOptions:
        return
    partition = CLUSTER.partition(request.partition)
    assert request.time in CLUSTER.times
    assert type(request.time) is int
    assert request.time <= partition.time_limit


class TestForm:
    def test_a_submitted_form_has_a_list_for_each_field(self):
        assert options_from_form({"partition": ["debug"], "time": ["30"]}) == {
            "partition": "debug",
            "time": "30",
        }

    def test_the_pages_own_field_is_no_option(self):
        assert options_from_form({"_xsrf": ["2|abc"]}) == {}

    def test_a_field_that_came_twice_is_refused(self):
        options = options_from_form({"partition": ["normal", "debug"], "time": []})
        assert set(errors(options)) == {"partition", "time"}

    def test_an_upload_is_refused(self):
        options = options_from_form({"partition": [{"filename": "x", "body": b"normal"}]})
        assert set(errors(options)) == {"partition"}


@pytest.mark.parametrize("options", [None, [], ["partition"], "partition=debug", 1, True])
def test_options_that_are_no_object_are_refused(options):
    assert errors(options) == {"": "options are an object of names and values"}
