"""What squeue and sinfo print, in FirecREST's words (reference: the table of states in firecrest-v2)."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from launcher.sandbox.scheduler.slurm_text import Columns, read_job, read_nodes, read_partition

START = int(time.time()) - 100
RECORD = {
    "JobID": "7",
    "UserName": "alice",
    "UserID": "1001",
    "GroupName": "users",
    "Account": "(null)",
    "Partition": "normal",
    "State": "RUNNING",
    "Reason": "None",
    "exit_code": "0",
    "NodeList": "nid001",
    "NumNodes": "1",
    "StartTime": str(START),
    "EndTime": str(START + 3600),
    "TimeLimit": "1:00:00",
    "PriorityLong": "4294901759",
    "SubmitTime": str(START - 5),
    "Name": "a job",
    "Comment": "(null)",
    "WorkDir": "/home/alice",
    "STDIN": "/dev/null",
    "STDOUT": "/home/alice/%x-%j.out",
    "STDERR": "/home/alice/%N.err",
}
PENDING = {"State": "PENDING", "NodeList": "", "StartTime": "N/A", "EndTime": "N/A"}


def job(*, cancelled_by=None, script="", **fields):
    def owner(uid: int, comment: str) -> str:
        return f"{uid}:{comment}"

    return read_job(RECORD | fields, owner=owner, cancelled_by=cancelled_by or {}, script=script)


def test_a_running_job():
    found = job(script="#!/bin/bash")
    assert (found.id, found.name, found.unix_user, found.group) == ("7", "a job", "alice", "users")
    assert (found.state, found.reason, found.exit_code, found.signal) == ("RUNNING", "None", 0, 0)
    assert (found.nodes, found.allocation_nodes, found.project) == ("nid001", 1, "")
    assert (found.start, found.end, found.limit) == (START, START + 3600, 3600)
    assert 100 <= found.elapsed <= time.time() - START
    assert (found.submitted, found.priority) == (START - 5, 4294901759)
    assert (found.standard_output, found.standard_error) == ("/home/alice/a job-7.out", "/home/alice/%N.err")
    assert found.script == "#!/bin/bash"


@pytest.mark.parametrize(
    "reason", ["None", "Resources", "Priority", "PartitionDown", "JobHeldUser", "BeginTime"]
)
def test_a_waiting_job(reason):
    found = job(**PENDING, Reason=reason)
    assert (found.state, found.reason, found.exit_code, found.signal) == ("PENDING", reason, None, None)
    assert (found.nodes, found.start, found.end, found.elapsed) == ("", None, None, 0)


def test_a_waiting_job_with_an_expected_start():
    later = int(time.time()) + 1000
    found = job(**PENDING | {"StartTime": str(later), "EndTime": str(later + 60)}, Reason="Resources")
    assert (found.start, found.end, found.elapsed) == (later, later + 60, 0)


@pytest.mark.parametrize(
    ("state", "reason", "status", "exit_code", "signal"),
    [
        ("COMPLETED", "None", 0, 0, 0),
        ("FAILED", "NonZeroExitCode", 3 << 8, 3, 0),
        ("FAILED", "JobLaunchFailure", 9, 0, 9),
        ("FAILED", "JobLaunchFailure", 4021, 0, 53),
        ("TIMEOUT", "TimeLimit", 15, 0, 0),
        ("NODE_FAIL", "NodeDown", 0, 0, 0),
        ("OUT_OF_MEMORY", "OutOfMemory", 0x7D00, 125, 0),
    ],
)
def test_an_ended_job(state, reason, status, exit_code, signal):
    found = job(State=state, Reason=reason, exit_code=str(status), EndTime=str(START + 9))
    assert (found.state, found.reason) == (state, "None")
    assert (found.exit_code, found.signal) == (exit_code, signal)
    assert (found.start, found.end, found.elapsed) == (START, START + 9, 9)


def test_a_cancelled_job_tells_by_whom():
    assert job(State="CANCELLED").state == "CANCELLED by 1001"
    assert job(State="CANCELLED", cancelled_by={"7": 1002}).state == "CANCELLED by 1002"


def test_a_cancelled_job_shows_before_its_processes_are_gone():
    found = job(State="COMPLETING", EndTime=str(START + 9), cancelled_by={"7": 1001})
    assert (found.state, found.elapsed) == ("CANCELLED by 1001", 9)
    assert job(State="COMPLETING").state == "COMPLETING"


def test_a_job_that_was_cancelled_before_it_ran():
    never = {"NodeList": "", "StartTime": str(START), "EndTime": str(START)}
    found = job(State="CANCELLED", Reason="Priority", **never)
    assert (found.reason, found.nodes, found.allocation_nodes) == ("Priority", "None assigned", 0)
    assert (found.start, found.end, found.elapsed) == (None, START, 0)


@pytest.mark.parametrize(("text", "limit"), [("UNLIMITED", None), ("INVALID", None), ("30:00", 1800)])
def test_a_limit(text, limit):
    assert job(TimeLimit=text).limit == limit


def test_a_state_that_nobody_knows_is_shown_as_it_is():
    assert job(State="NEW_STATE").state == "NEW_STATE"


def test_the_owner_is_told_by_user_id_and_comment():
    assert job(Comment="bob").account_name == "1001:bob"
    assert job().account_name == "1001:"


@given(st.lists(st.lists(st.text(), min_size=3, max_size=3), max_size=5))
@example([["\n", "", ""]])
def test_columns_can_be_told_apart_whatever_is_in_them(lines):
    columns = Columns(["A", "B", "C"])
    mark = columns.option.removeprefix("--Format=").split(",")[0].removeprefix("A:")
    printed = "".join("".join(value + mark for value in line) + "\n" for line in lines)
    assert [list(record.values()) for record in columns.records(printed)] == lines


def test_a_mark_between_columns_is_never_the_same():
    assert Columns(["A"]).option != Columns(["A"]).option


NODE = {
    "NodeList": "nid001",
    "StateComplete": "mixed+completing",
    "CPUsState": "1/3/0/4",
    "Sockets": "4",
    "Cores": "1",
    "Threads": "1",
    "CPUsLoad": "0.25",
    "FreeMem": "23000",
    "AllocMem": "0",
    "PartitionName": "normal",
    "NodeAddr": "127.0.0.1",
    "NodeHost": "vm",
    "Features": "(null)",
    "Weight": "1",
}


def test_a_node_stands_once_with_its_partitions():
    first, second = read_nodes([NODE, NODE | {"PartitionName": "debug"}, NODE | {"NodeList": "nid002"}])
    assert (first.name, first.partitions) == ("nid001", ("normal", "debug"))
    assert (first.state, first.cpus, first.allocated_cpus) == (("MIXED", "COMPLETING"), 4, 1)
    assert (first.cpu_load, first.free_memory, first.address) == (0.25, 23000, "127.0.0.1")
    assert (second.name, second.partitions) == ("nid002", ("normal",))


def test_a_node_that_never_answered():
    unknown = {"StateComplete": "unknown*", "CPUsLoad": "N/A", "FreeMem": "N/A"}
    (node,) = read_nodes([NODE | unknown])
    assert (node.state, node.cpu_load, node.free_memory) == (("UNKNOWN",), 0.0, 0)


def test_a_partition():
    record = {
        "Partition": "normal*",
        "CPUsState": "1/7/0/8",
        "Nodes": "2",
        "Available": "up",
        "Time": "4:00:00",
    }
    found = read_partition(record)
    assert (found.name, found.default, found.cpus, found.nodes) == ("normal", True, 8, 2)
    assert (found.state, found.limit) == ("UP", 4 * 3600)
