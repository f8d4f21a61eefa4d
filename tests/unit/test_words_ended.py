"""What a user reads of a session that ended by itself: why, plainly, and what to do about it."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import FirecrestError
from launcher.firecrest import JobStatus
from launcher.singleuser.idle import Idle
from launcher.words.causes import Cause, of_end
from launcher.words.ended import Ended, still_ending

AT = datetime(2026, 11, 22, 14, 20, tzinfo=UTC).timestamp()
HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
AGAIN = "Ask for more memory if it happens again."
WHO = "Your last session (job 123 on nid001)"


def ended(**facts):
    return Ended("123", "nid001", at=AT, **facts)


def said(now=AT + 60, **facts):
    return ended(**facts).words(now)


def why(**facts):
    start = f"{WHO} ended at 14:20 UTC: "
    text = said(**facts)
    assert text.startswith(start)
    return text.removeprefix(start)


class TestWhy:
    @pytest.mark.parametrize(
        ("facts", "words"),
        [
            ({"reason": "walltime"}, "its time was over."),
            ({"reason": "terminated", "status": JobStatus("TIMEOUT")}, "its time was over."),
            ({"exit_code": 138}, "its time was over."),
            ({"reason": "idle", "idle": 30}, "nobody used it for 30 minutes."),
            ({"reason": "idle", "idle": 180}, "nobody used it for 3 hours."),
            ({"reason": "idle"}, "nobody used it for a while."),
            ({"reason": "idle", "message": "No."}, "nobody used it for a while."),
            (
                {"status": JobStatus("OUT_OF_MEMORY"), "memory": "16G"},
                "it used more memory than it had (16 GiB). Ask for more memory, or a node of your own.",
            ),
            (
                {"exit_code": 137, "status": JobStatus("OUT_OF_MEMORY", signal=125)},
                "it used more memory than it had. Ask for more memory, or a node of your own.",
            ),
            ({"status": JobStatus("NODE_FAIL")}, "a node failed."),
            (
                {"reason": "terminated", "status": JobStatus("PREEMPTED")},
                "a job of higher priority took its node. Other partitions or QoS may have none that do.",
            ),
            ({"status": JobStatus("CANCELLED", ended_by="0")}, "it was cancelled by an administrator."),
            ({"status": JobStatus("CANCELLED", ended_by="1000")}, "it was cancelled by user 1000."),
            ({"status": JobStatus("CANCELLED")}, "it was cancelled."),
            (
                {"exit_code": 137, "status": JobStatus("FAILED")},
                f"something killed it; running out of memory is the usual cause. {AGAIN}",
            ),
            (
                {"reason": "terminated", "exit_code": 0, "status": JobStatus("COMPLETED")},
                "it was told to end, as when a job is cancelled or its time is over.",
            ),
            ({"reason": "not-wanted"}, "the hub did not want it any more."),
            ({"exit_code": 1, "status": JobStatus("FAILED")}, "JupyterLab broke down (exit code 1)."),
            ({"status": JobStatus("FAILED", exit_code=1)}, "JupyterLab broke down (exit code 1)."),
            (
                {"status": JobStatus("FAILED", exit_code=0, signal=11)},
                "JupyterLab broke down (exit code 139).",
            ),
            (
                {"reason": "failed", "message": "It ended with KeyError: 'x'", "exit_code": 1},
                "JupyterLab broke down (exit code 1). It said: It ended with KeyError: 'x'",
            ),
            ({"exit_code": 0}, "its job is over."),
            ({"status": JobStatus("")}, "Slurm does not know its job any more."),
            ({"status": JobStatus("FAILED")}, "its job is over (FAILED)."),
            ({}, "its job is over."),
        ],
    )
    def test_in_words(self, facts, words):
        assert why(**facts) == words

    @pytest.mark.parametrize(
        "line",
        [
            "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=123.batch. Some of your processes ...",
            "slurmstepd: error: Detected 1 oom_kill event in StepId=123.batch.",
            "slurmstepd: error: Exceeded job memory limit",
            "kernel: Out of memory: Killed process 4711",
        ],
    )
    def test_the_log_tells_of_memory_where_slurms_state_does_not(self, line):
        facts = {"exit_code": 137, "status": JobStatus("FAILED"), "memory": "64G"}
        assert ended(**facts).obscure
        how = ended(**facts)
        how.read(["so far so good", line])
        assert "it used more memory than it had (64 GiB)." in how.words(AT)

    def test_what_a_node_said_counts_before_what_happened_to_a_kernel_long_before(self):
        """Slurm remembers that a process of the job was killed, though the session went on."""
        status = JobStatus("OUT_OF_MEMORY")
        assert why(reason="idle", idle=30, status=status) == "nobody used it for 30 minutes."
        assert why(reason="walltime", status=status) == "its time was over."

    @pytest.mark.parametrize("state", ["TIMEOUT", "COMPLETED", "FAILED", "OUT_OF_MEMORY"])
    def test_a_session_that_was_signalled_was_so_for_its_time(self, state):
        assert why(reason="walltime", status=JobStatus(state, exit_code=0)) == "its time was over."

    @pytest.mark.parametrize(
        ("status", "words"),
        [
            (JobStatus("PREEMPTED"), "a job of higher priority took its node."),
            (JobStatus("NODE_FAIL"), "a node failed."),
            (JobStatus("CANCELLED", ended_by="0"), "it was cancelled by an administrator."),
        ],
    )
    def test_unless_slurm_knows_another_reason_for_the_signal(self, status, words):
        assert why(reason="walltime", status=status).startswith(words)

    @pytest.mark.parametrize(
        ("minutes", "words"), [(45, "45 minutes"), (1, "60 seconds"), (0.5, "30 seconds"), (240, "4 hours")]
    )
    def test_the_node_knows_best_for_how_long_nobody_used_it(self, minutes, words):
        node = Idle(60 * minutes, None, tell=print, end=print, log=None)
        assert why(reason="idle", message=node.message, idle=30) == f"nobody used it for {words}."

    @pytest.mark.parametrize("message", ["45", "x\nNobody used this server for 45 minutes: no.", "<b>\n"])
    def test_what_is_not_the_nodes_own_sentence_is_not_read(self, message):
        assert why(reason="idle", message=message, idle=30) == "nobody used it for 30 minutes."

    @pytest.mark.parametrize("said_last", ["ModuleNotFoundError: no uenv matches", "couldn't chdir to /home"])
    def test_a_log_says_nothing_of_what_only_starts_fail_for(self, said_last):
        assert why(exit_code=1, log=[said_last]) == "JupyterLab broke down (exit code 1)."

    def test_of_a_log_no_more_is_kept_than_is_shown(self):
        how = ended(exit_code=1)
        how.read([f"{number} {'x' * 10_000}" for number in range(30)])
        assert [line.split()[0] for line in how.log] == [str(number) for number in range(10, 30)]
        assert max(map(len, how.log)) == 500

    def test_slurms_signal_for_memory_is_none_that_a_process_gets(self):
        assert of_end(JobStatus("FAILED", exit_code=0, signal=125), None, "", "") is Cause.MEMORY


class TestWhen:
    def test_a_day_stands_beside_the_time_once_it_is_another(self):
        assert f"{WHO} ended at 14:20 UTC: " in said(AT + 11 * 3600, exit_code=1)
        assert f"{WHO} ended at 14:20 UTC on 22 November: " in said(AT + 13 * 3600, exit_code=1)

    def test_of_one_that_said_nothing_it_is_known_when_the_hub_saw_it(self):
        text = said(heard=False, status=JobStatus("NODE_FAIL"))
        assert text == f"{WHO} has ended, as was seen at 14:20 UTC: a node failed."

    def test_nor_whose_wish_it_was_though_it_was_no_error(self):
        """Its time may have been over, or its user may have pressed Stop in JupyterLab."""
        text = said(heard=False, status=JobStatus("COMPLETED", exit_code=0))
        assert text == f"{WHO} has ended, as was seen at 14:20 UTC: its job is over."

    def test_what_is_not_known_is_not_named(self):
        assert Ended("", "", at=AT, reason="walltime").words(AT).startswith("Your last session ended at")
        assert (
            Ended("7", "", at=AT, reason="walltime").words(AT).startswith("Your last session (job 7) ended")
        )


class TestWhoWantedIt:
    @pytest.mark.parametrize(
        ("facts", "own"),
        [
            ({"reason": "stopped"}, True),
            ({"reason": "exit", "exit_code": 0}, True),
            ({"reason": "exit", "exit_code": 1}, False),
            ({"reason": "terminated"}, False),
            ({"reason": "walltime"}, False),
            ({"exit_code": 0}, False),
            ({}, False),
        ],
    )
    def test_its_user_did_who_pressed_stop_in_it_or_shut_it_down(self, facts, own):
        assert ended(**facts).by_its_user is own


class TestObscure:
    """Only then is FirecREST asked for the job's log."""

    @pytest.mark.parametrize(
        ("facts", "obscure"),
        [
            ({"reason": "walltime"}, False),
            ({"reason": "idle"}, False),
            ({"reason": "stopped"}, False),
            ({"reason": "exit", "exit_code": 0}, False),
            ({"reason": "terminated"}, False),
            ({"exit_code": 137, "status": JobStatus("OUT_OF_MEMORY")}, False),
            ({"status": JobStatus("NODE_FAIL")}, False),
            ({"exit_code": 137}, True),
            ({"exit_code": 1, "status": JobStatus("FAILED")}, True),
            ({"reason": "failed", "message": "No.", "exit_code": 1}, True),
            ({}, True),
        ],
    )
    def test_is_what_neither_node_nor_slurm_explains(self, facts, obscure):
        assert ended(**facts).obscure is obscure


texts = st.text(st.characters(codec=None), max_size=60) | st.sampled_from(
    ["<b>", "a\nb", "\x1b[31m", "\u202e", "\udcff", "x" * 5000, "walltime", "idle", "failed", "terminated"]
)
numbers = st.none() | st.integers(-(2**40), 2**40)
statuses = st.none() | st.builds(
    JobStatus, state=texts, exit_code=numbers, signal=numbers, ended_by=texts, reason=texts
)


@given(
    st.builds(
        Ended,
        job_id=texts,
        node=texts,
        at=st.just(AT),
        reason=texts,
        message=texts,
        exit_code=numbers,
        heard=st.booleans(),
        status=statuses,
        memory=st.sampled_from(["", "16G", "512000M"]),
        idle=st.none() | st.integers(1, 10**6),
    ),
    st.lists(texts, max_size=30),
)
def test_whatever_came_from_a_node_it_is_one_short_plain_line(given_end, log):
    given_end.read(log)
    text = given_end.words(AT)
    assert text.startswith("Your last session")
    assert not HIDDEN.search(text)
    assert len(text) < 1200
    text.encode()
    assert len(given_end.log) <= 20
    "".join(given_end.log).encode()


class TestAStartThatMustWait:
    def test_is_told_so(self):
        error = still_ending("12", None)
        assert (error.what, error.todo) == (
            "Job 12 of your last session is still ending.",
            "Press Start again in a minute.",
        )
        assert still_ending("", None).what == "Your last session is still ending."

    def test_and_why_the_end_can_not_be_seen_to(self):
        error = still_ending("12", FirecrestError("It is down.", why="503", todo="Wait.", status=503))
        assert error.what == (
            "Job 12 of your last session is not known to have ended, so no other is started: It is down."
        )
        assert (error.why, error.todo, error.status) == ("503", "Wait.", 503)
