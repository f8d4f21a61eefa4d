"""What a lock says, and what does not belong in one."""

import datetime as dt
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.builder.lock import Lock
from launcher.builder.target import Target
from launcher.errors import InvalidFile

ONE, TWO = "1" * 64, "2" * 64
HEADER = "# Made by `launcher lock`.\n# locked: 2026-11-22\n"
GOOD = f"""{HEADER}\
attrs==25.1.0 \\
    --hash=sha256:{ONE} \\
    --hash=sha256:{TWO}
    # via
    #   -c other/requirements.txt
    #   jsonschema
soupsieve==2.10 ; python_full_version < '3.11.5' \\
    --hash=sha256:{ONE}
    # via beautifulsoup4
soupsieve==4.1.2 ; python_full_version >= '3.11.5' \\
    --hash=sha256:{TWO}
appnope==1.0 ; sys_platform == 'darwin' \\
    --hash=sha256:{TWO}
"""
X86 = Target("x86_64", (2, 31), (3, 11))


def read(text):
    return Lock.parse(text, Path("lock.txt"))


def problems(text):
    with pytest.raises(InvalidFile) as caught:
        read(text)
    return caught.value.problems


def test_a_lock_says_versions_hashes_and_its_date(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text(GOOD)
    lock = Lock.read(path)
    assert [(pin.name, pin.version, pin.line) for pin in lock.pins] == [
        ("attrs", "25.1.0", 3),
        ("soupsieve", "2.10", 9),
        ("soupsieve", "4.1.2", 12),
        ("appnope", "1.0", 14),
    ]
    assert lock.pins[0].hashes == {ONE, TWO}
    assert lock.pins[1].marker == "python_full_version < '3.11.5'"
    assert lock.locked == dt.date(2026, 11, 22)
    assert lock.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("python", "version"), [("3.11.2", "2.10"), ("3.11.5", "4.1.2"), ("3.13.0", "4.1.2")]
)
def test_markers_choose_what_a_target_gets(python, version):
    pins = read(GOOD).for_target(X86, python)
    assert {name: pin.version for name, pin in pins.items()} == {"attrs": "25.1.0", "soupsieve": version}


def test_markers_see_the_processors_of_the_target():
    lock = read(f"{HEADER}a==1 ; platform_machine == 'aarch64' \\\n    --hash=sha256:{ONE}\n")
    assert not lock.for_target(X86, "3.11.2")
    assert set(lock.for_target(X86._replace(arch="aarch64"), "3.11.2")) == {"a"}


def test_two_versions_for_one_target_are_a_mistake():
    text = GOOD.replace(">= '3.11.5'", ">= '3.11'")
    with pytest.raises(InvalidFile, match=r"lock.txt:12:1: soupsieve .* line 9"):
        read(text).for_target(X86, "3.11.2")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--index-url https://example.org/simple", "names a host or an index"),
        ("-i https://example.org/simple", "names a host"),
        ("--extra-index-url=mirror", "names a host or an index"),
        ("--find-links /wheels", "names a host or an index"),
        ("--trusted-host mirror", "names a host or an index"),
        ("    # from https://example.org/simple", "names a host"),
        ("a @ https://example.org/a.whl", "names a host"),
        ("a @ file.whl", "is not a line of a lock"),
        ("-r more.txt", "is not a line of a lock"),
        ("-e .", "is not a line of a lock"),
        ("a>=1", "is not a line of a lock"),
        ("A==1", "is not a line of a lock"),
        ("a[extra]==1", "is not a line of a lock"),
        ("./a", "is not a line of a lock"),
        ("", "is not a line of a lock"),
        ("a==not-a-version \\", "is no version"),
        ("a==1 ; nonsense \\", "is no marker"),
        ("a==1", "a has no hash"),
        ("    --hash=sha256:" + ONE, "belongs to no package"),
        ("    --hash=md5:" + "1" * 32, "is not a line of a lock"),
        ("# locked: 2026-11-23", "second date"),
        ("attrs==25.1.0 \\", "is pinned in line 3 already"),
        ("a==1\r", "can't be printed"),
        ("a==1\x1b[2J", "can't be printed"),
        ("a==1\x85b==2", "can't be printed"),
    ],
)
def test_what_uv_does_not_write_is_a_mistake_with_its_line(line, said):
    assert any(said in each for each in problems(f"{GOOD}{line}\n") if ":16:" in each)


def test_all_mistakes_are_told_at_once():
    found = problems(f"--index-url x\na==1\nb==1 \\\nc==1 \\\n    --hash=sha256:{ONE} \\\n")
    assert [(each.line, each.message.split(":")[0]) for each in found] == [
        (1, "names a host or an index, which has no place in a lock"),
        (1, "a line such as '# locked"),
        (2, "a has no hash"),
        (3, "b has no hash"),
        (3, "ends within a package"),
        (4, "must be a hash"),
    ]


@pytest.mark.parametrize(
    "date", ["", "# locked: yesterday\n", "# locked: 2026-13-01\n", "# Locked: 2026-11-22\n"]
)
def test_a_lock_needs_its_date(date):
    problems(GOOD.replace("# locked: 2026-11-22\n", date))


@pytest.mark.parametrize("date", ["1969-01-01", "1980-01-01", "2106-01-01", "9999-12-31"])
def test_the_date_of_a_lock_is_one_that_files_in_archives_can_have(date):
    (problem,) = problems(GOOD.replace("2026-11-22", date))
    assert problem == f"lock.txt:2:1: is no date from 1980-01-02 to 2105-12-31: {date}"


def test_a_lock_that_ends_within_a_package_is_not_one():
    found = problems(GOOD + f"z==1 \\\n    --hash=sha256:{ONE} \\\n")
    assert [str(each) for each in found] == ["lock.txt:16:1: ends within a package"]


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", HEADER.encode(), b"\0" * 100])
def test_a_file_that_is_no_lock_is_refused(tmp_path, data):
    path = tmp_path / "requirements.txt"
    path.write_bytes(data)
    with pytest.raises(InvalidFile):
        Lock.read(path)


def test_a_lock_that_is_not_there_is_said_to_be_unreadable(tmp_path):
    with pytest.raises(InvalidFile, match=r"can't be read: No such file"):
        Lock.read(tmp_path / "none.txt")


PIECES = st.sampled_from(
    [
        *GOOD.splitlines(),
        "",
        " \\",
        "==",
        "://",
        "--index-url x",
        " ; ",
        "a==1",
        "    --hash=sha256:",
        "#",
        "\t",
    ]
)


@given(st.lists(st.one_of(PIECES, st.text(max_size=30)), max_size=12).map("\n".join))
def test_whatever_a_lock_holds_it_is_read_or_refused(text):
    try:
        lock = read(text)
    except InvalidFile as error:
        assert error.problems  # noqa: PT017 - either is fine
    else:
        assert all(pin.hashes for pin in lock.pins)
        assert "://" not in text


@given(st.integers(0, len(GOOD) - 1), st.characters())
def test_a_lock_with_one_other_character_pins_nothing_without_hashes(position, character):
    try:
        lock = read(GOOD[:position] + character + GOOD[position + 1 :])
    except InvalidFile:
        return
    assert all(pin.hashes for pin in lock.pins)
