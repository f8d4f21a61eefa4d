"""Installing: programs of the image's own Python, true records, the same modes everywhere."""

import base64
import csv
import hashlib
import os
import zipfile

import pytest
from quiet import Silent

from launcher.builder.install import install, make_environment
from launcher.builder.tree_hash import tree_hash
from launcher.builder.wheels import Wheel
from launcher.errors import BuildFailed


def digest_of(data):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def make_wheel(directory, name, files, spoil=None):
    files = {
        **files,
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{name}-1.0.dist-info/RECORD"
    path = directory / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        rows = ""
        for each, text in files.items():
            rows += f"{each},{digest_of(text.encode())},{len(text)}\n"
            info = zipfile.ZipInfo(each)
            info.external_attr = (0o100755 if ".data/scripts/" in each else 0o100640) << 16
            archive.writestr(info, "spoilt" if each == spoil else text)
        archive.writestr(zipfile.ZipInfo(record), rows + f"{record},,\n")
    return Wheel(path, name, "1.0", "")


@pytest.fixture
def wheels(tmp_path):
    first = {
        "one/__init__.py": "",
        "one-1.0.dist-info/entry_points.txt": "[console_scripts]\none = one.cli:app.main\n",
        "one-1.0.data/scripts/tool": "#!python\nprint(1)\n",
        "one-1.0.data/scripts/tool.sh": "#!/bin/sh\n",
        "one-1.0.data/data/share/jupyter/kernel.json": "{}",
        "one-1.0.data/data/etc/jupyter/one.json": "{}",
    }
    return [make_wheel(tmp_path, "one", first), make_wheel(tmp_path, "two", {"two.py": ""})]


def built(prefix, wheels):
    make_environment(prefix, "/user-tools/python/bin", "../../../python/bin/python3.11", "3.11.2")
    install(wheels, prefix, "/user-tools/env/jupyter", "3.11", Silent())
    return prefix


def test_programs_run_in_the_images_python_and_nobody_elses_surroundings(tmp_path, wheels):
    programs = built(tmp_path / "env", wheels) / "bin"
    first = "#!/user-tools/env/jupyter/bin/python -I"
    assert (programs / "one").read_text().splitlines()[0] == first
    assert "from one.cli import app\n" in (programs / "one").read_text()
    assert (programs / "tool").read_text() == f"{first}\nprint(1)\n"
    assert (programs / "tool.sh").read_text() == "#!/bin/sh\n"
    assert str((programs / "python").readlink()) == "../../../python/bin/python3.11"
    assert str((programs / "python3.11").readlink()) == "python"


def test_data_lie_where_jupyter_looks_for_them(tmp_path, wheels):
    prefix = built(tmp_path / "env", wheels)
    assert (prefix / "share/jupyter/kernel.json").is_file()
    assert (prefix / "etc/jupyter/one.json").is_file()
    assert (prefix / "pyvenv.cfg").read_text() == (
        "home = /user-tools/python/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n"
    )


def test_records_tell_each_file_with_its_hash_and_no_path_of_the_build(tmp_path, wheels):
    library = built(tmp_path / "env", wheels) / "lib/python3.11/site-packages"
    rows = list(csv.reader((library / "one-1.0.dist-info/RECORD").read_text().splitlines()))
    told = {path: digest for path, digest, _ in rows if digest}
    assert "../../../bin/one" in told
    assert "one-1.0.dist-info/INSTALLER" in told
    assert all(digest_of((library / path).read_bytes()) == digest for path, digest in told.items())
    assert not (library / "one-1.0.dist-info/direct_url.json").exists()


def test_modes_and_bytes_are_the_same_whoever_builds(tmp_path, wheels):
    first = built(tmp_path / "env", wheels)
    before = os.umask(0o077)
    try:
        second = built(tmp_path / "other/place/env", wheels[::-1])
    finally:
        os.umask(before)
    assert tree_hash(first) == tree_hash(second)
    modes = {path.stat().st_mode & 0o777 for path in second.rglob("*") if not path.is_symlink()}
    assert modes == {0o755, 0o644}


def test_a_wheel_that_is_not_what_its_record_says_is_refused(tmp_path):
    wheel = make_wheel(tmp_path, "three", {"three.py": "x = 1\n"}, spoil="three.py")
    with pytest.raises(BuildFailed, match="can't be installed") as caught:
        built(tmp_path / "env", [wheel])
    assert "three.py didn't match RECORD" in caught.value.why


def test_two_wheels_with_the_same_file_are_refused(tmp_path):
    wheels = [make_wheel(tmp_path, name, {"same.py": ""}) for name in ("four", "five")]
    with pytest.raises(BuildFailed, match="that another wheel holds, too"):
        built(tmp_path / "env", wheels)


def test_a_wheel_that_would_write_outside_is_refused(tmp_path):
    wheel = make_wheel(tmp_path, "six", {"../../../../../six.py": ""})
    with pytest.raises(BuildFailed):
        built(tmp_path / "a/env", [wheel])
    assert not list(tmp_path.rglob("six.py"))
