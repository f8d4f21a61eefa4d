"""What programs and libraries say of themselves, and which of them don't fit the machines they are for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import program

from launcher.builder.elf import facts, objections
from launcher.builder.target import Target

MACHINE = os.uname().machine
OTHER = {"x86_64": "aarch64", "aarch64": "x86_64"}[MACHINE]
E_MACHINE = {"x86_64": b"\x3e\x00", "aarch64": b"\xb7\x00"}
# Programs that are linked by a C library from 2.34 on need that one.
OLD, NEW = (2, 17), (2, 99)


def compiled(path: Path, *options: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    source = "#include <stdio.h>\nint main(int c, char **v) { return puts(v[0]); }\n"
    command = [program("gcc"), "-x", "c", "-", "-o", path, "-fno-builtin", *options]
    subprocess.run(command, input=source, text=True, check=True)
    return path


def foreign(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    content[18:20] = E_MACHINE[OTHER]
    path.write_bytes(content)
    return path


def test_a_program_tells_its_machine_libraries_and_their_places(tmp_path):
    told = facts(
        compiled(tmp_path / "tool", "-Wl,-rpath,$ORIGIN/../lib:/opt/lib", "-Wl,--no-as-needed", "-lm")
    )
    assert told.machine == MACHINE
    assert told.needed == ("libm.so.6", "libc.so.6")
    assert told.rpath == ("$ORIGIN/../lib", "/opt/lib")
    assert OLD < told.glibc < NEW


def test_what_is_no_program_has_no_facts(tmp_path):
    (tmp_path / "text").write_text("#!/bin/sh\n")
    (tmp_path / "empty").touch()
    assert facts(tmp_path / "text") is facts(tmp_path / "empty") is None


def test_a_damaged_program_is_refused_whatever_is_missing(tmp_path):
    whole = compiled(tmp_path / "tool").read_bytes()
    damaged = tmp_path / "damaged"
    for size in (4, 40, 1000, len(whole) // 2, len(whole) - 100):
        damaged.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="damaged"):
            facts(damaged)


def test_a_tree_that_fits_tells_what_it_needs(tmp_path):
    compiled(tmp_path / "bin/tool")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("bin/tool")
    wrong, text, highest = objections(tmp_path, Target(MACHINE, NEW, (3, 11)))
    assert wrong == []
    assert OLD < highest < NEW
    assert text.startswith("1 files; highest symbol GLIBC_2.")
    assert "(bin/tool)" in text
    assert "libc.so.6" in text


def test_a_newer_glibc_is_refused(tmp_path):
    compiled(tmp_path / "bin/tool", "-lm")
    (line,), *_ = objections(tmp_path, Target(MACHINE, OLD, (3, 11)))
    assert line.startswith("bin/tool needs glibc 2.")
    assert line.endswith("; the machines have 2.17")


@pytest.mark.parametrize(
    ("rpath", "told"),
    [
        ("/tmp/lib", "/tmp/lib"),
        ("/opt/lib:/dev/shm", "/dev/shm"),
        ("lib", "lib"),
        ("/opt/lib:", "the current directory"),
        ("${ORIGIN}/../../../../../../../../../../../tmp", "tmp"),
    ],
)
def test_libraries_that_anybody_may_put_somewhere_are_refused(tmp_path, rpath, told):
    compiled(tmp_path / "bin/tool", f"-Wl,-rpath,{rpath}")
    (line,), *_ = objections(tmp_path, Target(MACHINE, NEW, (3, 11)))
    assert line.startswith("bin/tool looks for libraries in ")
    assert line.endswith(f"{told}, where anybody may put one")


def test_libraries_in_the_image_or_of_the_system_are_not(tmp_path):
    compiled(tmp_path / "bin/tool", "-Wl,-rpath,$ORIGIN/../lib:/opt/lib")
    # An empty one is none: ld.so(8) looks at the fields of one that is not.
    compiled(tmp_path / "bin/other", "-Wl,-rpath,")
    assert objections(tmp_path, Target(MACHINE, NEW, (3, 11)))[0] == []


def test_a_program_without_sections_is_refused(tmp_path):
    tool = compiled(tmp_path / "bin/tool")
    content = bytearray(tool.read_bytes())
    # e_shoff, e_shnum and e_shstrndx: elf(5).
    content[40:48], content[60:62], content[62:64] = bytes(8), bytes(2), bytes(2)
    tool.write_bytes(content)
    assert subprocess.run([tool], check=False, stdout=subprocess.DEVNULL).returncode >= 0
    (line,), *_ = objections(tmp_path, Target(MACHINE, NEW, (3, 11)))
    assert "has no sections" in line


def test_programs_for_other_processors_are_refused(tmp_path):
    foreign(compiled(tmp_path / "bin/tool"))
    wrong, *_ = objections(tmp_path, Target(MACHINE, NEW, (3, 11)))
    assert wrong == [f"bin/tool is for {OTHER}, not {MACHINE}"]
    assert objections(tmp_path, Target(OTHER, NEW, (3, 11)))[0] == []


def test_an_interpreter_brings_its_libraries(tmp_path):
    library = compiled(tmp_path / "lib/libown.so.1", "-shared", "-Wl,-soname,libown.so.1")
    compiled(
        tmp_path / "image/python/bin/python3", "-Wl,--no-as-needed", f"-L{library.parent}", "-l:libown.so.1"
    )
    target = Target(MACHINE, NEW, (3, 11))
    wrong, *_ = objections(tmp_path / "image", target)
    assert wrong == ["python/bin/python3 needs libown.so.1, which the image does not hold"]
    library.rename(tmp_path / "image/python/libown.so.1")
    assert objections(tmp_path / "image", target)[0] == []


def test_damaged_programs_are_named(tmp_path):
    (tmp_path / "tool").write_bytes(b"\x7fELF and no more")
    (line,), text, highest = objections(tmp_path, Target(MACHINE, NEW, (3, 11)))
    assert "damaged" in line
    assert (text, highest) == ("none", None)


def test_it_runs_as_a_program_of_its_own(tmp_path):
    compiled(tmp_path / "tool")
    command = [sys.executable, "-m", "launcher.builder.elf", tmp_path, MACHINE, "2.17"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert told.startswith('[["tool needs glibc')
