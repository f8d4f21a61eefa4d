"""The cluster files that come with the project, and the scripts that they submit.

The scripts in tests/clusters/scripts are compared byte for byte. After a change that is meant, refresh them:

    UPDATE_GOLDEN=1 .venv/bin/pytest tests/unit/test_shipped_clusters.py

and read what `git diff tests/clusters/scripts` shows: it is what users' jobs will do from then on.
"""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from launcher.clusters import ClusterFile, fields, parse_options
from launcher.clusters.cluster_file import SAMPLE_FACTS, SAMPLE_USER
from launcher.clusters.reference import SMALLEST
from launcher.clusters.schema import cluster_schema
from launcher.clusters.template import template_directory

FILES = sorted((template_directory() / "clusters").glob("*.yaml"))
SCRIPTS = Path(__file__).parents[1] / "clusters/scripts"
SCHEMA = cluster_schema()
EVERY_OPTION = "every-option"

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


class _TextOfTimes(yaml.SafeLoader):
    """Leaves times as texts, as JSON and editors do."""


_TextOfTimes.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(text):
    return yaml.load(text, Loader=_TextOfTimes)


@cache
def load(path):
    return ClusterFile.load(path)


class TestFile:
    def test_all_of_them_are_here(self):
        names = {path.stem for path in FILES}
        assert names == {"daint", "clariden", "santis", "eiger", "bristen", "sandbox", "example"}

    @each_file
    def test_it_is_whole(self, path):
        assert load(path).cluster.name == path.stem

    @each_file
    def test_an_editor_finds_its_schema_and_no_mistake(self, path):
        text = path.read_text()
        schema = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
        assert (path.parent / schema[1]).resolve() == template_directory() / "cluster.schema.json"
        errors = Draft202012Validator(SCHEMA).iter_errors(read(text))
        assert [f"{error.json_path}: {error.message}" for error in errors] == []

    @pytest.mark.parametrize(
        ("name", "platform", "architecture", "gpus", "limits"),
        [
            ("daint", "hpc", "aarch64", 4, {"normal": (1440, None), "debug": (30, 2), "low": (1440, None)}),
            ("clariden", "ml", "aarch64", 4, {"normal": (720, None), "debug": (90, 4), "low": (1440, None)}),
            ("santis", "cw", "aarch64", 4, {"normal": (1440, None), "debug": (30, 2)}),
            (
                "eiger",
                "hpc",
                "x86_64",
                None,
                {"normal": (1440, None), "debug": (30, 1), "prepost": (30, 1), "low": (1440, None)},
            ),
            ("bristen", "ml", "x86_64", 4, {"normal": (1440, None)}),
        ],
    )
    def test_it_holds_the_facts_of_its_cluster(self, name, platform, architecture, gpus, limits):
        cluster = load(template_directory() / f"clusters/{name}.yaml").cluster
        assert str(cluster.firecrest.url) == f"https://api.cscs.ch/{platform}/firecrest/v2"
        assert cluster.firecrest.system == name
        assert cluster.architecture == architecture
        assert (cluster.gpus and cluster.gpus.first) == gpus
        assert {each.name: (each.time_limit, each.max_nodes) for each in cluster.partitions} == limits
        assert (cluster.constraint and cluster.constraint.first) == ("mc" if name == "eiger" else None)
        assert cluster.accounts == "firecrest"

    def test_debug_on_clariden_allows_one_and_a_half_node_hours(self):
        debug = load(template_directory() / "clusters/clariden.yaml").cluster.partition("debug")
        assert [debug.longest(nodes) for nodes in (1, 2, 4)] == [90, 45, 22]

    @pytest.mark.parametrize(("name", "kind"), [("daint", "uenv"), ("clariden", "container")])
    def test_users_are_first_offered_what_most_of_them_use(self, name, kind):
        assert load(template_directory() / f"clusters/{name}.yaml").cluster.environments[0].kind == kind


class TestExample:
    """`example.yaml` explains every key: as it is, or behind a `#` where it can't stand beside others."""

    TEXT = (template_directory() / "clusters/example.yaml").read_text()
    WHOLE = re.sub(r"^( *)#(?=[a-z_]+:)", r"\1", TEXT, flags=re.MULTILINE)

    def test_it_names_every_key_at_every_level(self):
        named = set(self.named(SCHEMA, read(self.WHOLE), "cluster"))
        known = {("cluster", key) for key in SCHEMA["properties"]}
        for name, part in SCHEMA["$defs"].items():
            for each in (part, *part.get("anyOf", ())):
                # Gpus, Words and the like differ in their values only.
                name_of_part = "choice" if self.is_choice(each) else name
                known |= {(name_of_part, key) for key in each.get("properties", ())}
        assert known - named == set()

    def test_what_stands_behind_a_hash_is_right_by_itself(self):
        errors = Draft202012Validator(SCHEMA).iter_errors(read(self.WHOLE))
        assert [error.message for error in errors] == []
        assert self.WHOLE != self.TEXT

    def test_each_key_is_explained_where_it_stands_first(self):
        lines = self.TEXT.splitlines()
        explained = 0
        for number, line in enumerate(lines):
            if re.match(r"[a-z_]+:", line):
                # Above it, or above the key before it: a remark may be about several.
                near = lines[max(0, number - 4) : number]
                explained += any("#" in each for each in near)
        assert explained == len(re.findall(r"^[a-z_]+:", self.TEXT, flags=re.MULTILINE))

    @staticmethod
    def is_choice(part):
        return set(part.get("properties", ())) == {"choices", "default"}

    def named(self, schema, value, name):
        """Yield the keys that a value names, each with the part of the schema that describes it."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            schema = SCHEMA["$defs"][name]
        for each in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
            if Draft202012Validator({**each, "$defs": SCHEMA["$defs"]}).is_valid(value):
                yield from self.named(each, value, name)
        if isinstance(value, dict):
            for key, part in schema.get("properties", {}).items():
                if key in value:
                    yield ("choice" if self.is_choice(schema) else name), key
                    yield from self.named(part, value[key], name)
        elif isinstance(value, list):
            for each in value:
                yield from self.named(schema.get("items", {}), each, name)


def every_option(file):
    """Return a request in which each option that users have is given."""
    environment = next((each for each in file.cluster.environments if getattr(each, "typed", None)), None)
    given = {
        "environment": (environment or file.cluster.environments[0]).id,
        "uenv": "prgenv-gnu/24.11:v1@*%gh200",
        "edf": f"/users/{SAMPLE_USER}/own.toml",
        "view": "develop",
        "account": "project-1",
        "reservation": "course",
        "time": "240",
        "nodes": "2",
        "start_directory": "scratch",
    }
    options = {}
    for field in fields(file.cluster, SAMPLE_USER):
        belongs = not field.environments or given["environment"] in field.environments
        if belongs and not field.fixed:
            last = field.options[-1].value if field.options else ""
            first = field.options[0].value if field.options else ""
            options[field.name] = given.get(field.name, first if field.name == "partition" else last)
    return parse_options(file.cluster, options, user=SAMPLE_USER)


def each_environment(file):
    """Return the script of each environment in the first partition, by the name of its golden file."""
    found = {}
    for request in file.samples():
        found.setdefault(f"{request.environment}.sh", file.render(request, SAMPLE_FACTS))
    return found


@cache
def scripts(path):
    """Return what a cluster submits, by the name of its golden file."""
    file = load(path)
    return {
        **each_environment(file),
        f"{EVERY_OPTION}.sh": file.render(every_option(file), SAMPLE_FACTS),
    }


def shellcheck(directory, texts):
    """Return what shellcheck finds in scripts, style included."""
    for name, text in texts.items():
        (directory / name).write_text(text)
    program = Path(sys.executable).with_name("shellcheck")
    # What a site's own lines read (SC1091) lies on the cluster.
    options = ["--norc", "--severity=style", "--exclude=SC1091", "--format=gcc"]
    done = subprocess.run(
        [program, *options, *texts], cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


class TestScripts:
    @each_file
    def test_they_are_the_golden_ones(self, path):
        directory = SCRIPTS / path.stem
        if os.environ.get("UPDATE_GOLDEN"):
            directory.mkdir(parents=True, exist_ok=True)
            for name, text in scripts(path).items():
                (directory / name).write_text(text)
        golden = {each.name: each.read_text() for each in directory.glob("*.sh")}
        for name, text in scripts(path).items():
            assert text == golden.get(name), (
                "if that is meant: UPDATE_GOLDEN=1 pytest, and read the difference"
            )

    def test_no_golden_script_is_stale(self):
        current = {f"{path.stem}/{name}" for path in FILES for name in scripts(path)}
        stale = {str(path.relative_to(SCRIPTS)) for path in SCRIPTS.rglob("*.sh")} - current
        if os.environ.get("UPDATE_GOLDEN"):
            for name in stale:
                (SCRIPTS / name).unlink()
            return
        assert stale == set()

    @each_file
    def test_no_environment_is_called_like_the_script_of_every_option(self, path):
        assert load(path).cluster.environment(EVERY_OPTION) is None

    @each_file
    def test_bash_takes_each_for_a_script(self, path):
        for name, text in scripts(path).items():
            done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, ""), name

    @each_file
    def test_shellcheck_finds_nothing_at_all(self, path, tmp_path):
        assert shellcheck(tmp_path, scripts(path)) == ""

    @pytest.mark.parametrize("attach", ["directive", "run", "squashfs-mount"])
    def test_shellcheck_finds_nothing_however_images_are_attached(self, attach, tmp_path):
        path = tmp_path / "mycluster.yaml"
        environment = {"id": "own", "kind": "uenv", "typed": {"labels": False, "roots": ["/images"]}}
        cluster = {
            **yaml.safe_load(SMALLEST),
            "tools": {"image": "/images/tools.squashfs"},
            "uenv": {"attach": attach, "repo": "/images/repo"},
            "environments": [{"id": "host", "kind": "host"}, environment],
            "prologue": "set -euo pipefail",
            "epilogue": "true",
        }
        path.write_text(yaml.safe_dump(cluster))
        assert shellcheck(tmp_path, each_environment(ClusterFile.load(path))) == ""

    def test_shellcheck_finds_nothing_where_images_are_pulled(self, tmp_path):
        path = tmp_path / "mycluster.yaml"
        cluster = {
            **yaml.safe_load(SMALLEST),
            "tools": {"image": "jupyterlab/v4.6:v1"},
            "uenv": {"attach": "run", "pull": True, "repo": "/images/repo"},
            "environments": [{"id": "own", "kind": "uenv", "typed": {"labels": True}}],
            "hub_ca": "/etc/ca.pem",
        }
        path.write_text(yaml.safe_dump(cluster))
        assert shellcheck(tmp_path, each_environment(ClusterFile.load(path))) == ""

    def test_every_option_that_users_have_reaches_the_script(self):
        text = scripts(template_directory() / "clusters/example.yaml")["every-option.sh"]
        for option in ("--nodes=2", "--time=240", "--account=project-1", "--reservation=course"):
            assert f"#SBATCH {option}\n" in text
        for option in ("--constraint=gpu", "--qos=normal", "--gres=gpu:a100:4", "--cpus-per-task=64"):
            assert f"#SBATCH {option}\n" in text
        assert "#SBATCH --mem=256G\n" in text
        assert "#SBATCH --view=prgenv-gnu:develop\n" in text
