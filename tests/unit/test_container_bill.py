"""What a container's bill of materials says: of its tools, its base, and what was added to that."""

import json
import zipfile
from datetime import date
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.builder.container.base import _NAME, Base, Kernel
from launcher.builder.container.bill import Parts, bill
from launcher.builder.sbom import Contents, DebianPackage, Python, sbom
from launcher.builder.target import Target
from launcher.builder.wheels import Wheel

BASE = f"registry.example.org/base:1@sha256:{'2b' * 32}"
DEBIAN = [
    DebianPackage("libpython3.11-stdlib", "3.11.2-6", "amd64"),
    DebianPackage("libstdc++6", "12.2.0-14", "amd64"),
]
PACKAGES = [("Jupyter_Core", "5.8.1"), ("torch", "2.8.0a0+nv25.06")]


def made(name, version="5.8.1"):
    return Wheel(Path(f"{name}.whl"), name, version, "ab" * 32)


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """The bill of tools that share packages with the base."""
    path = tmp_path_factory.mktemp("wheels") / "jupyter_core-5.8.1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        metadata = "Metadata-Version: 2.1\nName: jupyter-core\nVersion: 5.8.1\nSummary: Für alle\n"
        archive.writestr("jupyter_core-5.8.1.dist-info/METADATA", metadata)
    python = Python("Debian bookworm", "3.11.2", "ef" * 32, (DEBIAN[0],))
    target = Target("x86_64", (2, 36), (3, 11))
    wheels = [Wheel(path, "jupyter-core", "5.8.1", "cd" * 32)]
    return sbom(Contents("jupyterlab", "4.6.1", date(2026, 11, 22), target, wheels, python))


@pytest.fixture(scope="module")
def parts(tools):
    kernel = Kernel("3.12.3", kernel=False, pip=True, packages=PACKAGES, constraints="", paths=[])
    added = [made("ipykernel", "6.29.5"), made("traitlets", "5.14.3")]
    return Parts("pytorch", "4.6.1", "x86_64", BASE, Base((2, 39), DEBIAN, kernel), tools, added)


@pytest.fixture(scope="module")
def said(parts):
    return json.loads(bill(parts))


def refs(said):
    return [said["metadata"]["component"]["bom-ref"], *(each["bom-ref"] for each in said["components"])]


def component(said, ref):
    (found,) = (each for each in said["components"] if each["bom-ref"] == ref)
    return found


def needs(said, ref):
    (found,) = (each for each in said["dependencies"] if each["ref"] == ref)
    return found.get("dependsOn", [])


def is_valid(document):
    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(document.decode()) is None


def test_it_is_valid(parts):
    assert is_valid(bill(parts))
    assert is_valid(bill(parts._replace(held=Base((2, 36), [], None), added=[], base="debian")))


def test_the_container_is_its_subject(said):
    subject = said["metadata"]["component"]
    assert (subject["name"], subject["version"], subject["type"]) == ("pytorch", "4.6.1", "container")
    assert {"name": "firecrest-launcher:arch", "value": "x86_64"} in subject["properties"]


def test_it_consists_of_its_tools_its_base_and_what_was_added(said):
    assert needs(said, "container:pytorch") == [
        f"base:{BASE}",
        "image:jupyterlab",
        "kernel:pkg:pypi/ipykernel@6.29.5",
        "kernel:pkg:pypi/traitlets@5.14.3",
    ]


def test_what_the_tools_and_the_base_both_hold_is_told_of_each(said):
    assert len(set(refs(said))) == len(refs(said))
    for name in ("pkg:pypi/jupyter-core@5.8.1", "pkg:deb/debian/libpython3.11-stdlib@3.11.2-6?arch=amd64"):
        own, bases = component(said, name), component(said, f"base:{name}")
        assert own["purl"] == bases["purl"] == name


def test_only_what_the_base_holds_is_said_to_be_from_it(said):
    mark = {"name": "firecrest-launcher:from", "value": "base"}
    marked = {each["bom-ref"] for each in said["components"] if mark in each.get("properties", [])}
    assert marked == {each for each in refs(said) if each.startswith("base:")}
    assert set(needs(said, f"base:{BASE}")) == marked - {f"base:{BASE}"}


def test_a_build_of_the_bases_own_keeps_its_version(said):
    assert component(said, "base:pkg:pypi/torch@2.8.0a0%2Bnv25.06")["version"] == "2.8.0a0+nv25.06"


def test_the_bill_of_the_tools_is_in_it_as_it_was(said, tools):
    own = json.loads(tools)
    for each in own["components"]:
        assert component(said, each["bom-ref"]) == each
    for each in own["dependencies"]:
        assert each in said["dependencies"]
    assert component(said, "image:jupyterlab") == own["metadata"]["component"]
    assert said["metadata"]["timestamp"] == own["metadata"]["timestamp"]


def test_every_dependency_is_one_of_its_components(said):
    for each in said["dependencies"]:
        assert {each["ref"], *each.get("dependsOn", [])} <= set(refs(said))


def test_the_same_parts_give_the_same_bytes_in_any_order(parts):
    held = parts.held._replace(
        debian=DEBIAN[::-1], kernel=parts.held.kernel._replace(packages=PACKAGES[::-1])
    )
    assert bill(parts._replace(held=held, added=parts.added[::-1])) == bill(parts)


def test_other_parts_have_another_serial_number(parts, said):
    other = json.loads(bill(parts._replace(arch="aarch64")))
    assert other["serialNumber"] != said["serialNumber"]
    assert said["serialNumber"] != json.loads(parts.tools)["serialNumber"]


def test_a_package_that_a_base_has_twice_is_told_once(parts):
    packages = [("jupyter-core", "5.8.1"), ("Jupyter_Core", "5.8.1"), ("jupyter.core", "5.7")]
    held = Base((2, 36), DEBIAN * 2, parts.held.kernel._replace(packages=packages))
    document = bill(parts._replace(held=held))
    told = refs(json.loads(document))
    assert len(set(told)) == len(told)
    assert is_valid(document)


LINES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)
NAMES = st.from_regex(_NAME, fullmatch=True)


@settings(max_examples=25)
@given(
    st.lists(st.builds(DebianPackage, NAMES, LINES, LINES), max_size=3),
    st.lists(st.tuples(NAMES, st.text(max_size=8)), max_size=3),
)
def test_whatever_a_base_is_said_to_hold_it_can_be_told(parts, debian, packages):
    kernel = parts.held.kernel._replace(packages=packages)
    document = bill(parts._replace(held=Base((2, 36), debian, kernel)))
    told = refs(json.loads(document))
    assert len(set(told)) == len(told)
    assert is_valid(document)
