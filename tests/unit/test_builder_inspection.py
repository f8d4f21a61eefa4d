"""What can be known of an image by looking into it."""

import hashlib
import json
import os
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from launcher.builder import provenance, squashfs
from launcher.builder.inspection import Package, inspect
from launcher.builder.provenance import Verified
from launcher.builder.sbom import Contents, Python, sbom
from launcher.builder.target import Target
from launcher.errors import LauncherError

SITE = "env/jupyter/lib/python3.11/site-packages"
PATH = {"list": {"PATH": [{"op": "prepend", "value": ["/user-tools/env/jupyter/bin"]}]}}
ENV = {
    "name": "jupyterlab",
    "description": "JupyterLab for sessions",
    "mount": "/user-tools",
    "default-view": "jupyter",
    "views": {
        "jupyter": {"description": "In PATH", "env": {"version": 1, "type": "augment", "values": PATH}}
    },
}
CONTENTS = Contents(
    "jupyterlab",
    "4.6.1",
    date(2026, 11, 22),
    Target("aarch64", (2, 31), (3, 11)),
    [],
    Python("Debian bookworm", "3.11.2", "ef" * 32),
)


@pytest.fixture
def image(tmp_path):
    """Make an image of files."""

    def make(files, name="image"):
        tree = tmp_path / name
        tree.mkdir()
        for path, content in files.items():
            file = tree / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else os.fsencode(content))
        squashfs.pack(tree, tmp_path / f"{name}.squashfs", 0, "zstd")
        return tmp_path / f"{name}.squashfs"

    return make


@pytest.fixture
def definition(tmp_path):
    lock = tmp_path / "requirements.txt"
    lock.write_text("")
    return provenance.inputs(CONTENTS, {"requirements.txt": lock}, {"compression": "zstd"})


def env(**changed):
    return {"meta/env.json": json.dumps(ENV | changed)}


def installed(name, version, files, site=SITE):
    """Return files as an installer leaves them, and what it notes of them."""
    record = f"{name}-{version}.dist-info/RECORD"
    rows = "".join(f"{path},,\n" for path in (*files, record))
    return {**{str(Path(site, path)): content for path, content in files.items()}, f"{site}/{record}": rows}


def size_of(found, name):
    (package,) = (each for each in found.packages if each.name == name)
    return package.size


def beside(image, definition, sha256):
    document = provenance.statement(
        image.name,
        sha256,
        definition,
        build_key="ab" * 32,
        started=datetime(2026, 11, 22, tzinfo=UTC),
        finished=datetime(2026, 11, 22, tzinfo=UTC),
        tools={},
        verified=Verified(31, ran=True, glibc=(2, 28)),
    )
    provenance.beside(image, "provenance").write_bytes(provenance.written(document))


def test_an_image_describes_itself(image):
    found = inspect(image(env()))
    assert (found.name, found.mount, found.default_view) == ("jupyterlab", "/user-tools", "jupyter")
    assert found.description == "JupyterLab for sessions"
    (view,) = found.views
    assert (view.name, view.description) == ("jupyter", "In PATH")
    assert view.changes == ("PATH=/user-tools/env/jupyter/bin:$PATH",)
    assert not found.notes


def test_what_a_view_changes_reads_as_in_a_shell(image):
    values = {
        "list": {
            "A": [{"op": "append", "value": ["/a", "/b"]}],
            "B": [{"op": "set", "value": ["/b"]}, {"op": "prepend", "value": ["/c"]}],
            "C": [{"op": "unset"}],
        },
        "scalar": {"D": "text", "E": None},
    }
    (view,) = inspect(image(env(views={"v": {"env": {"values": values}}}))).views
    assert view.changes == ("A=$A:/a:/b", "B=/b", "B=/c:$B", "unset C", "D=text", "unset E")


def test_a_view_that_can_not_be_understood_is_told_as_such(image):
    (view,) = inspect(image(env(views={"v": {"env": {"values": {"list": 7}}}}))).views
    assert view.changes == ("what it changes can't be understood",)


def test_how_it_is_packed_is_read_from_its_beginning(image):
    found = inspect(image(env()))
    assert (found.compression, found.block_size) == ("zstd", 64 << 10)
    assert found.size == found.path.stat().st_size


def test_packages_are_those_that_an_installer_noted(image):
    files = {**installed("Jupyter_Core", "5.8.1", {"a.py": "x"}), **installed("lark", "1.0", {"b.py": "x"})}
    found = inspect(image(files))
    assert [(each.name, each.version) for each in found.packages] == [
        ("jupyter-core", "5.8.1"),
        ("lark", "1.0"),
    ]


def test_a_packages_size_is_that_of_its_files_byte_code_and_programs(image):
    files = installed("some", "1.0", {"some/a.py": "x" * 100, "../../../bin/some": "y" * 1000})
    files[f"{SITE}/some/__pycache__/a.cpython-311.pyc"] = "z" * 10_000
    record = len(files[f"{SITE}/some-1.0.dist-info/RECORD"])
    normal = {
        str(Path(path)).replace(f"{SITE}/../../..", "env/jupyter"): each for path, each in files.items()
    }
    assert size_of(inspect(image(normal)), "some") == 11_100 + record


def test_what_belongs_to_no_package_is_told_by_directory(image):
    files = {
        "python/bin/python3": "x" * 10,
        "code-server/a": "y" * 200,
        "code-server/b": "y" * 100,
        "top": "z",
    }
    found = inspect(image(files))
    assert list(found.rest.items()) == [("code-server/", 300), ("python/", 10), (".", 1)]
    assert found.unpacked == 311


def test_a_record_that_is_nonsense_costs_only_itself(image):
    files = {
        **installed("good", "1.0", {"a.py": "x"}),
        f"{SITE}/bad-1.0.dist-info/RECORD": '\n,\0"\r\x00' * 9,
    }
    assert {each.name for each in inspect(image(files)).packages} == {"good", "bad"}


def test_the_bill_of_materials_may_know_more(image):
    bill = {"components": [{"purl": "pkg:pypi/gone@1.0", "name": "gone", "version": "1.0"}]}
    found = inspect(image({**installed("some", "1.0", {}), "meta/sbom.cdx.json": json.dumps(bill)}))
    assert found.packages[0] == Package("gone", "1.0", 0)
    assert [each.name for each in found.packages] == ["gone", "some"]


def test_an_image_of_ours_tells_what_it_was_made_for(image, definition):
    meta = {
        "meta/sbom.cdx.json": sbom(CONTENTS),
        "meta/provenance.json": provenance.written(definition),
    }
    found = inspect(image({**env(), **meta}))
    assert (found.arch, found.glibc, found.python) == ("aarch64", "2.31", "3.11.2")
    assert (found.interpreter, found.code_server) == ("Debian bookworm", "")
    assert found.locked == date(2026, 11, 22)
    assert found.verified is None


def test_what_verify_saw_is_read_from_beside_the_image(image, definition):
    path = image(env())
    beside(path, definition, hashlib.sha256(path.read_bytes()).hexdigest())
    assert inspect(path).verified == Verified(31, ran=True, glibc=(2, 28))


def test_what_is_said_of_another_image_does_not_count(image, definition):
    path = image(env())
    beside(path, definition, "00" * 32)
    found = inspect(path)
    assert found.verified is None
    assert found.notes == (f"{path.with_name('image.provenance.json')} is of another image.",)


def test_nonsense_beside_an_image_does_not_count(image):
    path = image(env())
    said = path.with_name("image.provenance.json")
    said.write_text("{}")
    assert inspect(path).notes == (f"{said} can't be understood.",)


@pytest.mark.parametrize(("machine", "arch"), [(0x3E, "x86_64"), (0xB7, "aarch64"), (0x15, "")])
def test_the_processors_of_others_images_are_those_of_their_libraries(image, machine, arch):
    library = b"\x7fELF\x02\x01\x01" + bytes(11) + machine.to_bytes(2, "little") + bytes(44)
    found = inspect(image({"linux-zen2/gcc/lib/libgcc_s.so.1": library, "lib/script.so": "INPUT(x)"}))
    assert found.arch == arch


def test_the_python_of_others_images_is_the_one_that_modules_are_for(image):
    assert inspect(image({"env/default/lib/python3.13/site-packages/a.py": ""})).python == "3.13"
    several = {"a/lib/python3.13/b.py": "", "a/lib/python3.12/b.py": ""}
    assert inspect(image(several, "several")).python == ""


def test_a_plain_squashfs_file_is_an_image_too(image):
    found = inspect(image({"README": "text"}))
    assert (found.name, found.mount, found.views, found.packages) == ("", "", (), ())
    assert found.notes == ("It does not describe itself: whoever mounts it must say where.",)


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, "\xff", '{"name": NaN'])
def test_a_description_that_is_none_is_told(image, content):
    assert "meta/env.json can't be understood." in inspect(image({"meta/env.json": content})).notes


@pytest.mark.parametrize("given", [7, None, [], {}, True])
@pytest.mark.parametrize("key", ["name", "mount", "description", "default-view", "views"])
def test_a_description_may_hold_anything(image, key, given):
    found = inspect(image(env(**{key: given})))
    assert isinstance(found.name, str)


def test_views_may_hold_anything(image):
    found = inspect(image(env(views={"a": 7, "b": {"env": 7, "description": 7}, "\x1b": {}})))
    assert [each.name for each in found.views] == ["a", "b", r"\x1b"]


def test_what_an_image_says_can_be_printed(image):
    red = "\x1b[31mred\u202e\udcff\n"
    values = {"scalar": {"A": red}, "list": {"B": [{"op": "set", "value": [red]}]}}
    given = {"name": red, "mount": red, "description": red, "default-view": red}
    given["views"] = {red: {"description": red, "env": {"values": values}}}
    files = {**env(**given), **installed(red, "1.0", {}), f"{red}/a": "x"}
    path = image(files, red)
    path.with_name(f"{red}.provenance.json").write_text("{}")
    found = inspect(path)
    view = found.views[0]
    texts = [found.name, found.mount, found.description, found.default_view, view.name, view.description]
    texts += [*found.notes, *view.changes, *found.rest, *(each.name for each in found.packages)]
    assert all(each.isprintable() for each in texts)


def test_a_description_of_more_than_1_mb_is_not_read(image):
    found = inspect(image(env(more="x" * 1_000_000)))
    assert "meta/env.json is too large to be read." in found.notes
    assert not found.name


def test_what_was_noted_of_packages_is_read_at_once(image, monkeypatch):
    files = {}
    for number in range(9):
        files |= installed(f"p{number}", "1.0", {f"a{number}.py": "x" * number})
    path = image(files)
    reads = []
    read = squashfs.read
    monkeypatch.setattr(squashfs, "read", lambda *given, **how: reads.append(given) or read(*given, **how))
    found = inspect(path)
    assert len(reads) == 1
    noted = len(files[f"{SITE}/p0-1.0.dist-info/RECORD"])
    assert [each.size - noted for each in found.packages] == list(range(9))


@pytest.mark.parametrize("limit", ["_MOST_AT_ONCE", "_LONGEST_NAMES"])
def test_of_what_was_noted_no_more_is_read_than_is_sensible(image, monkeypatch, limit):
    monkeypatch.setattr(f"launcher.builder.inspection.look.{limit}", 10)
    found = inspect(image(installed("some", "1.0", {"a.py": "x"})))
    assert [each.name for each in found.packages] == ["some"]
    assert found.notes[-1].endswith("are too large to be read.")


def test_a_fifo_beside_an_image_is_not_waited_for(image):
    path = image(env())
    os.mkfifo(path.with_name("image.provenance.json"))
    assert "can't be understood" in inspect(path).notes[0]


@pytest.mark.parametrize("gpu", [True, False])
def test_an_image_tells_whether_it_was_built_for_gpus(image, definition, gpu):
    definition["externalParameters"]["gpu"] = gpu
    assert inspect(image({"meta/provenance.json": provenance.written(definition)})).gpu is gpu
    assert inspect(image(env(), "other")).gpu is None


def test_links_are_not_followed(tmp_path, image):
    tree = tmp_path / "linked"
    (tree / "meta").mkdir(parents=True)
    (tree / "meta/env.json").symlink_to("/etc/passwd")
    squashfs.pack(tree, tmp_path / "linked.squashfs", 0, "zstd")
    assert not inspect(tmp_path / "linked.squashfs").name


def test_what_is_no_image_is_refused(tmp_path):
    path = tmp_path / "no.squashfs"
    path.write_text("text")
    with pytest.raises(LauncherError, match="no squashfs file"):
        inspect(path)


def test_a_damaged_image_is_refused(image):
    path = image(env())
    path.write_bytes(path.read_bytes()[:120])
    with pytest.raises(LauncherError, match="damaged"):
        inspect(path)
