"""The figures of images: how they are counted, compared and shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import compressions
from benchmarks.images import building, calls, page, starting
from benchmarks.node.places import State, turned
from benchmarks.node.starts import Start
from benchmarks.results import Result, at_most, by_name

IMAGE = Path("/images/tools.squashfs")
TRACE = """\
10 execve("/usr/bin/unshare", ["unshare"], 0x7ffd /* 3 vars */) = 0
11 openat(AT_FDCWD</>, "/images/tools.squashfs", O_RDONLY) = 3</images/tools.squashfs>
10 execve("/user-tools/env/jupyter/bin/python", ["python"], 0x7ffd /* 3 vars */) = 0
10 openat(AT_FDCWD</home/alice>, "/user-tools/python/lib/os.py", O_RDONLY) = 3</user-tools/python/lib/os.py>
10 newfstatat(3</user-tools/python/lib/os.py>, "", {st_mode=S_IFREG}, AT_EMPTY_PATH) = 0
10 newfstatat(AT_FDCWD</home/alice>, "/user-tools/python/lib/os.py", {st_mode=S_IFREG}, 0) = 0
10 newfstatat(AT_FDCWD</home/alice>, "/user-tools/python/lib/no.py", 0x7ffd, 0) = -1 ENOENT (No such file)
10 readlink("/user-tools/env/jupyter/bin/python", 0x7ffd, 4096) = -1 EINVAL (Invalid argument)
10 openat(AT_FDCWD</home/alice>, "/user-tools/python/lib",  <unfinished ...>
12 openat(AT_FDCWD</home/alice>, "/user-tools-of-others/file", O_RDONLY) = 5</user-tools-of-others/file>
10 <... openat resumed>O_RDONLY|O_DIRECTORY) = 4</user-tools/python/lib>
10 getdents64(4</user-tools/python/lib>, 0x5581 /* 90 entries */, 32768) = 2800
10 getdents64(4</user-tools/python/lib>, 0x5581 /* 0 entries */, 32768) = 0
10 openat(AT_FDCWD</user-tools/python/lib>, "/home/alice/.jupyter", O_RDONLY) = -1 ENOENT (No such file)
10 +++ killed by SIGKILL +++
"""


def test_calls_that_name_a_path_below_the_mount_are_counted():
    found = calls.counted(TRACE.splitlines(), "/user-tools", IMAGE)
    assert found == calls.Calls(opens=3, looks=3, listings=1, paths=4, image=1)
    assert found.total == 7


def test_calls_become_the_seconds_that_a_start_waits_and_a_server_is_busy():
    counted = calls.Calls(opens=1500, looks=3800, listings=100, paths=4000, image=2)
    assert counted.waiting(0.3) == pytest.approx(1.62)
    assert counted.queue(starts=1000, per_second=50_000) == pytest.approx(108)


def starts(*seconds):
    return [Start(each, each / 2, 1_000_000, 100.0) for each in seconds]


def test_image_and_directory_are_compared_in_the_pairs_that_ran_one_after_the_other():
    # The machine was busy during the second pair.
    seen = {starting.IMAGE: starts(2.0, 8.8, 2.1), starting.DIRECTORY: starts(2.0, 8.0, 2.0)}
    start, ratio, cpu, read = starting.compared(State.WARM, seen)
    assert (start.value, start.peers, start.spread) == (2.1, {"directory": 2.0}, (2.0, 8.8))
    assert (ratio.value, ratio.spread, ratio.holds) == (1.05, (1.0, 1.1), True)
    assert (cpu.value, read.value) == (1.05, 1.0)


@pytest.mark.parametrize(("state", "target"), [(State.WARM, 1.05), (State.ANEW, None), (State.COLD, 1.05)])
def test_a_start_from_the_image_has_a_target(state, target):
    seen = {starting.IMAGE: starts(2.2), starting.DIRECTORY: starts(2.0)}
    ratio = starting.compared(state, seen)[1]
    assert (ratio.target, ratio.holds) == (target and at_most(target), target is None)


def test_no_place_is_always_the_first_of_a_round():
    assert [turned(["a", "b", "c"], number) for number in (0, 1, 5)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
    ]


def test_the_builders_own_compression_is_among_those_that_are_compared():
    assert compressions.default() in compressions.WAYS


def figures():
    """All figures, each with the value 1."""
    names = [building.BUILD, building.AGAIN, building.SIZE, building.FILES]
    names += [calls.OPENS, calls.LOOKS, calls.LISTINGS, calls.PATHS, calls.IMAGE]
    names += [building.DIRECTORY, building.SHARE]
    for state in State:
        names += [*starting.names(state), starting.ratio_name(state)]
    peers = {starting.DIRECTORY: 2.0, building.LENGTHS: 3.0}
    return by_name(Result(name, 1, "s", (1, 1), at_most(5), peers=peers) for name in names)


def compressed():
    """All figures of compressions, each with the value 1."""
    names = [compressions.SIZE, compressions.PACKING]
    for state in compressions.STATES:
        names += compressions.names(state)
    others = {way.name: 2.0 for way in compressions.WAYS if way != compressions.default()}
    return by_name(Result(name, 1, "s", (1, 1), peers=others) for name in names)


@pytest.mark.parametrize(
    ("text", "count"), [(page.shown(figures()), 3), (compressions.shown(compressed()), 1)]
)
def test_every_row_of_a_table_has_all_columns(text, count):
    tables = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    assert len(tables) == count
    for each in tables:
        assert len({line.count("|") for line in each.splitlines()}) == 1


def test_the_own_way_of_compressing_stands_out_in_its_row():
    rows = compressions.shown(compressed()).splitlines()[2:]
    own = [row for row in rows if "**" in row]
    assert len(rows) == len(compressions.WAYS)
    assert own == [f"| **{compressions.default().name}** |{' 1 |' * 8}"]
