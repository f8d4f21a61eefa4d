"""`launcher export edf`: the environment definition file of a container says what its cluster file says."""

import json
import tomllib

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from launcher.cli.export import export as command
from launcher.clusters.environment import Definition
from launcher.clusters.template import template_directory
from launcher.errors import InvalidFile, UsageError
from launcher.export import edf
from launcher.export.edf import _lines

EXAMPLE = template_directory() / "clusters/example.yaml"
ALL = {
    "image": "registry.example.org#hpc/jupyter-pytorch:25.06",
    "mounts": ["/scratch:/scratch", "${HOME}:${HOME}", "/data:/data:ro"],
    "workdir": "${HOME}/work",
    "writable": False,
    "entrypoint": True,
    "base_environment": ["hpc-base", "/capstor/edf/base.toml"],
    "env": {"NCCL_DEBUG": "WARN", "QUOTES": "a \"b\" 'c' \\d ${E}"},
    "annotations": {"com.hooks.aws_ofi_nccl.enabled": "true", "com.hooks.aws_ofi_nccl.variant": "cuda12"},
}


@pytest.fixture
def site(tmp_path):
    """A cluster file with one container, whose definition is given."""

    def write(definition, **more):
        container = {"id": "pytorch", "kind": "container", "edf": "pytorch", "definition": definition, **more}
        known = {name: value for name, value in container.items() if value is not None}
        told = {
            "name": "tiny",
            "firecrest": {"url": "https://firecrest.example.org/v2", "system": "tiny"},
            "home": "/users/{user}",
            "partitions": [{"name": "normal", "time_limit": 600}],
            "node_addresses": ["10.0.0.0/8"],
            "environments": [known, {"id": "bare", "kind": "container", "edf": "bare"}],
        }
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(told))
        return path

    return write


def flat(table, before=""):
    """Return dotted key → value."""
    found = {}
    for name, value in table.items():
        found |= flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found


def test_it_says_all_that_the_cluster_file_says(site):
    told = tomllib.loads(edf(site(ALL), "pytorch").content)
    assert {**told, "annotations": flat(told["annotations"])} == ALL


def test_what_is_not_said_is_left_to_the_engine_but_for_what_sessions_need(site):
    told = tomllib.loads(edf(site({"image": "/images/pytorch.sqsh"}), "pytorch").content)
    assert told == {"image": "/images/pytorch.sqsh", "writable": True, "entrypoint": False}


TEXT = st.text(st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=40)


@given(st.dictionaries(st.from_regex(r"\A[A-Z_]{1,9}\Z"), TEXT, max_size=4))
def test_values_come_through_whatever_they_hold(env):
    content = "\n".join(_lines(Definition(image="/images/a.sqsh", env=env)))
    assert tomllib.loads(content).get("env", {}) == env


@pytest.mark.parametrize(
    "wrong",
    [
        {"image": 'a"b'},
        {"image": "-x"},
        {"image": "/images/a.sqsh\n"},
        {"mounts": ["relative:/there"]},
        {"mounts": ["/here"]},
        {"mounts": ["/here:/there:ro rw"]},
        {"workdir": "../up"},
        {"workdir": "/a b"},
        {"env": {"A B": "c"}},
        {"env": {"A": "two\nlines"}},
        {"annotations": {"com hooks": "x"}},
        {"annotations": {"a.": "x"}},
        {"hooks": {}},
        {"writable": "yes"},
    ],
)
def test_what_an_edf_can_not_say_is_refused(site, wrong):
    with pytest.raises(InvalidFile, match=r"environments.0.definition"):
        edf(site({**ALL, **wrong}), "pytorch")


def test_users_own_edfs_have_no_definition(site):
    with pytest.raises(InvalidFile, match="users name the EDF"):
        edf(site({"image": "a"}, edf=None, typed={"roots": ["/users/{user}"]}), "pytorch")


@pytest.mark.parametrize("name", ["bare", "nothing", ""])
def test_a_container_without_definition_is_told_with_those_that_have_one(site, name):
    with pytest.raises(UsageError) as error:
        edf(site(ALL), name)
    assert error.value.why == "There are pytorch."


def test_the_command_prints_it_writes_it_and_makes_json(tmp_path):
    said = CliRunner().invoke(command, ["edf", str(EXAMPLE), "pytorch"])
    assert (said.exit_code, said.output) == (0, edf(EXAMPLE, "pytorch").content)
    path = tmp_path / "pytorch.toml"
    assert CliRunner().invoke(command, ["edf", str(EXAMPLE), "pytorch", "-o", str(path)]).exit_code == 0
    assert path.read_text() == said.output
    told = json.loads(CliRunner().invoke(command, ["edf", str(EXAMPLE), "pytorch", "--json"]).output)
    assert told == {"kind": "edf", "cluster": "example", "environment": "pytorch", "content": said.output}


@pytest.mark.parametrize(
    "arguments",
    [["edf", str(EXAMPLE)], ["z2jh", str(EXAMPLE), "pytorch"], ["edf", str(EXAMPLE), "pytorch", "--nested"]],
)
def test_a_container_goes_with_edf_alone(arguments):
    assert isinstance(CliRunner().invoke(command, arguments).exception, UsageError)
