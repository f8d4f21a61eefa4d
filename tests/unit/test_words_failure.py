"""What a user reads when a start failed: escaped, plain, and with something to do."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import (
    FirecrestError,
    HubUnreachable,
    InvalidFile,
    InvalidOptions,
    JobRejected,
    LaunchRefused,
    MissingPart,
    NoPort,
    PreflightFailed,
    ServerFailed,
)
from launcher.firecrest import JobStatus
from launcher.words import failure
from launcher.words.causes import Cause
from launcher.words.failure import LaunchFailed, from_error, job_ended, shown
from launcher.words.plain import one_line, plain, tail

MARKUP = "<script>alert(\"1\")</script> & 'x'"
ESCAPED = "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#x27;x&#x27;"
OWN_TAGS = re.compile(r'<br>|</pre>|<pre class="text-start" style="[a-z:; -]+">|<a href="[^"<>\']*">|</a>')
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

anything = st.text(st.characters(codec=None), max_size=60)
hostile = st.sampled_from(
    [MARKUP, "\x1b]8;;x\x07", "\x1b[31m", "a\rb\n", "\u202e", "\udcff", "%s %d {0}", "_" * 500]
)
texts = anything | hostile | st.lists(anything | hostile, max_size=3).map("".join)
numbers = st.none() | st.integers(-(2**40), 2**40)
states = st.sampled_from(
    ["PENDING", "RUNNING", "FAILED", "CANCELLED", "TIMEOUT", "COMPLETED", "OUT_OF_MEMORY"]
)
statuses = st.builds(
    JobStatus,
    state=states | texts,
    reason=texts,
    exit_code=numbers,
    signal=numbers,
    nodes=texts,
    start=numbers,
    ended_by=texts,
)


def lines(failed):
    return failed.jupyterhub_message.splitlines()


def assert_fit_to_be_shown(failed):
    html = failed.jupyterhub_html_message
    html.encode()
    assert not set(OWN_TAGS.sub("", html)) & set("<>\"'")
    for text in (html, failed.jupyterhub_message, str(failed)):
        assert not UNSEEN.search(text)
    assert "\n" not in str(failed)
    assert isinstance(failed.reason, Cause)
    assert 400 <= failed.status_code < 500


def foreign(program):
    """Return a program as one for processors that this machine has not."""
    machine = b"\x3e\0" if program[18] != 0x3E else b"\xb7\0"
    return program[:18] + machine + program[20:]


class TestText:
    def test_message_and_log_are_shown_as_text_and_as_html(self):
        failed = LaunchFailed("It broke.\nTry again.", reason=Cause.ERROR, log=["one", "two"])
        assert failed.jupyterhub_message == "It broke.\nTry again.\nThe end of the job's log:\none\ntwo"
        assert failed.jupyterhub_html_message == (
            "It broke.<br>Try again.<br>The end of the job&#x27;s log:"
            '<pre class="text-start" style="white-space: pre-wrap; overflow-wrap: anywhere">one\ntwo</pre>'
        )
        assert failed.reason == "error"

    @pytest.mark.parametrize("log", [None, [], ["", "\n"], ["\x1b[0m"]])
    def test_without_a_log_nothing_is_said_of_one(self, log):
        assert "log" not in LaunchFailed("It broke.", reason=Cause.ERROR, log=log).jupyterhub_html_message

    def test_of_a_log_the_last_twenty_lines_are_shown(self):
        failed = LaunchFailed("It broke.", reason=Cause.ERROR, log=[f"line {number}" for number in range(30)])
        assert lines(failed)[2:] == [f"line {number}" for number in range(10, 30)]

    def test_markup_is_shown_not_run(self):
        failed = LaunchFailed(MARKUP, reason=Cause.ERROR, log=[MARKUP], links=[(MARKUP, MARKUP)])
        assert failed.jupyterhub_html_message.count(ESCAPED) == 4
        assert "<script" not in failed.jupyterhub_html_message
        assert failed.jupyterhub_message.count(MARKUP) == 4

    def test_a_link_is_shown_in_text_too(self):
        failed = LaunchFailed("Go.", reason=Cause.LOGIN, links=[("Log in", "/hub/in?next=%2F&x=1")])
        assert failed.jupyterhub_message == "Go.\nLog in: /hub/in?next=%2F&x=1"
        assert failed.jupyterhub_html_message == 'Go.<br><a href="/hub/in?next=%2F&amp;x=1">Log in</a>'

    def test_in_the_hubs_log_it_is_one_line(self):
        """A line of its own could pass for a message of the hub's."""
        assert "It broke. [I JupyterHub] all is well" in str(
            LaunchFailed("It broke.\n[I JupyterHub] all is well", reason=Cause.ERROR)
        )

    @given(texts, st.lists(texts, max_size=3), texts)
    def test_whatever_it_holds_can_be_sent_as_a_page_with_only_our_own_tags(self, message, log, label):
        assert_fit_to_be_shown(LaunchFailed(message, reason=Cause.ERROR, log=log, links=[(label, "/hub")]))

    @pytest.mark.parametrize(
        ("raw", "shown"),
        [
            ("\x1b[31mred\x1b[0m", "red"),
            ("\x1b[1;38;5;196mbold\x1b[m", "bold"),
            ("\x1b[38:2::1:2:3mcolon\x1b[m", "colon"),
            ("\x1b[2J\x1b[H\x1b[?25lcleared", "cleared"),
            ("\x1b]0;a title\x07text", "text"),
            ("\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1b]0;no end\ntext", "0;no end\ntext"),
            ("\x1b(Bset\x1b7saved", "setsaved"),
            ("\x1b[32", "[32"),
            ("\x1b\x1b[31m[31m", "[31m"),
            ("bell\a, back\b, null\0, delete\x7f", "bell, back, null, delete"),
            ("\x9b31mred", "31mred"),
            ("a line\r\nanother\n", "a line\nanother\n"),
            ("tab\tstays", "tab\tstays"),
            ("user\u202etxt.exe\u2066\u200f", "usertxt.exe"),
            ("/home/\udcffname", "/home/name"),
            ("é \U0001f600", "é \U0001f600"),
        ],
    )
    def test_what_is_no_text_is_left_out(self, raw, shown):
        assert plain(raw) == shown

    @given(texts)
    def test_nothing_unseen_is_left(self, text):
        assert not UNSEEN.search(plain(text))

    def test_of_a_progress_bar_the_last_state_is_shown(self):
        assert tail(["10%\r55%\r100%\n", "done\r\n"], 20, 80) == ["100%", "", "done"]

    def test_long_lines_are_cut(self):
        assert tail(["x" * 1000], 20, 500) == ["x" * 500]
        assert one_line("a\n b" * 100, 10) == "a ba ba b…"


class TestErrors:
    """Errors that come before there is a job, or from FirecREST."""

    def test_wrong_options_are_told_by_field(self):
        failed = from_error(InvalidOptions({"time": "must be shorter", "": "Use the form."}))
        assert lines(failed)[:3] == ["These options can't be used.", "time: must be shorter", "Use the form."]
        assert failed.reason is Cause.OPTIONS

    def test_of_a_broken_cluster_file_users_see_no_details(self):
        failed = from_error(InvalidFile(["/etc/secret.yaml:3: name: missing"]))
        assert failed.reason is Cause.CONFIGURATION
        assert "secret" not in failed.jupyterhub_message

    @pytest.mark.parametrize(
        ("status", "cause"),
        [(401, Cause.LOGIN), (503, Cause.FIRECREST), (408, Cause.FIRECREST), (None, Cause.FIRECREST)],
    )
    def test_a_log_in_that_is_over_is_told_from_a_firecrest_that_is_down(self, status, cause):
        failed = from_error(FirecrestError("No.", why="It said so.", status=status))
        assert failed.reason is cause
        assert lines(failed) == ["No.", "It said so.", cause.todo]

    def test_what_an_error_itself_advises_is_what_is_advised(self):
        failed = from_error(FirecrestError("No.", todo="Wait.", status=401))
        assert lines(failed) == ["No.", "Wait."]

    def test_a_users_failure_is_none_of_the_hub(self):
        """Enough 5xx in a row make JupyterHub end itself."""
        for error in (JobRejected("x", status=500), FirecrestError("x", status=503), MissingPart("x")):
            assert_fit_to_be_shown(from_error(error))

    @pytest.mark.parametrize(
        ("words", "cause"),
        [
            ("Invalid account or account/partition combination specified", Cause.ACCOUNT),
            ("invalid partition specified: uenv-gpu", Cause.PARTITION),
            ("Batch job submission failed: Invalid partition name specified", Cause.PARTITION),
            ("User's group not permitted to use this partition", Cause.PARTITION),
            ("Required partition not available (inactive or drain)", Cause.PARTITION),
            ("Invalid qos specification", Cause.QOS),
            ("Requested time limit is invalid (missing or exceeds some limit)", Cause.TOO_LONG),
            ("QOSMaxWallDurationPerJobLimit", Cause.TOO_LONG),
            ("Invalid --time specification", Cause.TOO_LONG),
            ("Requested reservation is invalid", Cause.RESERVATION),
            ("Access denied to requested reservation", Cause.RESERVATION),
            ("Requested reservation not usable now", Cause.RESERVATION),
            ("AssocMaxSubmitJobLimit", Cause.LIMIT),
            ("AssocMaxJobsLimit", Cause.LIMIT),
            ("QOSMaxSubmitJobPerUserLimit", Cause.LIMIT),
            ("MaxSubmitJobsPerAccount", Cause.LIMIT),
            (
                "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
                Cause.LIMIT,
            ),
            ("Requested node configuration is not available", Cause.RESOURCES),
            ("Memory required by task is not available", Cause.RESOURCES),
            ("Memory specification can not be satisfied", Cause.RESOURCES),
            ("Invalid feature specification", Cause.RESOURCES),
            ("Invalid generic resource (gres) specification", Cause.RESOURCES),
            ("Node count specification invalid", Cause.RESOURCES),
            ("More processors requested than permitted", Cause.RESOURCES),
            ("no uenv matches 'prgenv-gnu/24.11:v1'", Cause.IMAGE),
            ("Unable to contact slurm controller (connect failure)", Cause.SCHEDULER),
            ("This does not look like a batch script.", Cause.CONFIGURATION),
            ("unrecognized option '--nonsense'", Cause.CONFIGURATION),
            ("Something new", Cause.REJECTED),
            ("", Cause.REJECTED),
        ],
    )
    def test_a_refusal_is_told_in_sbatchs_words_and_with_advice_that_fits(self, words, cause):
        failed = from_error(JobRejected("Refused.", why=f"sbatch: error: {words}", status=500))
        assert lines(failed) == ["Refused.", f"sbatch: error: {words}", cause.todo]
        assert failed.reason is cause

    @given(texts, texts, texts, st.sampled_from([FirecrestError, JobRejected, MissingPart]))
    def test_any_error_is_fit_to_be_shown(self, what, why, todo, kind):
        assert_fit_to_be_shown(from_error(kind(what, why=why, todo=todo)))


class TestLogIn:
    @staticmethod
    def user(login_url):
        authenticator = SimpleNamespace(login_url=lambda hub: f"{hub}{login_url}")
        settings = {
            "hub": SimpleNamespace(base_url="/jh/hub/"),
            "authenticator": authenticator,
            "login_url": "/jh/hub/login",
            "logout_url": "/jh/hub/logout",
        }
        return SimpleNamespace(settings=settings, escaped_name="al%40ice")

    def test_oauthenticators_page_logs_in_anew_and_comes_back(self):
        url = failure.login_url(self.user("oauth_login"), "gpu")
        assert url == "/jh/hub/oauth_login?next=%2Fjh%2Fhub%2Fspawn%2Fal%2540ice%2Fgpu"

    def test_where_the_log_in_page_would_send_back_one_must_log_out_first(self):
        assert failure.login_url(self.user("login")) == "/jh/hub/logout"

    @pytest.mark.parametrize("raised", [lambda error: error, from_error])
    def test_a_failure_for_want_of_a_log_in_links_to_one(self, raised):
        with pytest.raises(LaunchFailed) as caught, shown("/hub/oauth_login?next=%2Fhub"):
            raise raised(FirecrestError("Your log-in has expired.", status=401))
        assert lines(caught.value)[-1] == "Log in again: /hub/oauth_login?next=%2Fhub"
        assert '<a href="/hub/oauth_login?next=%2Fhub">' in caught.value.jupyterhub_html_message

    def test_no_other_failure_does(self):
        with pytest.raises(LaunchFailed) as caught, shown("/hub/oauth_login"):
            raise FirecrestError("It is down.", status=503)
        assert "oauth" not in caught.value.jupyterhub_html_message


class TestEnds:
    """A job that ended before its server was ready."""

    @pytest.mark.parametrize(
        ("status", "facts", "cause"),
        [
            (JobStatus("TIMEOUT", exit_code=0), "TIMEOUT (exit code 0)", Cause.TIME_LIMIT),
            (JobStatus("DEADLINE"), "DEADLINE (no exit code)", Cause.TIME_LIMIT),
            (
                JobStatus("OUT_OF_MEMORY", exit_code=0, signal=125),
                "OUT_OF_MEMORY (exit code 0)",
                Cause.MEMORY,
            ),
            (JobStatus("NODE_FAIL"), "NODE_FAIL (no exit code)", Cause.NODE),
            (JobStatus("BOOT_FAIL"), "BOOT_FAIL (no exit code)", Cause.NODE),
            (JobStatus("PREEMPTED", exit_code=0), "PREEMPTED (exit code 0)", Cause.PREEMPTED),
            (
                JobStatus("CANCELLED", reason="PartitionDown", exit_code=0),
                "CANCELLED (reason PartitionDown, exit code 0)",
                Cause.CANCELLED,
            ),
            (JobStatus("FAILED", exit_code=3), "FAILED (exit code 3)", Cause.FAILED),
            (JobStatus("FAILED", exit_code=126), "FAILED (exit code 126)", Cause.LAUNCHER),
            (JobStatus("FAILED", exit_code=127), "FAILED (exit code 127)", Cause.LAUNCHER),
            (JobStatus("FAILED", exit_code=137), "FAILED (exit code 137)", Cause.KILLED),
            (JobStatus("FAILED", exit_code=143), "FAILED (exit code 143)", Cause.TERMINATED),
            (JobStatus("FAILED", exit_code=0, signal=9), "FAILED (signal 9, exit code 0)", Cause.KILLED),
            (
                JobStatus("FAILED", exit_code=0, signal=15),
                "FAILED (signal 15, exit code 0)",
                Cause.TERMINATED,
            ),
            (JobStatus("COMPLETED", exit_code=0), "COMPLETED (exit code 0)", Cause.FINISHED),
        ],
    )
    def test_it_is_told_with_state_reason_code_cause_and_advice(self, status, facts, cause):
        failed = job_ended("42", status, log=["last line"])
        assert lines(failed)[0] == f"Job 42 ended before JupyterLab was ready: {facts}."
        assert lines(failed)[1:] == [cause.what, cause.todo, "The end of the job's log:", "last line"]
        assert failed.reason is cause

    @pytest.mark.parametrize(
        ("error", "cause"),
        [
            (HubUnreachable, Cause.HUB),
            (LaunchRefused, Cause.UNWANTED),
            (PreflightFailed, Cause.PREFLIGHT),
            (NoPort, Cause.PORT),
            (ServerFailed, Cause.SERVER),
        ],
    )
    def test_the_launchers_own_exit_codes_tell_the_cause_though_its_words_were_lost(self, error, cause):
        failed = job_ended("42", None, exit_code=error.exit_code, log=["x"])
        head = f"Job 42 ended before JupyterLab was ready (exit code {error.exit_code})."
        assert lines(failed)[0] == f"{head} Slurm has not told its state."
        assert failed.reason is cause

    @pytest.mark.parametrize(
        ("log", "cause"),
        [
            ("OSError: [Errno 122] Disk quota exceeded: '/home/a/.local'", Cause.DISK_FULL),
            ("mkdir: cannot create directory: No space left on device", Cause.DISK_FULL),
            ("slurmstepd: error: *** JOB 42 ON n1 CANCELLED AT now DUE TO TIME LIMIT ***", Cause.TIME_LIMIT),
            ("slurmstepd: error: *** JOB 42 ON n1 CANCELLED AT now DUE TO PREEMPTION ***", Cause.PREEMPTED),
            ("*** JOB 42 ON n1 CANCELLED AT now DUE TO NODE FAILURE, SEE SLURMCTLD LOG ***", Cause.NODE),
            ("slurmstepd: error: Detected 1 oom_kill event in StepId=42.batch.", Cause.MEMORY),
            ("slurmstepd: error: Detected 1 oom-kill event(s) in step 42.batch cgroup.", Cause.MEMORY),
            ("/spool/slurm_script: line 51:  4711 Killed    launcher-singleuser", Cause.KILLED),
            ("error: no uenv found that match 'x/1:v1'", Cause.LABEL),
            ("error: more than one uenv found that matches 'x':", Cause.LABEL),
            ("The image x/1:v1 could not be pulled (uenv's exit code: 1).", Cause.PULL),
            ("oras: write /x/store.squashfs: no space left on device", Cause.DISK_FULL),
            ("no uenv matches 'x/1:v1'", Cause.IMAGE),
            ('squashfs-mount: Invalid squashfs image file "/x": No such file', Cause.IMAGE),
            ("slurmstepd: error: invalid squashfs /x (is not a regular file)", Cause.IMAGE),
            ("the mount path /user-tools does not exist", Cause.IMAGE),
            ("error mounting the requested uenv image: /user-tools: failed", Cause.IMAGE),
            ("slurmstepd: error: pyxis: couldn't start container", Cause.IMAGE),
            (
                "slurmstepd: error: execve(): /x/launcher-singleuser: No such file or directory",
                Cause.LAUNCHER,
            ),
            ("slurm_script: line 60: launcher-singleuser: command not found", Cause.LAUNCHER),
            ("slurmstepd: error: couldn't chdir to `/home/a': No such file: going to /tmp", Cause.HOME),
            ("Your home directory /home/a does not exist on this node.", Cause.HOME),
            ("Your home directory /home/a is not a directory on this node.", Cause.HOME),
            ("Your home directory is not known: $HOME is not set.", Cause.HOME),
            ("On this node you may not write to your home directory /home/a.", Cause.HOME),
            ("Nothing can be written to your home directory /home/a.", Cause.HOME),
            ("There is no space left in your home directory /home/a.", Cause.DISK_FULL),
            ("Your quota is used up in the directory for temporary files /scratch/a.", Cause.DISK_FULL),
            ("On this node you may not write to the directory for temporary files /tmp.", Cause.TMPDIR),
            ("The image prgenv/1 is not mounted at /user-environment on this node.", Cause.IMAGE),
            ("The image prgenv/1 has no view jupyter.", Cause.IMAGE),
            (
                "The image prgenv/1 is for aarch64 processors; this node has x86_64.",
                Cause.PROCESSORS,
            ),
            (
                "slurmstepd: error: execve(): /user-tools/bin/launcher-singleuser: Exec format error",
                Cause.PROCESSORS,
            ),
            ("The certificate of the hub at https://hub is not trusted on this node.", Cause.HUB),
            ("The hub at https://hub could not be reached from this node for 120 seconds.", Cause.HUB),
            ("JupyterHub 5.4 on this node does not fit JupyterHub 6.1 at the hub.", Cause.VERSIONS),
            ("slurmstepd: error: Unable to create TMPDIR [/scratch/1]: Permission denied", Cause.TMPDIR),
            ("RuntimeError: CUDA out of memory", Cause.FAILED),
        ],
    )
    def test_a_log_gives_the_cause_away(self, log, cause):
        failed = job_ended("42", JobStatus("FAILED", exit_code=1), log=["before", log, "after"])
        assert failed.reason is cause
        assert lines(failed)[1:3] == [cause.what, cause.todo]

    @pytest.mark.parametrize("shell", ["dash", "bash"])
    @pytest.mark.parametrize(
        ("program", "cause"),
        [
            ("launch-none", Cause.LAUNCHER),
            ("/nonexistent/launch", Cause.LAUNCHER),
            ("{here}/not-executable", Cause.LAUNCHER),
            ("{here}/without-interpreter", Cause.LAUNCHER),
            ("{here}/foreign-program", Cause.PROCESSORS),
            ("{here}/foreign-python", Cause.PROCESSORS),
            ("{here}/launcher-singleuser", Cause.PROCESSORS),
        ],
    )
    def test_what_a_shell_says_of_a_program_that_it_can_not_start_gives_the_cause_away(
        self, tmp_path, shell, program, cause
    ):
        """The batch script starts the launcher by `sh`, which is another shell on each system."""
        called = {
            "not-executable": b"",
            "without-interpreter": b"#!/nonexistent/python\n",
            "foreign-program": foreign(Path(sys.executable).read_bytes()[:4096]),
            # Where there is an ImageMagick, its `import` is no unknown program.
            "launcher-singleuser": f"#!{tmp_path}/foreign-program\nif __name__:\n    main()\n".encode(),
            "foreign-python": f"#!{tmp_path}/foreign-program\nimport sys\nsys.exit(main())\n".encode(),
        }
        for name, content in called.items():
            (tmp_path / name).write_bytes(content)
            (tmp_path / name).chmod(0o644 if name == "not-executable" else 0o755)
        command = [shell, "-c", 'export X=1\nexec "$@"', "sh", program.format(here=tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        failed = job_ended("42", None, exit_code=done.returncode, log=done.stderr.splitlines())
        assert (failed.reason, lines(failed)[1]) == (cause, cause.what)

    def test_slurms_state_counts_more_than_a_log(self):
        log = ["mkdir: No space left on device"]
        assert job_ended("42", JobStatus("NODE_FAIL"), log=log).reason is Cause.NODE

    def test_a_missing_directory_for_temporary_files_counts_only_where_nothing_else_does(self):
        log = ["slurmstepd: error: Unable to create TMPDIR [/scratch/1]: Permission denied"]
        assert job_ended("42", None, exit_code=20, log=log).reason is Cause.HUB

    @pytest.mark.parametrize(
        ("ended_by", "by"),
        [("0", "an administrator"), ("1001", "user 1001"), ("", "you, an administrator or Slurm")],
    )
    def test_who_cancelled_it_is_told_where_it_is_known(self, ended_by, by):
        failed = job_ended("42", JobStatus("CANCELLED", ended_by=ended_by))
        assert lines(failed)[1] in {f"It was cancelled by {by}.", f"It was cancelled, by {by}."}

    def test_what_the_node_said_stands_below_what_happened(self):
        said = "There is no space left in your home directory /home/a.\nDelete something."
        failed = job_ended("42", None, said=said, exit_code=22)
        assert lines(failed)[0].startswith("Job 42 ended before JupyterLab was ready (exit code 22).")
        assert lines(failed)[1:3] == said.splitlines()
        assert "support" in lines(failed)[3]
        assert failed.reason is Cause.DISK_FULL

    def test_a_node_that_said_nothing_has_at_least_ended(self):
        failed = job_ended("", None)
        assert lines(failed)[0].startswith("The job ended before JupyterLab was ready (no exit code).")
        assert lines(failed)[-1] == Cause.HOME.todo

    def test_what_to_do_is_never_cut_off(self):
        failed = job_ended("42", None, said="x\n" * 20_000, exit_code=1)
        assert lines(failed)[-1] == "If it stays so, tell the site's support the job id."

    def test_a_log_that_is_not_there_is_a_clue_too(self):
        silent = job_ended("42", JobStatus("FAILED", exit_code=1)).jupyterhub_message
        assert "home directory may be full" in silent
        assert "no log" not in job_ended("42", JobStatus("FAILED", exit_code=1), log=["x"]).jupyterhub_message


class TestOthers:
    """A job that lives, or that nobody knows, and has no server."""

    def test_a_job_that_says_nothing(self):
        failed = failure.unclaimed("42", 120, JobStatus("RUNNING", exit_code=0, nodes="nid001"), ["hello"])
        assert lines(failed) == [
            "Job 42 runs on nid001, but did not reach the hub for 2 minutes: RUNNING (exit code 0).",
            Cause.UNCLAIMED.what,
            "It is cancelled.",
            Cause.UNCLAIMED.todo,
            "The end of the job's log:",
            "hello",
        ]

    def test_a_job_that_says_nothing_but_in_its_log(self):
        failed = failure.unclaimed("42", 120, JobStatus("RUNNING"), ["no uenv matches 'x'"])
        assert failed.reason is Cause.IMAGE

    def test_a_queue_that_is_too_long(self):
        failed = failure.still_waiting("42", 7200, JobStatus("PENDING", reason="Priority"))
        within = "within 2 hours, which is as long as this hub waits"
        assert lines(failed) == [
            f"Job 42 did not start {within}: PENDING (reason Priority, no exit code).",
            "Job 42 waits for other jobs to end (Priority).",
            "It is cancelled.",
            Cause.QUEUE.todo,
        ]
        assert failed.reason is Cause.QUEUE

    @pytest.mark.parametrize("status", [None, JobStatus("RUNNING", nodes="nid001")])
    def test_a_server_that_is_not_ready_in_time(self, status):
        failed = failure.still_waiting("42", 7200, status)
        assert lines(failed)[0].startswith("Job 42 had no server within 2 hours")

    def test_a_job_that_never_starts(self):
        failed = failure.never_starts("42", JobStatus("PENDING", reason="PartitionTimeLimit"))
        why = "asks for more time than its partition allows, and will never start (PartitionTimeLimit)"
        assert lines(failed) == [
            f"Job 42 {why}: PENDING (reason PartitionTimeLimit, no exit code).",
            "It is cancelled.",
            Cause.TOO_LONG.todo,
        ]
        assert failed.reason is Cause.TOO_LONG

    def test_a_server_where_none_may_be(self):
        failed = failure.wrong_address("42", "Port 80 is none of a user's.")
        assert lines(failed)[:2] == ["Job 42 reported a wrong address.", "Port 80 is none of a user's."]
        assert failed.reason is Cause.ADDRESS

    def test_a_job_that_slurm_does_not_know(self):
        failed = failure.lost("42", ["last line"])
        assert lines(failed)[0].startswith("Job 42 is not known to Slurm any more (no exit code).")
        assert failed.reason is Cause.LOST

    @given(texts, st.none() | statuses, texts, numbers, st.lists(texts, max_size=4))
    def test_whatever_is_known_names_job_state_and_exit_code_says_what_to_do_and_is_fit_to_be_shown(
        self, job_id, status, said, exit_code, log
    ):
        failures = [
            job_ended(job_id, status, said=said, exit_code=exit_code, log=log),
            job_ended(job_id, status, exit_code=exit_code, log=log),
            failure.unclaimed(job_id, 120, status, log),
            failure.still_waiting(job_id, 3600, status),
            failure.never_starts(job_id, status) if status else failure.lost(job_id, log),
        ]
        for failed in failures:
            assert_fit_to_be_shown(failed)
            message = failed.jupyterhub_message
            assert one_line(job_id, 40) in message
            assert "exit code" in message
            assert (one_line(status.state, 40) if status else "state") in message
            assert any(
                todo in message for todo in (*(cause.todo for cause in Cause), "tell the site's support")
            )


def test_there_is_something_to_do_for_every_cause():
    assert all(cause.todo for cause in Cause)
    assert [cause.value for cause in Cause] == [str(cause) for cause in Cause]
