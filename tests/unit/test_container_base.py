"""What is found out about a base image, whose files may be anybody's."""

import json
import os
import re
import subprocess
import venv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.builder.container import base as module
from launcher.builder.container.base import Kernel
from launcher.errors import BuildFailed

GLIBC = b"\x7fELF\0GNU C Library (Debian GLIBC 2.%d-9+deb12u7) stable release version 2.%d.\0Copyright"
STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u7
Description: GNU C Library
 Package: evil
 Version: 1

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: halfway
Status: install ok half-installed
Version: 1

Package: tzdata
Version: 2024a-0+deb12u1
Architecture: all
Status: hold ok installed
"""


@pytest.fixture
def root(tmp_path):
    """An image's files, below a directory that holds what is not its own."""
    outside = write(tmp_path / "outside/libc.so.6", GLIBC % (99, 99))
    write(tmp_path / "outside/status", STATUS)
    assert outside.exists()
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def link(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


class TestGlibc:
    @pytest.mark.parametrize(
        ("directory", "arch"),
        [
            ("lib/x86_64-linux-gnu", "x86_64"),
            ("usr/lib/aarch64-linux-gnu", "aarch64"),
            ("lib64", "x86_64"),
            ("usr/lib64", "aarch64"),
            ("lib", "x86_64"),
        ],
    )
    def test_it_is_found_where_systems_have_it(self, root, directory, arch):
        write(root / directory / "libc.so.6", GLIBC % (36, 36))
        assert module._glibc(root, arch) == (2, 36)

    def test_it_is_found_through_links_inside(self, root):
        write(root / "usr/lib/x86_64-linux-gnu/libc-2.31.so", GLIBC % (31, 31))
        link(root / "usr/lib/x86_64-linux-gnu/libc.so.6", "libc-2.31.so")
        link(root / "lib", "usr/lib")
        assert module._glibc(root, "x86_64") == (2, 31)

    def test_of_other_processors_it_is_not_this_ones(self, root):
        write(root / "lib/aarch64-linux-gnu/libc.so.6", GLIBC % (36, 36))
        with pytest.raises(BuildFailed):
            module._glibc(root, "x86_64")

    @pytest.mark.parametrize(
        "content", [b"", b"musl libc (x86_64)", b"GNU C Library version 3.1", b"\xff" * 99]
    )
    def test_a_system_without_it_is_told_with_what_to_do(self, root, content):
        write(root / "lib/ld-musl-x86_64.so.1", b"\x7fELF")
        write(root / "lib/libc.so.6", content)
        with pytest.raises(BuildFailed, match="has no glibc") as error:
            module._glibc(root, "x86_64")
        assert "Alpine" in error.value.why
        assert "Debian" in error.value.todo


class TestRead:
    @pytest.mark.parametrize("target", ["../../outside/libc.so.6", "{}/outside/libc.so.6", "/etc/hostname"])
    def test_no_link_leads_out(self, root, target):
        link(root / "lib/libc.so.6", target.format(root.parent))
        assert module._read(root, "lib/libc.so.6") == b""

    @pytest.mark.parametrize("target", ["../outside", "{}/outside"])
    def test_no_directory_on_the_way_leads_out(self, root, target):
        link(root / "lib", target.format(root.parent))
        assert module._read(root, "lib/libc.so.6") == b""

    @pytest.mark.parametrize("path", ["../outside/libc.so.6", "lib/../../outside/libc.so.6", "", ".", "none"])
    def test_no_path_leads_out_or_to_a_directory(self, root, path):
        (root / "lib").mkdir()
        assert module._read(root, path) == b""

    def test_links_that_lead_in_circles_lead_nowhere(self, root):
        link(root / "one", "two")
        link(root / "two", "one")
        assert module._read(root, "one") == b""

    def test_a_pipe_is_no_file(self, root):
        os.mkfifo(root / "pipe")
        assert module._read(root, "pipe") == b""

    def test_not_more_is_read_than_such_a_file_has(self, root, monkeypatch):
        monkeypatch.setattr(module, "_LARGEST", 5)
        write(root / "file", b"0123456789")
        assert module._read(root, "file") == b"01234"

    def test_a_root_may_itself_be_reached_by_a_link(self, root):
        write(root / "file", b"content")
        link(root.parent / "link", "root")
        assert module._read(root.parent / "link", "file") == b"content"


def debian(root, status):
    write(root / "var/lib/dpkg/status", status)
    return list(module._debian(root))


class TestDebian:
    def test_what_is_installed_is_told(self, root):
        assert debian(root, STATUS) == [
            ("libc6", "2.36-9+deb12u7", "amd64"),
            ("tzdata", "2024a-0+deb12u1", "all"),
        ]

    def test_other_systems_have_none(self, root):
        assert list(module._debian(root)) == []
        link(root / "var/lib/dpkg/status", root.parent / "outside/status")
        assert list(module._debian(root)) == []

    @pytest.mark.parametrize(
        "name", ["/", "../x", "-x", "a b", "a\x1b[2J", "a?b=c", "<script>", "ä", '"', "a%20"]
    )
    def test_what_can_be_no_package_is_none(self, root, name):
        assert debian(root, f"Package: {name}\nVersion: 1\nStatus: install ok installed\n") == []

    @pytest.mark.parametrize("name", ["a", "libstdc++6", "g++", "0ad", "libfoo-1.2-dev", "python3.11"])
    def test_what_packages_are_called_is_a_name(self, root, name):
        told = debian(root, f"Package: {name}\nVersion: 1:2~rc-3\nStatus: install ok installed\n")
        assert told == [(name, "1:2~rc-3", "all")]

    def test_versions_are_told_in_a_line_that_can_be_printed(self, root):
        text = f"Package: a\nVersion: \x1b[2J{'1' * 999}\nArchitecture: \x07\nStatus: x installed\n"
        ((_, version, arch),) = debian(root, text)
        assert (version[:7], arch) == (r"\x1b[2J", r"\x07")
        assert len(version) <= 200

    @given(st.text())
    def test_whatever_the_file_says_nothing_but_plain_texts_are_told(self, tmp_path_factory, text):
        root = tmp_path_factory.mktemp("root")
        lines = f"Status: install ok installed\nPackage: {text}\nVersion: {text}\nArchitecture: {text}\n"
        for each in debian(root, f"{lines}\n{text}\n{lines}".encode(errors="replace")):
            assert all(isinstance(part, str) and part.isprintable() for part in each)


FACTS = {
    "version": "3.12.3",
    "kernel": True,
    "pip": True,
    "paths": ["/usr/lib/python3/dist-packages"],
    "packages": [["numpy", "1.26.4"], ["torch", "2.8.0a0+nv25.6"]],
    "constraints": "numpy==1.26.4",
}


@pytest.fixture
def python(monkeypatch, root):
    """What a Python of the image that prints and ends so is taken for."""

    def tells(output, errors=b"", code=0):
        def run(directory, argv, variables, *, timeout):
            assert (directory, argv[:3]) == (root, ["python3", "-I", "-c"])
            return subprocess.CompletedProcess(argv, code, output, errors)

        monkeypatch.setattr(module, "run", run)
        return Kernel(**module._kernel(root, {}))

    return tells


class TestKernel:
    def test_what_a_python_tells_after_a_banner_is_read(self, python):
        told = python(b"== PyTorch ==\n\n" + json.dumps(FACTS).encode() + b"\n")
        assert (told.version, told.kernel, told.pip, told.paths) == ("3.12.3", True, True, FACTS["paths"])
        assert told.packages == [("numpy", "1.26.4"), ("torch", "2.8.0a0+nv25.6")]
        assert told.constraints == "numpy==1.26.4"

    @pytest.mark.parametrize(
        "name", ["", "/", " ", "-r", "a @ https://example.org/a.whl#", "a[b]", "\x1b[2J", "a\nb"]
    )
    def test_what_can_be_no_package_is_none(self, python, name):
        packages = [[name, "1"], ["good", "1"]]
        assert python(json.dumps({**FACTS, "packages": packages}).encode()).packages == [("good", "1")]

    @pytest.mark.parametrize("version", ["", " ", "\x1b[2J", "1 2", "1\n", "1 @ x", "1; x", "1" * 101])
    def test_what_has_no_version_is_none(self, python, version):
        packages = [["odd", version], ["good", "1!2.0a0+nv25-1_2"]]
        told = python(json.dumps({**FACTS, "packages": packages}).encode())
        assert told.packages == [("good", "1!2.0a0+nv25-1_2")]

    @pytest.mark.parametrize(
        "output",
        [
            b"",
            b"\n",
            b"no JSON",
            b"[]",
            b"7",
            b"null",
            b"{}",
            b"\xff\xfe",
            b"[" * 100_000,
            *(
                json.dumps({**FACTS, **wrong}).encode()
                for wrong in (
                    {"version": "3"},
                    {"version": "3.x.1"},
                    {"version": None},
                    {"packages": [["a"]]},
                    {"packages": 1},
                    {"packages": [[1, 2]]},
                    {"packages": [["a", None]]},
                    {"paths": None},
                )
            ),
        ],
    )
    def test_one_that_does_not_tell_is_told_in_its_last_words(self, python, output):
        with pytest.raises(BuildFailed, match="python3 does not run") as error:
            python(output, b"1\n2\n\x1b[31mtwo\nno such file\n", 127)
        assert error.value.why == "2\n\\x1b[31mtwo\nno such file"
        assert "`kernel: false`" in error.value.todo

    def test_one_that_says_nothing_is_told_with_how_it_ended(self, python):
        with pytest.raises(BuildFailed) as error:
            python(b"", b"", 139)
        assert error.value.why == "It ended with 139."


def installed(directory, *metadata):
    """Put a package into a directory, as it describes itself."""
    number = len(list(directory.glob("*.dist-info")))
    write(directory / f"package{number}.dist-info/METADATA", "".join(f"{line}\n" for line in metadata))


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What a Python of its own tells that runs here; packages of `first` come before those of `second`."""
    venv.create(tmp_path / "python", symlinks=True)
    (first,) = (tmp_path / "python/lib").glob("python3.*/site-packages")
    second = tmp_path / "second"
    second.mkdir()
    write(first / "second.pth", f"{second}\n")

    def run(root, argv, environment, *, timeout):
        program = [tmp_path / "python/bin" / argv[0], *argv[1:]]
        return subprocess.run(program, env=environment, capture_output=True, check=False, timeout=timeout)

    def tells(**environment):
        return Kernel(**module._kernel(tmp_path, environment))

    monkeypatch.setattr(module, "run", run)
    tells.first, tells.second = first, second
    return tells


class TestAsked:
    def test_it_tells_of_itself(self, asked):
        told = asked()
        assert re.fullmatch(r"3\.\d+\.\d+", told.version)
        assert (told.kernel, told.pip, told.packages, told.constraints) == (False, False, [], "")
        assert told.paths[0] == str(asked.first)
        assert all(Path(each).is_absolute() for each in told.paths)

    def test_of_a_package_in_two_directories_the_one_that_is_imported_counts(self, asked):
        installed(asked.first, "Name: Foo.Bar", "Version: 2.0")
        installed(asked.second, "Name: foo_bar", "Version: 1.0")
        installed(asked.second, "Name: other", "Version: 3.0")
        assert asked().packages == [("Foo.Bar", "2.0"), ("other", "3.0")]

    @pytest.mark.parametrize("metadata", [[], ["Name: odd"], ["Version: 1.0"], ["Name: odd", "Version: 1 0"]])
    def test_what_was_removed_by_half_is_none(self, asked, metadata):
        installed(asked.first, *metadata)
        installed(asked.second, "Name: good", "Version: 1.0")
        assert asked().packages == [("good", "1.0")]

    def test_all_constraints_are_read(self, asked, tmp_path):
        one = write(tmp_path / "one.txt", "numpy==1.26.4\n")
        two = write(tmp_path / "two.txt", b"# gr\xfcn\ntorch<3")
        told = asked(PIP_CONSTRAINT=f"{one} https://example.org/c.txt /none {tmp_path}\n{two}")
        lines = told.constraints.splitlines()
        assert ("numpy==1.26.4" in lines, lines[-1]) == (True, "torch<3")

    @pytest.mark.parametrize("path", ["", "https://example.org/c.txt", "/none", "/"])
    def test_constraints_that_are_no_file_are_none(self, asked, path):
        assert asked(PIP_CONSTRAINT=path).constraints == ""
