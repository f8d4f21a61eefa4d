"""What a user reads when a start failed: escaped, plain, and with something to do."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import FirecrestError, InvalidOptions, JobRejected, MissingPart
from launcher.spawner.failure import LaunchFailed, from_error, job_ended, node_said, plain
from launcher.spawner.firecrest import JobStatus

MARKUP = "<script>alert(\"1\")</script> & 'x'"
ESCAPED = "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#x27;x&#x27;"


class TestText:
    def test_message_and_log_are_shown_as_text_and_as_html(self):
        failed = LaunchFailed("It broke.\nTry again.", reason="broken", log=["one", "two"])
        assert failed.jupyterhub_message == "It broke.\nTry again.\nThe end of the job's log:\none\ntwo"
        assert failed.jupyterhub_html_message == (
            "It broke.<br>Try again.<br>The end of the job&#x27;s log:"
            '<pre class="text-start" style="white-space: pre-wrap; overflow-wrap: anywhere">one\ntwo</pre>'
        )
        assert failed.reason == "broken"

    def test_without_a_log_nothing_is_said_of_one(self):
        assert "log" not in LaunchFailed("It broke.", reason="x", log=[]).jupyterhub_html_message

    def test_markup_in_a_message_or_a_log_is_shown_not_run(self):
        failed = LaunchFailed(MARKUP, reason="x", log=[MARKUP])
        assert failed.jupyterhub_html_message.count(ESCAPED) == 2
        assert "<script" not in failed.jupyterhub_html_message
        assert failed.jupyterhub_message.count(MARKUP) == 2

    @given(st.text(st.characters(codec=None)), st.lists(st.text(st.characters(codec=None)), max_size=3))
    def test_whatever_a_node_says_can_be_sent_as_a_page_with_only_our_own_tags(self, message, log):
        html = LaunchFailed(message, reason="x", log=log).jupyterhub_html_message
        html.encode()
        html = re.sub(r'<br>|</pre>|<pre class="text-start" style="[a-z:; -]+">', "", html)
        assert not set(html) & set("<>\"'")

    @pytest.mark.parametrize(
        ("raw", "shown"),
        [
            ("\x1b[31mred\x1b[0m", "red"),
            ("\x1b[1;38;5;196mbold\x1b[m", "bold"),
            ("\x1b[2J\x1b[H\x1b[?25lcleared", "cleared"),
            ("\x1b[32", "[32"),
            ("bell\a, back\b, null\0, delete\x7f", "bell, back, null, delete"),
            ("\x9b31mred", "31mred"),
            ("a line\r\nanother\n", "a line\nanother\n"),
            ("tab\tstays", "tab\tstays"),
            ("/home/\udcffname", "/home/name"),
            ("é \U0001f600", "é \U0001f600"),
        ],
    )
    def test_terminal_sequences_and_control_characters_are_left_out(self, raw, shown):
        assert plain(raw) == shown

    def test_a_users_failure_is_none_of_the_hub(self):
        """Enough 5xx in a row make JupyterHub end itself."""
        errors = [
            InvalidOptions({"time": "x"}),
            JobRejected("x", status=500),
            FirecrestError("x", status=503),
            FirecrestError("x"),
            MissingPart("x"),
        ]
        assert all(400 <= from_error(error).status_code < 500 for error in errors)


class TestCauses:
    def test_wrong_options_are_told_by_field(self):
        failed = from_error(InvalidOptions({"time": "must be shorter", "": "Use the form."}))
        assert (
            failed.jupyterhub_message == "These options can't be used.\ntime: must be shorter\nUse the form."
        )
        assert failed.reason == "options"

    def test_the_schedulers_refusal_is_told_in_its_own_words(self):
        words = "sbatch: error: invalid partition specified: gpu"
        failed = from_error(JobRejected("The scheduler refused the job.", why=words, status=500))
        assert failed.jupyterhub_message == f"The scheduler refused the job.\n{words}"
        assert failed.reason == "rejected"

    @pytest.mark.parametrize(("status", "reason"), [(401, "login"), (503, "firecrest"), (None, "firecrest")])
    def test_a_log_in_that_is_over_is_told_from_a_firecrest_that_is_down(self, status, reason):
        assert from_error(FirecrestError("No.", status=status)).reason == reason

    @pytest.mark.parametrize(
        ("status", "said", "advice"),
        [
            (JobStatus("TIMEOUT", exit_code=0), "TIMEOUT (exit code 0).", "Choose a longer time."),
            (JobStatus("OUT_OF_MEMORY", exit_code=0, signal=9), "OUT_OF_MEMORY (signal 9).", "memory"),
            (JobStatus("NODE_FAIL"), "NODE_FAIL.", "another node"),
            (
                JobStatus("CANCELLED", reason="PartitionDown", exit_code=0),
                "CANCELLED (reason PartitionDown, exit code 0).",
                "cancelled",
            ),
            (JobStatus("PREEMPTED"), "PREEMPTED.", "priority"),
            (JobStatus("FAILED", exit_code=3), "FAILED (exit code 3).", ""),
        ],
    )
    def test_a_job_that_ended_is_told_with_state_reason_code_and_advice(self, status, said, advice):
        failed = job_ended("42", status, ["last line"])
        lines = failed.jupyterhub_message.splitlines()
        assert lines[0] == f"Job 42 ended before JupyterLab was ready: {said}"
        assert advice in lines[1]
        assert lines[-1] == "last line"
        assert failed.reason == f"job_{status.state.lower()}"

    def test_a_jobs_reason_is_escaped_like_all_else(self):
        assert (
            "<script" not in job_ended("42", JobStatus("FAILED", reason=MARKUP), []).jupyterhub_html_message
        )

    def test_what_the_node_said_stands_below_what_happened(self):
        failed = node_said("42", "Home is full.\nDelete something.", 22, [])
        assert failed.jupyterhub_message.splitlines() == [
            "Job 42 ended before JupyterLab was ready (exit code 22).",
            "Home is full.",
            "Delete something.",
        ]

    def test_a_node_that_said_nothing_has_at_least_ended(self):
        assert node_said("", "", None, []).jupyterhub_message == "The job ended before JupyterLab was ready."
