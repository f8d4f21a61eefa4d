"""Which code-server an image holds, and what an archive may not do while it is unpacked."""

import hashlib
import io
import struct
import tarfile
from pathlib import Path

import pytest

import launcher
from launcher.builder.code_server import CodeServerPin, pinned, unpack
from launcher.errors import BuildFailed, InvalidFile, UsageError

TOP = "code-server-4.0.1-linux-amd64"
SHIPPED = Path(launcher.__file__).parents[1] / "uenv/jupyterlab/code-server.yaml"


def member(name, *, kind=tarfile.REGTYPE, mode=0o644, link="", data=b""):
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.linkname, entry.size = kind, mode, link, len(data)
    entry.uid = entry.gid = 4711
    entry.mtime = 1
    return entry, data


RELEASE = [
    member(TOP, kind=tarfile.DIRTYPE, mode=0o775),
    member(f"{TOP}/bin", kind=tarfile.DIRTYPE, mode=0o700),
    member(f"{TOP}/bin/code-server", mode=0o775, data=b"#!/bin/sh\n"),
    member(f"{TOP}/lib/node", mode=0o700, data=b"node"),
    member(f"{TOP}/lib/same", kind=tarfile.LNKTYPE, link=f"{TOP}/lib/node", mode=0o700),
    member(f"{TOP}/bin/link", kind=tarfile.SYMTYPE, link="../lib/node", mode=0o777),
    member(f"{TOP}/LICENSE", mode=0o664, data=b"MIT"),
]


@pytest.fixture
def release(tmp_path):
    """Write an archive, and the pin that it has."""

    def write(*members):
        archive, pin = tmp_path / f"{TOP}.tar.gz", tmp_path / "code-server.yaml"
        with tarfile.open(archive, "w:gz") as tar:
            for entry, data in members:
                tar.addfile(entry, io.BytesIO(data))
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        pin.write_text(f"# Kept.\nversion: 4.0.1\nsha256:\n  x86_64: {digest}\n")
        return pin, archive

    return write


def below(directory):
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


def test_the_shipped_pins_are_whole():
    pin = CodeServerPin.load(SHIPPED)
    assert set(pin.sha256) == {"x86_64", "aarch64"}
    assert pin.archive("x86_64") == f"code-server-{pin.version}-linux-amd64.tar.gz"
    assert pin.archive("aarch64") == f"code-server-{pin.version}-linux-arm64.tar.gz"


def test_all_mistakes_in_pins_are_told_at_once(tmp_path):
    path = tmp_path / "code-server.yaml"
    path.write_text("version: newest\nsha256:\n  amd64: " + "a" * 64 + "\n  x86_64: abc\nurl: x\n")
    with pytest.raises(InvalidFile) as caught:
        CodeServerPin.load(path)
    assert [each.line for each in caught.value.problems] == [1, 4, 5]
    path.write_text("version: 4.0.1\nsha256:\n  amd64: " + "a" * 64 + "\n")
    with pytest.raises(InvalidFile, match="is not one of x86_64, aarch64"):
        CodeServerPin.load(path)


def test_a_release_is_unpacked_without_its_directory_and_readable_for_all(tmp_path, release):
    target = tmp_path / "image/code-server"
    unpack(*release(*RELEASE), "x86_64", target)
    assert below(target) == ["LICENSE", "bin", "bin/code-server", "bin/link", "lib", "lib/node", "lib/same"]
    modes = {name: (target / name).stat().st_mode & 0o7777 for name in ("bin", "bin/code-server", "LICENSE")}
    assert modes == {"bin": 0o755, "bin/code-server": 0o755, "LICENSE": 0o644}
    assert (target / "bin/link").read_text() == (target / "lib/same").read_text() == "node"
    assert below(tmp_path / "image")[0] == "code-server"


def elf(machine):
    """The head of a program for processors, without anything in it."""
    return (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, *[0] * 4, 64, *[0] * 5)
    )


def test_of_programs_only_those_for_the_processors_and_this_system_are_unpacked(tmp_path, release):
    bin_, packages = f"{TOP}/bin", f"{TOP}/node_modules"
    members = [
        member(f"{bin_}/ours", mode=0o755, data=elf(62)),
        member(f"{bin_}/theirs", mode=0o755, data=elf(183)),
        member(f"{packages}/a/prebuilds/darwin-x64/a.node", data=b"mach"),
        member(f"{packages}/a/prebuilds/linux-x64/a.node", data=elf(62)),
        member(f"{packages}/a/test/fixtures/key.pem", data=b"key"),
        member(f"{packages}/a/src/a.test.ts", data=b"test"),
        member(f"{packages}/a/src/test/a.js", data=b"module"),
    ]
    unpack(*release(*RELEASE, *members), "x86_64", tmp_path / "to")
    files = {path for path in below(tmp_path / "to") if (tmp_path / "to" / path).is_file()}
    more = {"bin/ours", "node_modules/a/prebuilds/linux-x64/a.node", "node_modules/a/src/test/a.js"}
    assert files - {"LICENSE", "bin/code-server", "bin/link", "lib/node", "lib/same"} == more


def test_another_file_is_refused_and_the_right_one_is_named(tmp_path, release):
    pin, archive = release(*RELEASE)
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(BuildFailed) as caught:
        unpack(pin, archive, "x86_64", tmp_path / "to")
    assert f"{TOP}.tar.gz" in caught.value.todo
    assert "coder/code-server/releases/tag/v4.0.1" in caught.value.todo
    assert not (tmp_path / "to").exists()


def test_processors_without_a_pin_get_none(tmp_path, release):
    with pytest.raises(BuildFailed, match="no code-server for aarch64"):
        unpack(*release(*RELEASE), "aarch64", tmp_path / "to")


@pytest.mark.parametrize(
    "bad",
    [
        member("/etc/passwd"),
        member(f"/{TOP}/a"),
        member(f"{TOP}/../../a"),
        member(f"{TOP}/a/../../../b"),
        member("../a"),
        member("other/a"),
        member(f"{TOP}/a\nb"),
        member(f"{TOP}/s", mode=0o4755),
        member(f"{TOP}/s", mode=0o2755),
        member(f"{TOP}/d", kind=tarfile.DIRTYPE, mode=0o1777),
        member(f"{TOP}/null", kind=tarfile.CHRTYPE),
        member(f"{TOP}/disk", kind=tarfile.BLKTYPE),
        member(f"{TOP}/pipe", kind=tarfile.FIFOTYPE),
        member(f"{TOP}/l", kind=tarfile.SYMTYPE, link="/etc/passwd"),
        member(f"{TOP}/l", kind=tarfile.SYMTYPE, link="../../../etc/passwd"),
        member(f"{TOP}/l", kind=tarfile.LNKTYPE, link="/etc/passwd"),
        member(f"{TOP}/l", kind=tarfile.LNKTYPE, link="other/a"),
        member(f"{TOP}/l", kind=tarfile.LNKTYPE, link=f"{TOP}/../../a"),
        member(f"{TOP}/l", kind=tarfile.LNKTYPE, link=TOP),
        member(TOP),
    ],
    ids=lambda each: f"{each[0].name!r} {each[0].type!r} {each[0].mode:o} {each[0].linkname}",
)
def test_what_no_release_holds_is_refused_and_nothing_is_left(tmp_path, release, bad):
    target = tmp_path / "image/code-server"
    with pytest.raises(BuildFailed):
        unpack(*release(*RELEASE, bad), "x86_64", target)
    assert not list(target.parent.iterdir())


@pytest.mark.parametrize(
    "links",
    [
        [("way", "../.."), ("way/in", None)],
        [("bin/way", "../lib"), ("bin/way/in", None)],
        [("bin/a", ".."), ("out", "bin/a/..")],
        [("bin/link", "../lib/node"), ("bin/link", None)],
        [("lib/node", "../bin")],
    ],
    ids=lambda each: " ".join(name for name, _ in each),
)
def test_nothing_is_written_through_a_link_and_none_leads_out_by_another(tmp_path, release, links):
    more = [
        member(f"{TOP}/{name}", data=b"bad")
        if link is None
        else member(f"{TOP}/{name}", kind=tarfile.SYMTYPE, link=link)
        for name, link in links
    ]
    target = tmp_path / "image/code-server"
    plain = [each for each in RELEASE if not each[0].issym()]
    with pytest.raises(BuildFailed):
        unpack(*release(*plain, *more), "x86_64", target)
    assert not list(target.parent.iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {f"{TOP}.tar.gz", "code-server.yaml", "image"}


@pytest.mark.parametrize("data", [b"", b"no archive", b"\x1f\x8b\x08\0\0\0\0\0\0\0"])
def test_what_is_no_archive_is_refused(tmp_path, release, data):
    pin, archive = release()
    pin.write_text(
        pin.read_text().replace(
            hashlib.sha256(archive.read_bytes()).hexdigest(), hashlib.sha256(data).hexdigest()
        )
    )
    archive.write_bytes(data)
    with pytest.raises(BuildFailed, match="can't be unpacked"):
        unpack(pin, archive, "x86_64", tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_the_files_of_a_new_release_are_pinned_together(tmp_path, release):
    pin, _ = release(*RELEASE)
    pin.write_text(pin.read_text() + "  aarch64: " + "b" * 64 + "\n")
    files = [tmp_path / f"code-server-4.1.0-linux-{arch}.tar.gz" for arch in ("arm64", "amd64")]
    for file in files:
        file.write_bytes(file.name.encode())
    pin.write_text(pinned(pin, files))
    new = CodeServerPin.load(pin)
    assert new.version == "4.1.0"
    assert new.sha256["x86_64"] == hashlib.sha256(files[1].name.encode()).hexdigest()
    assert pin.read_text().startswith("# Kept.\n")
    with pytest.raises(UsageError, match=r"4.2.0-linux-arm64"):
        pinned(pin, [files[1].rename(tmp_path / "code-server-4.2.0-linux-amd64.tar.gz")])


def test_one_file_of_the_same_release_leaves_the_others(release):
    pin, archive = release(*RELEASE)
    before = pin.read_text()
    assert pinned(pin, [archive]) == before


@pytest.mark.parametrize("name", ["code-server.tar.gz", "code-server-4.1.0-macos-arm64.tar.gz"])
def test_files_that_are_not_named_as_in_a_release_are_refused(tmp_path, release, name):
    pin, _ = release(*RELEASE)
    with pytest.raises(UsageError, match="is not named as a file of a release"):
        pinned(pin, [tmp_path / name])
