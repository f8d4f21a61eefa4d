"""Cluster files: data in, a checked model out, and all mistakes of a file at once."""

import re
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.clusters import Seen, load_cluster
from launcher.clusters.template import template_directory
from launcher.errors import InvalidFile
from launcher.yaml_file.problem import Problem
from launcher.yaml_file.source import MAX_BYTES, Source

BROKEN = Path(__file__).parents[1] / "clusters/broken"
WHOLE = {
    "name": "tiny",
    "firecrest": {"url": "https://firecrest.example.org/v2", "system": "tiny"},
    "home": "/home/{user}",
    "launcher": "/opt/launcher/bin/launcher-singleuser",
    "partitions": [{"name": "normal", "time_limit": 480}],
    "node_addresses": ["10.0.0.0/8"],
}
PROBLEM = re.compile(r"tiny\.yaml:[1-9][0-9]*:[1-9][0-9]*: \S.*")


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Return a function that reads a cluster file of some text, or of some values."""
    monkeypatch.chdir(tmp_path)

    def loaded(text="", **changes):
        whole = yaml.safe_dump({**WHOLE, **changes}, sort_keys=False)
        Path("tiny.yaml").write_text(f"{whole}{text}", encoding="utf-8")
        return load_cluster(Path("tiny.yaml"))

    return loaded


def problems(load, text="", **changes):
    with pytest.raises(InvalidFile) as error:
        load(text, **changes)
    return [(problem.key, problem.message) for problem in error.value.problems]


class TestGoodFiles:
    def test_a_whole_file_needs_no_more_than_the_facts_of_the_cluster(self, load):
        cluster = load()
        assert cluster.label == "tiny"
        assert cluster.node_addresses.networks == (ip_network("10.0.0.0/8"),)
        assert [environment.id for environment in cluster.environments] == ["host"]

    def test_networks_may_be_of_both_kinds(self, load):
        networks = load(node_addresses=["10.0.0.7", "fd00::/64"]).node_addresses.networks
        assert networks == (ip_network("10.0.0.7/32"), ip_network("fd00::/64"))

    def test_a_cluster_can_not_be_changed_after_its_check(self, load):
        with pytest.raises(ValueError, match="frozen"):
            load().launcher = "/bin/true; reboot"

    @pytest.mark.parametrize(
        "path", sorted((template_directory() / "clusters").glob("*.yaml")), ids=lambda path: path.name
    )
    def test_the_cluster_files_that_come_with_the_project_are_whole(self, path):
        assert load_cluster(path).name == path.stem


class TestYaml:
    def test_a_merged_mapping_gives_what_a_key_does_not_say_itself(self, load):
        text = """
partitions:
  - &usual {name: normal, time_limit: 480, hint: For all}
  - {<<: *usual, name: low}
"""
        changed = {key: value for key, value in WHOLE.items() if key != "partitions"}
        Path("tiny.yaml").write_text(yaml.safe_dump(changed) + text, encoding="utf-8")
        low = load_cluster(Path("tiny.yaml")).partitions[1]
        assert (low.name, low.time_limit, low.hint) == ("low", 480, "For all")

    def test_of_several_merged_mappings_the_first_counts(self, tmp_path):
        path = tmp_path / "tiny.yaml"
        path.write_text("a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b], z: 3}\n")
        assert Source(path).values["c"] == {"x": 1, "y": 2, "z": 3}

    @pytest.mark.parametrize("text", ["24:00", "1:30", "1:30.5", "190:20:30", "0x10", "0o17", "017", "1_000"])
    def test_only_plain_digits_are_a_number(self, tmp_path, text):
        path = tmp_path / "tiny.yaml"
        path.write_text(f"time: {text}\n")
        assert Source(path).values == {"time": text}

    @pytest.mark.parametrize(
        ("text", "number"), [("0", 0), ("60", 60), ("+60", 60), ("-1", -1), ("2.5", 2.5)]
    )
    def test_a_number_is_one(self, tmp_path, text, number):
        path = tmp_path / "tiny.yaml"
        path.write_text(f"time: {text}\n")
        assert Source(path).values == {"time": number}

    @pytest.mark.parametrize(
        "text", ["2026-12-01T05:00:00Z", "2026-12-01T06:00:00+01:00", "2026-12-01 00:00:00 -5"]
    )
    def test_a_time_with_a_zone_is_that_moment(self, load, text):
        cluster = load(f"announcements: [{{text: Hello, until: {text}}}]\n")
        assert cluster.announcements[0].until == datetime(2026, 12, 1, 5, tzinfo=UTC)

    def test_what_looks_like_a_date_and_is_none_is_text(self, load):
        assert load("title: 2026-99-99\n").title == "2026-99-99"

    def test_lines_may_end_as_on_windows(self, load):
        text = "prologue: |\r\n  export A=1\r\n  export B=2\r\n"
        assert load(text).prologue == "export A=1\nexport B=2\n"

    def test_an_editors_mark_at_the_beginning_counts_for_nothing(self, tmp_path):
        path = tmp_path / "tiny.yaml"
        path.write_text("name: tiny\n", encoding="utf-8-sig")
        assert Source(path).values == {"name": "tiny"}

    def test_a_file_that_was_read_is_noted(self, tmp_path):
        path = tmp_path / "tiny.yaml"
        path.write_text("name: tiny\n")
        seen = Seen()
        Source(path, seen)
        assert list(seen.files) == [path]


class TestMistakes:
    def test_they_come_one_by_one_for_programs(self, load):
        with pytest.raises(InvalidFile) as error:
            load("titel: Tiny\nclaim_timeout: 5\n")
        first, second = error.value.problems
        assert isinstance(first, Problem)
        assert (first.file, first.line, first.column, first.key) == ("tiny.yaml", 12, 1, "titel")
        assert first.message == "is not a key that goes here; did you mean title?"
        assert second == "tiny.yaml:13:16: claim_timeout: must be 10 or more (it is 5)"

    def test_a_key_that_was_meant_is_not_missed_as_well(self, load):
        assert problems(load, firecrest={"url": "https://x.org", "sytem": "tiny"}) == [
            ("firecrest.sytem", "is not a key that goes here; did you mean system?")
        ]

    def test_a_key_that_must_have_a_value_is_needed(self, load):
        assert problems(load, home=None) == [("home", "has no value: it is needed")]

    def test_a_long_value_is_cut(self, load):
        ((_, message),) = problems(load, home="x" * 1000)
        assert message.endswith(f"(it is '{'x' * 57}...')")

    def test_no_value_breaks_its_line_or_hides_in_it(self, load):
        for text in ("a\nb", "a\x1b[31m", "a\u2028b", "a\u202eb"):
            assert all(message.isprintable() for _, message in problems(load, home=text))

    @pytest.mark.parametrize(
        ("directory", "reason"),
        [("", "No such file or directory"), ("/dev/null", "is not a file"), (".", "is not a file")],
    )
    def test_a_file_that_can_not_be_read_is_named_with_the_reason(self, tmp_path, directory, reason):
        path = Path(directory) if directory else tmp_path / "tiny.yaml"
        with pytest.raises(InvalidFile) as error:
            load_cluster(path)
        assert str(error.value) == f"{path}:1:1: can't be read: {reason}"

    def test_a_file_of_megabytes_is_not_looked_at(self, load):
        with pytest.raises(InvalidFile, match="is longer than"):
            load("#" * MAX_BYTES)

    @pytest.mark.parametrize("brackets", ["[", "{a: ", "- ", "? "])
    def test_however_deep_it_is_nested_it_is_told(self, load, brackets):
        with pytest.raises(InvalidFile, match=r"tiny\.yaml:\d+:\d+: "):
            load(f"idle: {brackets * 20000}")


YAML_PIECES = st.sampled_from(
    [
        *"[]{}:,#&*!|>'\"%@`-?=~<\n\t \\",
        *(
            "\n  ",
            "\n- ",
            ": ",
            "<<: ",
            "&a ",
            "*a",
            "!!int ",
            "!!binary ",
            "!!set ",
            "!x ",
            "---\n",
            "...\n",
        ),
        *('"\\ud800"', '"\\0"', '"\\U00110000"', "\x00", "\x85", "\u2028", "\ufeff", "\r", "%YAML 99999.1\n"),
        *("null", "yes", ".inf", "1e999", "24:00", "9" * 5000, "2026-01-01", "2026-01-01T00:00:00+99:00"),
        *(
            "name",
            "tiny",
            "partitions",
            "environments",
            "kind",
            "uenv",
            "typed",
            "accounts",
            "times",
            "choices",
        ),
        *(
            "node_addresses",
            "networks",
            "ports",
            "maintenance",
            "start",
            "gpus",
            "default",
            "prologue",
            "template",
        ),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.datetimes(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "kind", "name", "choices", "default", "typed", "roots", "url", "start", "x"]
            )
            | st.text(),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


class TestAnyText:
    @given(text=st.text() | st.lists(YAML_PIECES | st.text(max_size=3), max_size=40).map("".join))
    @settings(max_examples=400)
    def test_whatever_a_file_holds_every_mistake_has_its_place(self, text, tmp_path_factory):
        self.told(text.encode("utf-8", "surrogatepass"), tmp_path_factory)

    @given(data=st.binary())
    def test_whatever_bytes_a_file_holds_every_mistake_has_its_place(self, data, tmp_path_factory):
        self.told(data, tmp_path_factory)

    @given(
        key=st.sampled_from(
            sorted({*WHOLE, "environments", "accounts", "gpus", "times", "maintenance", "idle"})
        ),
        value=VALUES,
    )
    @settings(max_examples=400)
    def test_whatever_value_a_key_has_every_mistake_has_its_place(self, key, value, tmp_path_factory):
        self.told(yaml.dump({**WHOLE, key: value}, sort_keys=False).encode(), tmp_path_factory)

    def told(self, data, tmp_path_factory):
        directory = tmp_path_factory.getbasetemp() / "any"
        directory.mkdir(exist_ok=True)
        path = directory / "tiny.yaml"
        path.write_bytes(data)
        try:
            load_cluster(path)
        except InvalidFile as error:
            assert error.problems  # noqa: PT017 - a file may also be good
            for problem in error.problems:
                assert PROBLEM.fullmatch(problem.removeprefix(f"{directory}/")), problem
                assert problem.isprintable()
