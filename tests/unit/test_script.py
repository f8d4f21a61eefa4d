"""The batch script: what it says, and, run for real with a stand-in for the server, what it does."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import program

from launcher.clusters import Cluster, LaunchFacts, log_path, parse_options, render
from launcher.errors import InvalidFile, InvalidOptions, LauncherError
from launcher.protocol import ScriptExit, parse_event

TICKET = "5ec2e7" + "0" * 58
LAUNCH_ID = "1a" * 16
FACTS = {
    "name": "tiny",
    "title": "Tiny cluster",
    "firecrest": {"url": "https://firecrest.example.org/v2", "system": "tiny"},
    "home": "/home/{user}",
    "launcher": "/opt/launcher/bin/launcher-singleuser",
    "partitions": [{"name": "normal", "time_limit": 240}, {"name": "debug", "time_limit": 30}],
    "times": [15, 30, 60, 240],
    "node_addresses": ["10.0.0.0/8"],
    "claim_timeout": 90,
}
CLUSTER = Cluster.model_validate(FACTS)


def script(options=None, *, url="https://hub.example.org/hub/api", templates=None, **facts):
    cluster = Cluster.model_validate({**FACTS, **facts})
    site = LaunchFacts(launch_id=LAUNCH_ID, ticket=TICKET, hub_api_url=url, user="alice")
    directories = [templates] if templates else []
    return render(cluster, parse_options(cluster, options or {}), site, directories=directories)


def directives(text):
    """Return what Slurm reads: it stops at the first line that is neither comment nor blank."""
    found = []
    for line in text.split("\n"):
        if line.startswith("#SBATCH "):
            found.append(line.removeprefix("#SBATCH "))
        elif line.strip() and not line.startswith("#"):
            return found
    return found


class TestText:
    def test_the_same_arguments_give_the_same_bytes(self):
        assert len({script({"partition": "debug", "time": 15}).encode() for _ in range(3)}) == 1

    def test_slurm_reads_what_was_asked_for_and_nothing_more(self):
        assert directives(script({"partition": "debug", "time": 15})) == [
            "--job-name=jupyterhub-launcher",
            "--output=jupyterlab-%j.log",
            "--partition=debug",
            "--nodes=1",
            "--ntasks=1",
            "--time=15",
            "--no-requeue",
            "--signal=B:USR1@60",
        ]

    def test_the_log_lies_where_the_hub_will_look_for_it(self):
        output = next(each for each in directives(script()) if each.startswith("--output="))
        name = output.removeprefix("--output=").replace("%j", "42")
        assert log_path(CLUSTER, "alice", "42") == f"{CLUSTER.home_of('alice')}/{name}"

    def test_the_first_comment_tells_the_launch(self):
        assert script().split("\n")[:2] == ["#!/bin/bash", f"# launch {LAUNCH_ID}"]

    def test_the_ticket_stands_in_one_place(self):
        assert script().count(TICKET) == 1

    def test_bash_takes_it_for_a_script(self, tmp_path):
        for templates in (None, site_templates(tmp_path, setup="true", teardown="true")):
            text = script(templates=templates, **({"template": "site.j2"} if templates else {}))
            subprocess.run(["bash", "-n"], input=text, text=True, check=True)

    @given(
        st.dictionaries(
            st.sampled_from(["partition", "time", "extra"]),
            st.sampled_from(["normal", "debug", 15, "60"])
            | st.text(max_size=30)
            | st.text("\n\r\0\"'`$(){};#SBATCH \u2028\u2029\x85", max_size=30)
            | st.text(max_size=8).map(lambda text: f"debug\n#SBATCH --{text}")
            | st.lists(st.text(max_size=5), max_size=2),
        )
    )
    def test_nothing_that_a_user_types_becomes_a_directive_or_shell(self, options):
        try:
            text = script(options)
        except InvalidOptions:
            return
        lines = script().split("\n")
        changed = [line for line, usual in zip(text.split("\n"), lines, strict=True) if line != usual]
        assert set(changed) <= {f"#SBATCH --time={minutes}" for minutes in (15, 30, 240)} | {
            "#SBATCH --partition=debug"
        }

    @given(st.text(max_size=40) | st.text("\n\r\0\"'`$(){};# \\\u2028\x85é", max_size=20))
    def test_a_hub_url_is_refused_or_stays_one_word_of_one_line(self, tail):
        url = f"https://hub.example.org/{tail}"
        try:
            text = script(url=url)
        except ValueError:
            return
        lines = text.split("\n")
        assert len(lines) == len(script().split("\n"))
        (line,) = (line for line in lines if line.startswith("launch_hub="))
        assert shlex.split(line) == [f"launch_hub={url}"]

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "hub.example.org",
            "ftp://hub.example.org",
            "file:///etc/passwd",
            "http://",
            "http://[",
            "http://hub.example.org/\n",
            "http://hub.example.org/\0",
            "http://hub.example.org/\u2028",
            "javascript:alert(1)",
        ],
    )
    def test_a_hub_url_that_is_none_is_refused(self, url):
        with pytest.raises(ValueError, match=r"hub_api_url|IPv6"):
            script(url=url)

    @pytest.mark.parametrize(
        "user",
        ["", "alice\n", "alice; reboot", "../root", "-rf", "$(id)", "a b", "älice", "a" * 65, ".", "a/b"],
    )
    def test_a_user_whom_no_cluster_can_have_is_refused(self, user):
        with pytest.raises(LauncherError, match="not a name that a user of a cluster can have"):
            LaunchFacts(launch_id=LAUNCH_ID, ticket=TICKET, hub_api_url="http://hub/hub/api", user=user)

    @pytest.mark.parametrize("wrong", ["", "a" * 31, "A" * 64, "a" * 64 + "\n", "$(id)" + "a" * 60])
    def test_a_ticket_or_launch_id_that_is_none_is_refused(self, wrong):
        for names in ({"ticket": wrong, "launch_id": LAUNCH_ID}, {"ticket": TICKET, "launch_id": wrong}):
            with pytest.raises(ValueError, match="hexadecimal"):
                LaunchFacts(hub_api_url="http://hub/hub/api", user="alice", **names)

    def test_no_ticket_shows_when_a_launch_is_printed(self):
        site = LaunchFacts(LAUNCH_ID, TICKET, "http://hub/hub/api", "alice")
        assert TICKET not in f"{site} {site!r}"


class TestTemplateMistakes:
    """A site's own template: its mistakes come with file and line."""

    @pytest.mark.parametrize(
        ("template", "problem"),
        [
            ("#!/bin/bash\n{% if %}\n", "site.j2:2: Expected an expression"),
            ("\n\n{{ nowhere }}", "site.j2:3: 'nowhere' is undefined"),
            (
                "{% extends 'slurm.sh.j2' %}\n{% block setup %}\n{{ request.gpus }}{% endblock %}",
                "site.j2:3: ",
            ),
            ("{% extends 'gone.sh.j2' %}", "site.j2:1: 'gone.sh.j2' not found"),
            ("\n{{ 1 + 'a' }}", "site.j2:2: unsupported operand"),
            ("\n{{ request.time / 0 }}", "site.j2:2: division by zero"),
            ("{{ request.partition | quote }}", "site.j2:1: No filter named 'quote'"),
            ("{{ cluster.__class__.__mro__ }}", "site.j2:1: access to attribute '__class__'"),
            ("{{ cluster.partitions.append(1) }}", "site.j2:1: "),
        ],
    )
    def test_a_mistake_is_told_with_its_place(self, tmp_path, template, problem):
        (tmp_path / "site.j2").write_text(template)
        with pytest.raises(InvalidFile) as error:
            script(templates=tmp_path, template="site.j2")
        assert problem in str(error.value)
        assert TICKET not in str(error.value)

    def test_a_template_that_is_not_there_is_named(self):
        with pytest.raises(InvalidFile, match=r"none\.sh\.j2"):
            script(template="none.sh.j2")


def site_templates(directory, **blocks):
    """Make a directory with a template that overrides blocks of the project's own."""
    lines = ["{% extends 'slurm.sh.j2' %}"]
    for name, text in blocks.items():
        lines += [f"{{% block {name} %}}", text, "{% endblock %}"]
    (directory / "site.j2").write_text("\n".join(lines))
    return directory


class Job:
    """The script, run as Slurm runs it: bash, a file, and a directory to start in."""

    def __init__(self, directory, text, path, environment):
        file = directory / "slurm_script"
        file.write_text(text)
        self._log = (directory / "job.log").open("w+")
        self.process = subprocess.Popen(
            ["/bin/bash", file],
            cwd=directory,
            env={"PATH": path, "SLURM_JOB_ID": "42", **environment},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._log.close()

    @property
    def log(self):
        self._log.seek(0)
        return self._log.read()

    def end(self):
        return self.process.wait(timeout=30)


@pytest.fixture
def run(tmp_path, hub):
    """Return a function that starts a rendered script, with a small program in the server's place."""
    with contextlib.ExitStack() as jobs:

        def start(server, *, programs=("curl",), environment=None, **facts):
            launcher = tmp_path / "launcher-singleuser"
            launcher.write_text(f'#!/bin/bash\ncd "{tmp_path}"\n{server}\n')
            launcher.chmod(0o755)
            text = script(url=hub.url, **{"launcher": str(launcher), **facts})
            path = only(tmp_path / "bin", programs)
            return jobs.enter_context(Job(tmp_path, text, path, environment or {}))

        yield start


def only(directory, names):
    """Make a PATH in which only some programs are found."""
    directory.mkdir()
    for name in names:
        # Not a version manager's python3: that is a script, which needs more of a PATH.
        found = os.path.realpath(sys.executable) if name == "python3" else program(name)
        (directory / name).symlink_to(found)
    return str(directory)


def appears(path):
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


def reports(hub):
    """Return what the hub heard, after a look at how it heard it."""
    for post in hub.posts:
        assert post.path == "/hub/api/launcher/events"
        assert post.headers["Content-Type"] == "application/json"
    return [parse_event(post.body) for post in hub.posts]


class TestEnd:
    """However the script ends, the hub hears of it at once and Slurm gets the server's exit code."""

    @pytest.mark.parametrize("code", [0, 3, 127])
    @pytest.mark.parametrize("program", ["curl", "python3"])
    def test_the_servers_exit_code_is_kept_and_reported(self, run, hub, code, program):
        job = run(f"exit {code}", programs=[program])
        assert job.end() == code
        assert reports(hub) == [ScriptExit(TICKET, code)]
        assert job.log == ""

    def test_curl_and_python_say_the_same_where_both_are(self, run, hub):
        assert run("exit 4", programs=["curl", "python3"]).end() == 4
        assert reports(hub) == [ScriptExit(TICKET, 4)]

    def test_a_node_with_neither_keeps_the_exit_code(self, run, hub):
        assert run("exit 4", programs=[]).end() == 4
        assert hub.posts == []

    @pytest.mark.parametrize("program", ["curl", "python3"])
    def test_a_hub_that_does_not_answer_changes_nothing(self, run, hub, program):
        hub.close()
        job = run("exit 4", programs=[program])
        assert job.end() == 4
        assert TICKET not in job.log

    @pytest.mark.parametrize("program", ["curl", "python3"])
    def test_the_hub_is_told_directly_whatever_proxy_the_user_has_set(self, run, hub, program):
        proxies = dict.fromkeys(["http_proxy", "https_proxy", "all_proxy"], "http://127.0.0.1:9")
        assert run("exit 4", programs=[program], environment=proxies).end() == 4
        assert reports(hub) == [ScriptExit(TICKET, 4)]

    def test_a_server_that_is_not_there_is_reported(self, run, hub, tmp_path):
        job = run("", launcher=f"{tmp_path}/none/launcher-singleuser")
        assert job.end() == 127
        assert reports(hub) == [ScriptExit(TICKET, 127)]
        assert "No such file or directory" in job.log

    def test_a_server_that_is_killed_is_reported(self, run, hub):
        assert run("kill -KILL $$").end() == 137
        assert reports(hub) == [ScriptExit(TICKET, 137)]

    def test_a_site_s_setup_that_gives_up_is_reported(self, run, hub, tmp_path):
        templates = site_templates(tmp_path, setup="exit 5")
        assert run(": > started", templates=templates, template="site.j2").end() == 5
        assert reports(hub) == [ScriptExit(TICKET, 5)]
        assert not (tmp_path / "started").exists()

    def test_a_signal_during_a_site_s_setup_is_reported(self, run, hub, tmp_path):
        templates = site_templates(tmp_path, setup=": > setup; /bin/sleep 2")
        job = run(": > started", templates=templates, template="site.j2")
        appears(tmp_path / "setup")
        job.process.send_signal(signal.SIGTERM)
        assert job.end() in (-signal.SIGTERM, 128 + signal.SIGTERM)
        assert len(reports(hub)) == 1
        assert not (tmp_path / "started").exists()

    def test_a_site_s_teardown_runs_when_the_server_has_ended(self, run, hub, tmp_path):
        templates = site_templates(tmp_path, teardown='echo *ed > teardown; echo "$code" >> teardown; false')
        assert run(": > started; exit 3", templates=templates, template="site.j2").end() == 3
        lines = (tmp_path / "teardown").read_text().split()
        assert "started" in lines
        assert lines[-1] == "3"
        assert reports(hub) == [ScriptExit(TICKET, 3)]


class TestSignals:
    """Slurm signals the batch shell only: at the end of the time (USR1) and at a cancel (TERM)."""

    NOTES_SIGNALS = """\
trap 'echo TERM >> signals; code=17' TERM
trap 'echo USR1 >> signals; code=18' USR1
: > up
while [ -z "$code" ] || [ -e stay ]; do /bin/sleep 0.02; done
exit "$code"
"""

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 17), (signal.SIGUSR1, 18)])
    def test_a_signal_reaches_the_server_whose_exit_code_is_kept(self, run, hub, tmp_path, number, code):
        job = run(self.NOTES_SIGNALS)
        appears(tmp_path / "up")
        job.process.send_signal(number)
        assert job.end() == code
        assert (tmp_path / "signals").read_text() == f"{number.name.removeprefix('SIG')}\n"
        assert reports(hub) == [ScriptExit(TICKET, code)]

    def test_a_server_may_live_on_after_a_signal_and_get_the_next(self, run, hub, tmp_path):
        (tmp_path / "stay").touch()
        job = run(self.NOTES_SIGNALS)
        appears(tmp_path / "up")
        job.process.send_signal(signal.SIGUSR1)
        appears(tmp_path / "signals")
        assert job.process.poll() is None
        assert hub.posts == []
        (tmp_path / "stay").unlink()
        with contextlib.suppress(ProcessLookupError):
            job.process.send_signal(signal.SIGTERM)
        assert job.end() in (17, 18)
        assert len(reports(hub)) == 1

    def test_a_server_that_knows_no_signals_ends_by_them(self, run, hub, tmp_path):
        job = run(": > up; exec /bin/sleep 60")
        appears(tmp_path / "up")
        time.sleep(0.1)  # until `sleep` has taken the shell's place
        job.process.send_signal(signal.SIGTERM)
        assert job.end() == 128 + signal.SIGTERM
        assert reports(hub) == [ScriptExit(TICKET, 143)]


class TestTicket:
    def test_the_server_gets_it_in_its_environment_with_the_hubs_address(self, run, hub, tmp_path):
        assert run("export -p > environment; echo $# > arguments").end() == 0
        environment = (tmp_path / "environment").read_text()
        assert f'declare -x LAUNCHER_TICKET="{TICKET}"' in environment
        assert f'declare -x LAUNCHER_HUB_URL="{hub.url}"' in environment
        assert 'declare -x LAUNCHER_CLAIM_TIMEOUT="90"' in environment
        assert environment.count(TICKET) == 1
        assert (tmp_path / "arguments").read_text() == "0\n"

    @pytest.mark.parametrize("program", ["curl", "python3"])
    def test_it_is_in_no_argument_list(self, run, hub, tmp_path, program):
        """An argument list is open to every user of the node."""
        seen = []
        hub.while_asked = lambda: seen.extend(command_lines())
        job = run(": > up; while [ ! -e go ]; do /bin/sleep 0.02; done", programs=[program])
        appears(tmp_path / "up")
        seen += command_lines()
        (tmp_path / "go").touch()
        job.end()
        assert any("launcher-singleuser" in line for line in seen)
        assert any("launcher/events" in line for line in seen), "the report was not seen under way"
        assert not any(TICKET in line for line in seen)

    def test_what_the_setup_starts_does_not_inherit_it(self, run, tmp_path):
        templates = site_templates(tmp_path, setup="/usr/bin/env > environment")
        run("true", templates=templates, template="site.j2").end()
        assert TICKET not in (tmp_path / "environment").read_text()


def command_lines():
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found
