"""What an image's bill of materials says."""

import json
import zipfile
from datetime import date

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from launcher.builder.sbom import CodeServer, Contents, DebianPackage, Python, sbom, versions
from launcher.builder.target import Target
from launcher.builder.wheels import Wheel
from launcher.errors import BuildFailed

SHA256 = "ab" * 32
CODE_SERVER = CodeServer("4.105.1", "cd" * 32)


@pytest.fixture
def wheel(tmp_path):
    def make(name, *fields, version="1.0"):
        path = tmp_path / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *fields, "", "Text."]
            archive.writestr(f"{name.replace('-', '_')}-{version}.dist-info/METADATA", "\n".join(lines))
        return Wheel(path, name, version, SHA256)

    return make


def contents(*wheels, arch="x86_64", code_server=CODE_SERVER):
    packages = (DebianPackage("libpython3.11-stdlib", "3.11.2-6+deb12u6", "amd64"),)
    python = Python("Debian bookworm", "3.11.2", "ef" * 32, packages)
    target = Target(arch, (2, 31), (3, 11))
    return Contents("jupyterlab", "4.6.1", date(2026, 11, 22), target, wheels, python, code_server)


def described(*wheels, **facts):
    return json.loads(sbom(contents(*wheels, **facts)))


def component(bill, name):
    (found,) = (each for each in bill["components"] if each["name"] == name)
    return found


def needs(bill, ref):
    (found,) = (each for each in bill["dependencies"] if each["ref"] == ref)
    return found.get("dependsOn", [])


def test_it_is_valid(wheel):
    bill = sbom(
        contents(
            wheel("tornado", "License: Apache-2.0"),
            wheel("jupyter-core", "License-Expression: MIT OR Apache-2.0", "Requires-Dist: tornado"),
            wheel("odd", "License: As you like it"),
            wheel("bare"),
        )
    )
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill.decode()) is None


def test_the_image_is_its_subject(wheel):
    subject = described(wheel("bare"))["metadata"]["component"]
    assert (subject["name"], subject["version"]) == ("jupyterlab", "4.6.1")
    said = {each["name"]: each["value"] for each in subject["properties"]}
    assert said == {
        "firecrest-launcher:arch": "x86_64",
        "firecrest-launcher:glibc": "2.31",
        "firecrest-launcher:python": "3.11",
    }


def test_packages_have_their_address_and_the_hash_of_their_wheel(wheel):
    package = component(described(wheel("jupyter-core", version="5.8.1")), "jupyter-core")
    assert package["purl"] == "pkg:pypi/jupyter-core@5.8.1"
    assert package["hashes"] == [{"alg": "SHA-256", "content": SHA256}]


def test_what_a_package_is_for_is_told_in_one_line(wheel):
    package = component(described(wheel("some", "Summary: Für alle,", "  die wollen")), "some")
    assert package["description"] == "Für alle, die wollen"


def test_the_interpreter_is_told_with_where_it_is_from(wheel):
    bill = described(wheel("bare"))
    python = component(bill, "python")
    assert python["version"] == "3.11.2"
    assert {each["value"] for each in python["properties"]} == {"Debian bookworm", "ef" * 32}
    (origin,) = needs(bill, python["bom-ref"])
    assert origin == "pkg:deb/debian/libpython3.11-stdlib@3.11.2-6%2Bdeb12u6?arch=amd64"


def test_vs_code_is_told_where_the_image_holds_it(wheel):
    found = component(described(wheel("bare")), "code-server")
    assert found["purl"] == "pkg:github/coder/code-server@v4.105.1"
    assert found["hashes"][0]["content"] == "cd" * 32
    without = described(wheel("bare"), code_server=None)
    assert "code-server" not in {each["name"] for each in without["components"]}


@pytest.mark.parametrize(
    ("fields", "licenses"),
    [
        (["License-Expression: MIT OR Apache-2.0"], [{"expression": "MIT OR Apache-2.0"}]),
        (["License: bsd-3-clause"], [{"license": {"id": "BSD-3-Clause"}}]),
        (["License: As you like it"], [{"license": {"name": "As you like it"}}]),
        (
            [
                "License: Copyright (c) Somebody",
                "        All rights",
                "Classifier: License :: OSI Approved :: BSD License",
            ],
            [{"license": {"name": "BSD License"}}],
        ),
        (["License: UNKNOWN"], None),
        ([], None),
    ],
)
def test_licences_are_expressions_where_they_can_be_and_else_names(wheel, fields, licenses):
    package = component(described(wheel("some", *fields)), "some")
    assert package.get("licenses") == licenses


def test_what_needs_what_follows_the_targets_markers(wheel):
    wheels = (
        wheel(
            "top",
            "Requires-Dist: Low_Er (>=1)",
            'Requires-Dist: other; sys_platform == "win32"',
            'Requires-Dist: arm; platform_machine == "aarch64"',
            'Requires-Dist: extra; extra == "all"',
            "Requires-Dist: absent",
        ),
        *map(wheel, ("low-er", "other", "arm", "extra")),
    )
    assert needs(described(*wheels), "pkg:pypi/top@1.0") == ["pkg:pypi/low-er@1.0"]
    assert needs(described(*wheels, arch="aarch64"), "pkg:pypi/top@1.0") == [
        "pkg:pypi/arm@1.0",
        "pkg:pypi/low-er@1.0",
    ]


def test_extras_that_others_ask_for_count(wheel):
    bill = described(
        wheel("top", "Requires-Dist: mid[all]"),
        wheel("mid", 'Requires-Dist: extra; extra == "all"', 'Requires-Dist: mid[more]; extra == "all"'),
        wheel("extra"),
    )
    assert needs(bill, "pkg:pypi/mid@1.0") == ["pkg:pypi/extra@1.0"]


def test_the_image_needs_what_nothing_else_needs(wheel):
    bill = described(wheel("top", "Requires-Dist: low"), wheel("low"))
    assert needs(bill, bill["metadata"]["component"]["bom-ref"]) == [
        "pkg:github/coder/code-server@v4.105.1",
        "pkg:pypi/top@1.0",
        "python@3.11.2",
    ]


def test_the_same_contents_give_the_same_bytes_in_any_order(wheel):
    wheels = [wheel("top", "Requires-Dist: low"), wheel("low")]
    assert sbom(contents(*wheels)) == sbom(contents(*reversed(wheels)))


def test_other_contents_have_another_serial_number(wheel):
    one, other = described(wheel("some")), described(wheel("some"), arch="aarch64")
    assert one["serialNumber"] != other["serialNumber"]


def test_its_time_is_the_locks(wheel):
    assert described(wheel("some"))["metadata"]["timestamp"] == "2026-11-22T00:00:00+00:00"


def test_no_path_of_the_machine_is_told(wheel, tmp_path):
    assert str(tmp_path) not in sbom(contents(wheel("some"))).decode()


def test_what_is_no_wheel_is_refused(tmp_path):
    path = tmp_path / "some-1.0-py3-none-any.whl"
    path.write_text("no archive")
    with pytest.raises(BuildFailed, match="is no wheel"):
        sbom(contents(Wheel(path, "some", "1.0", SHA256)))


def test_its_versions_are_read_back(wheel):
    bill = described(wheel("jupyter-core", version="5.8.1"))
    assert versions(bill) == {"jupyter-core": "5.8.1", "code-server": "4.105.1"}


@pytest.mark.parametrize(
    "bill", [None, [], {}, {"components": 7}, {"components": [7, {}, {"purl": 7}, {"purl": "pkg:deb/a@1"}]}]
)
def test_no_versions_are_read_from_what_is_no_bill(bill):
    assert versions(bill) == {}


def test_versions_are_told_in_characters_that_can_be_printed():
    hostile = {"purl": "pkg:pypi/a@1", "name": "a\x1b", "version": "\x1b[31m"}
    assert str(versions({"components": [hostile]})).isprintable()
