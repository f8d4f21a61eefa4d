"""What a user reads while a job waits."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.firecrest import JobStatus
from launcher.protocol import Pulling
from launcher.words import pending
from launcher.words.causes import Cause

NOW = 1_790_000_000.0  # 14:13:20 UTC on 21 September 2026

WAITS = {
    "Resources": "nodes to become free",
    "Priority": "other jobs to end",
    "": "waits in the queue",
    "Dependency": "another job",
    "BeginTime": "may begin",
    "JobHeldUser": "you or an account coordinator",
    "JobHeldAdmin": "site's support",
    "PartitionDown": "closed",
    "PartitionInactive": "closed",
    "ReqNodeNotAvail": "down or reserved",
    "ReqNodeNotAvail, UnavailableNodes:nid001": "down or reserved",
    "ReqNodeNotAvail,_Reserved_for_maintenance": "maintenance",
    "ReqNodeNotAvail, Reserved for maintenance": "maintenance",
    "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions": "drained",
    "Reservation": "its reservation to begin",
    "Licenses": "license",
    "NodeDown": "down",
    "Cleaning": "made ready",
    "Prolog": "made ready",
    "AssocMaxJobsLimit": "limit on their number",
    "QOSMaxJobsPerUserLimit": "limit on their number",
    "QOSMaxSubmitJobPerUserLimit": "limit on their number",
    "AssocGrpSubmitJobsLimit": "limit on their number",
    "QOSGrpCPURunMinutesLimit": "there is a limit",
    "AssocGrpCPUMinutesLimit": "used up its compute time",
    "AssocGrpGRESMinutes": "used up its compute time",
    "QOSGrpNodeLimit": "to leave room",
    "QOSMaxGRESPerUser": "to leave room",
    "QOSMaxNodePerUserLimit": "to leave room",
    "MaxCpuPerAccount": "to leave room",
    "AccountingPolicy": "to leave room",
    "SomethingNew": "waits (SomethingNew)",
}
NEVER = {
    "PartitionTimeLimit": Cause.TOO_LONG,
    "AssocMaxWallDurationPerJobLimit": Cause.TOO_LONG,
    "QOSMaxWallDurationPerJobLimit": Cause.TOO_LONG,
    "DeadLine": Cause.TOO_LONG,
    "PartitionNodeLimit": Cause.RESOURCES,
    "PartitionConfig": Cause.RESOURCES,
    "BadConstraints": Cause.RESOURCES,
    "MaxMemPerLimit": Cause.RESOURCES,
    "AssocMaxCpuPerJobLimit": Cause.LIMIT,
    "AssocMaxCpuMinutesPerJobLimit": Cause.LIMIT,
    "QOSMaxGRESPerNode": Cause.LIMIT,
    "QOSMinCpuNotSatisfied": Cause.LIMIT,
    "InvalidAccount": Cause.ACCOUNT,
    "AccountNotAllowed": Cause.ACCOUNT,
    "InvalidQOS": Cause.QOS,
    "QOSNotAllowed": Cause.QOS,
    "ReservationDeleted": Cause.RESERVATION,
    "DependencyNeverSatisfied": Cause.REJECTED,
}


def waits(reason, **more):
    return JobStatus("PENDING", reason=reason, **more)


@pytest.mark.parametrize(("reason", "expected"), WAITS.items())
def test_why_a_job_waits_is_told_in_words_and_in_slurms_own_word(reason, expected):
    words = pending.words("12", waits(reason), NOW)
    assert words.startswith("Job 12 ")
    assert expected in words
    assert reason.replace("_", " ")[:100] in words
    assert not pending.hopeless(waits(reason))
    assert pending.cause(waits(reason)) is Cause.QUEUE


@pytest.mark.parametrize(("reason", "cause"), NEVER.items())
def test_what_waiting_does_not_bring_is_told_so(reason, cause):
    assert pending.words("12", waits(reason), NOW).endswith(f", and will never start ({reason})")
    assert pending.hopeless(waits(reason))
    assert pending.cause(waits(reason)) is cause


@pytest.mark.parametrize(
    "status", [JobStatus("RUNNING", reason="BadConstraints"), waits("BadConstraints", nodes="n1")]
)
def test_a_job_that_has_nodes_is_never_given_up(status):
    assert not pending.hopeless(status)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (30, "in about 30 seconds (14:13 UTC)"),
        (400, "in about 7 minutes (14:20 UTC)"),
        (3 * 3600, "in about 3 hours (17:13 UTC)"),
        (3 * 86400, "in about 3 days (14:13 UTC on 24 September)"),
    ],
)
def test_an_expected_start_is_told_in_minutes_and_by_the_clock(seconds, expected):
    words = pending.words("12", waits("Priority", start=NOW + seconds), NOW)
    assert words == f"Job 12 waits for other jobs to end (Priority); expected to start {expected}"


@pytest.mark.parametrize("start", [None, 0, NOW - 60, NOW + 10**9, 2**60])
def test_a_start_that_says_nothing_is_left_out(start):
    assert "expected" not in pending.words("12", waits("Priority", start=start), NOW)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (JobStatus("CONFIGURING", nodes="nid001"), "Job 12 has nodes, which are booting on nid001"),
        (JobStatus("POWER_UP_NODE"), "Job 12 has nodes, which are booting"),
        (JobStatus("SUSPENDED"), "Job 12 is suspended: Slurm lets other jobs run first"),
        (JobStatus("REQUEUED"), "Job 12 goes back into the queue"),
        (JobStatus("RUNNING", nodes="nid[001-002]"), "Job 12 is running on nid[001-002]"),
        (JobStatus("PENDING", nodes="nid001"), "Job 12 is about to run on nid001"),
        (JobStatus("BRAND_NEW"), "Job 12 is BRAND_NEW"),
        (JobStatus(""), "Job 12 is in an unknown state"),
    ],
)
def test_other_states_have_words_too(status, expected):
    assert pending.words("12", status, NOW) == expected


def test_a_long_reason_is_cut():
    assert len(pending.words("12", waits("x" * 200), NOW)) < 150


texts = st.text(st.characters(codec=None), max_size=60)
queued = st.builds(
    JobStatus, state=st.just("PENDING"), reason=texts, start=st.none() | st.integers(-(2**70), 2**70)
)
others = st.builds(JobStatus, state=texts, reason=texts, nodes=texts)


@given(texts, queued | others)
def test_whatever_slurm_says_makes_one_plain_line(job_id, status):
    words = pending.words(job_id, status, NOW)
    words.encode()
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", words)
    assert isinstance(pending.hopeless(status), bool)


GIGABYTE = 10**9


class TestPull:
    """What users read while an image is pulled in the job."""

    FIRST = ": the first use of this image on this cluster"

    @pytest.mark.parametrize(
        ("done", "total", "percent", "amount"),
        [
            (1.2 * GIGABYTE, 3.9 * GIGABYTE, 25, ", 1.2 of 3.9 GB"),
            (0, 3.9 * GIGABYTE, 20, ", 0.0 of 3.9 GB"),
            (4 * GIGABYTE, 3.9 * GIGABYTE, 39, ", 3.9 of 3.9 GB"),
            (31_000_000, 62_000_000, 29, ", 31 of 62 MB"),
            (1.2 * GIGABYTE, None, 20, ", 1.2 GB so far"),
            (None, 3.9 * GIGABYTE, 20, ""),
            (None, None, 20, ""),
        ],
    )
    def test_it_is_told_as_far_as_it_is_known(self, done, total, percent, amount):
        done, total = (None if each is None else int(each) for each in (done, total))
        told = pending.pulling(Pulling("", "prgenv-gnu/24.11:v1", done, total))
        assert told == (percent, f"Pulling prgenv-gnu/24.11:v1{amount}{self.FIRST}")
