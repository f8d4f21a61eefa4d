"""What is known of a job's memory and CPU time from its control group, of either version of Linux's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.singleuser import cgroup as module
from launcher.singleuser.cgroup import Cgroup, Memory

GIB = 2**30
UNLIMITED = 9223372036854771712
SECOND = "/system.slice/slurmstepd.scope/job_123/step_batch/user/task_0"
FIRST = "/slurm/uid_1000/job_123/step_batch"


class Node:
    """Files as a node has them below /proc/self and /sys/fs/cgroup."""

    def __init__(self, here):
        self.here = here
        self.process = here / "self"
        self.process.mkdir()
        self.mounts = []

    def belongs(self, *lines):
        (self.process / "cgroup").write_text("".join(f"{line}\n" for line in lines))

    def mount(self, kind, options="rw", point="", root="/"):
        point = self.here / (point or kind)
        self.mounts.append(f"31 23 0:28 {root} {point} rw,nosuid shared:9 - {kind} {kind} {options}\n")
        (self.process / "mountinfo").write_text("".join(self.mounts))
        return point

    def group(self, path, **files):
        path.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (path / name.replace("__", ".")).write_text(f"{text}\n")

    @property
    def cgroup(self):
        return Cgroup(str(self.process))


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


@pytest.fixture
def second(node):
    """A node of version 2 with a job that has 8 GiB."""
    node.belongs(f"0::{SECOND}")
    top = node.mount("cgroup2")
    job = top / "system.slice/slurmstepd.scope/job_123"
    for path in (top, job.parent, job / "step_batch/user/task_0", job / "step_batch/user"):
        node.group(path, memory__max="max", memory__current=1, memory__stat="", memory__events="oom_kill 7")
    node.group(
        job,
        memory__max=8 * GIB,
        memory__current=3 * GIB,
        memory__stat=f"anon 5\ninactive_file {GIB}\nactive_file 9",
        memory__events="low 0\nhigh 0\nmax 4\noom 2\noom_kill 0\noom_group_kill 0",
        cpu__stat="usage_usec 2500000\nuser_usec 1",
    )
    node.group(job / "step_batch", memory__max=8 * GIB, memory__current=1)
    return job


@pytest.fixture
def first(node):
    """A node of version 1 with a job that has 8 GiB."""
    node.belongs(f"5:cpuacct,cpu:{FIRST}", f"4:memory:{FIRST}", "1:name=systemd:/", "0::/")
    node.mount("cgroup2", point="unified")
    memory = node.mount("cgroup", "rw,memory", "memory")
    cpu = node.mount("cgroup", "rw,cpu,cpuacct", "cpu,cpuacct")
    job = memory / "slurm/uid_1000/job_123"
    node.group(
        job,
        memory__limit_in_bytes=8 * GIB,
        memory__usage_in_bytes=3 * GIB,
        memory__stat=f"inactive_file 5\ntotal_inactive_file {GIB}",
        memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 0",
    )
    node.group(
        job / "step_batch",
        memory__limit_in_bytes=UNLIMITED,
        memory__usage_in_bytes=1,
        memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 0",
    )
    node.group(cpu / "slurm/uid_1000/job_123", cpuacct__usage=2_500_000_000)
    return job


@pytest.mark.parametrize("version", ["first", "second"])
def test_it_is_the_jobs_not_the_steps_and_without_idle_file_cache(node, version, request):
    request.getfixturevalue(version)
    assert node.cgroup.memory() == Memory(2 * GIB, 8 * GIB)
    assert node.cgroup.cpu() == 2.5


def test_a_step_that_has_less_than_its_job_is_what_counts(node, second):
    node.group(second / "step_batch", memory__max=GIB, memory__current=5, memory__stat="inactive_file 2")
    assert node.cgroup.memory() == Memory(3, GIB)


def test_a_step_that_has_less_than_its_job_is_what_counts_in_version_1(node, first):
    node.group(first / "step_batch", memory__limit_in_bytes=GIB, memory__usage_in_bytes=5)
    assert node.cgroup.memory() == Memory(5, GIB)


def test_what_holds_above_the_job_is_not_the_jobs(node, second):
    node.group(second.parent, memory__max=GIB)
    assert node.cgroup.memory().limit == 8 * GIB


def test_a_job_without_a_limit_still_tells_what_it_uses(node, second):
    for path in (second, second / "step_batch"):
        node.group(path, memory__max="max")
    assert node.cgroup.memory() == Memory(2 * GIB, None)


def test_a_job_without_a_limit_still_tells_what_it_uses_in_version_1(node, first):
    node.group(first, memory__limit_in_bytes=UNLIMITED)
    assert node.cgroup.memory() == Memory(2 * GIB, None)


def test_what_a_container_has_mounted_of_it_is_found(node, second):
    node.mounts.clear()
    point = node.mount("cgroup2", point="here", root="/system.slice/slurmstepd.scope/job_123")
    node.group(point, memory__max=GIB, memory__current=5)
    assert node.cgroup.memory() == Memory(5, GIB)


@pytest.mark.parametrize(
    "line", ["0::/", "0::/user.slice/user-1000.slice", "0::/../../job_123/step_0", "4:memory:/", "odd", ""]
)
def test_outside_of_a_job_nothing_is_known(node, second, line):
    node.belongs(line)
    nothing(node.cgroup)


def test_where_files_are_missing_nothing_is_known(node, second, tmp_path):
    for path in second.rglob("*.*"):
        path.unlink()
    nothing(node.cgroup)
    nothing(Cgroup(str(tmp_path / "no-such")))


@given(texts=st.tuples(*[st.text(max_size=60)] * 3))
def test_odd_files_are_nothing(tmp_path_factory, texts):
    node = Node(tmp_path_factory.mktemp("node"))
    node.belongs(f"0::{SECOND}", texts[0])
    top = node.mount("cgroup2")
    names = ("memory__max", "memory__current", "memory__stat", "memory__events", "cpu__stat")
    node.group(top / "system.slice/slurmstepd.scope/job_123", **dict.fromkeys(names, texts[1]))
    (node.process / "mountinfo").write_text("".join(node.mounts) + texts[2])
    it = node.cgroup
    it.look()
    assert it.memory() is None or it.memory().used >= 0
    assert it.cpu() is None
    assert not it.out_of_memory()


def nothing(cgroup):
    assert cgroup.memory() is None
    assert cgroup.cpu() is None
    cgroup.look()
    assert not cgroup.out_of_memory()


def test_a_program_that_is_killed_for_want_of_memory_is_noticed_for_a_minute(
    node, second, clock, monkeypatch
):
    monkeypatch.setattr(module, "time", clock)
    it = node.cgroup
    assert not it.out_of_memory()
    node.group(second, memory__events="oom 3\noom_kill 1")
    it.look()
    clock.sleep(30)
    assert it.out_of_memory()
    assert not it.out_of_memory(within=20)
    clock.sleep(31)
    assert not it.out_of_memory()


def test_what_was_killed_before_the_session_began_does_not_count(node, second):
    node.group(second, memory__events="oom_kill 3")
    assert not node.cgroup.out_of_memory()


def test_in_version_1_each_group_counts_its_own(node, first):
    it = node.cgroup
    node.group(first / "step_batch", memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 1")
    assert it.out_of_memory()


def test_a_count_that_can_not_be_read_for_a_while_is_no_news(node, second):
    node.group(second, memory__events="oom_kill 3")
    it = node.cgroup
    (second / "memory.events").unlink()
    it.look()
    node.group(second, memory__events="oom_kill 3")
    assert not it.out_of_memory()
