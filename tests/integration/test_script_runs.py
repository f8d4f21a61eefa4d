"""What the batch script does when it runs, and what the hub hears of it."""

import contextlib
import os
import re
import shlex
import signal
import ssl
import sys
import time

import pytest
from certipy import Certipy
from rendering import TICKET, site_template
from running import Job, appears, hub, run
from support import command_lines

from launcher.protocol import ScriptExit, parse_event

__all__ = ["hub", "run"]

IMAGES = "/images/tools.squashfs:/user-tools,/images/gnu.squashfs:/user-environment"
SHELLS = ["dash", "bash"]
"""What sh may be."""
HOSTILE = {
    "blanks": " a  b\tc ",
    "lines": "a\nb\n\n",
    "quotes": "a'b\"c`touch ran`",
    "commands": "$(touch ran);touch ran;${x:=1}$((1+1))",
    "backslashes": "\\a\\\\n\\'\\$x\\",
    "patterns": "*?[a]~{a,b}!",
    "ends": '"; touch ran; "',
    "bytes": "\udcff\udcc3é",
    "empty": "",
}
# A container's own shell may be any; outside of one it is Bash.
MODE_OF = {"bash": "host", "dash": "container"}
APART = (
    "LD_LIBRARY_PATH LD_PRELOAD TMPDIR PYTHONHOME PYTHONPATH PYTHONNOUSERSITE PYTHONDONTWRITEBYTECODE "
    "PYTHONHASHSEED PYTHONINSPECT PYTHONINTMAXSTRDIGITS PYTHONMALLOC PYTHONOPTIMIZE PYTHONPLATLIBDIR "
    "PYTHONSTARTUP PYTHONTRACEMALLOC PYTHONUNBUFFERED PYTHONUSERBASE PYTHONUTF8 PYTHONWARNINGS"
).split()
MODES = ["host", "run", "squashfs-mount", "container"]
NOTES_SIGNALS = """\
trap 'echo TERM >> signals; code=17' TERM
trap 'echo USR1 >> signals; code=18' USR1
: > up
while [ -z "$code" ] || [ -e stay ]; do /bin/sleep 0.02; done
exit "$code"
"""


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
        assert reports(hub) == [ScriptExit(TICKET, code, "42")]
        assert job.log == ""

    @pytest.mark.parametrize("mode", MODES)
    def test_it_comes_through_whatever_attaches_the_environment(self, run, hub, mode):
        assert run("exit 5", mode=mode).end() == 5
        assert reports(hub) == [ScriptExit(TICKET, 5, "42")]

    def test_no_variable_of_a_log_in_is_needed(self, run, hub):
        job = run("export -p > environment; exit 6", path="/usr/bin:/bin")
        assert job.end() == 6
        assert reports(hub) == [ScriptExit(TICKET, 6, "42")]
        assert job.log == ""

    def test_curl_and_python_say_the_same_where_both_are(self, run, hub):
        assert run("exit 4", programs=["curl", "python3"]).end() == 4
        assert reports(hub) == [ScriptExit(TICKET, 4, "42")]

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
    def test_the_hub_is_told_directly_whatever_proxy_a_site_has_set(self, run, hub, program):
        names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        proxies = "\n".join(f"export {name}=http://127.0.0.1:9" for name in names)
        assert run("exit 4", programs=[program], prologue=proxies).end() == 4
        assert reports(hub) == [ScriptExit(TICKET, 4, "42")]

    @pytest.mark.parametrize("shell", SHELLS)
    def test_a_server_that_is_not_there_is_reported(self, run, hub, tmp_path, shell):
        launcher = f"{tmp_path}/none/launcher-singleuser"
        job = run(environment={"launcher": launcher}, shell=shell)
        assert job.end() == 127
        assert reports(hub) == [ScriptExit(TICKET, 127, "42")]
        assert re.search(f"{launcher}: (not found|No such file or directory)", job.log)

    @pytest.mark.parametrize("shell", SHELLS)
    def test_so_is_one_that_is_no_program(self, run, hub, tmp_path, shell):
        (tmp_path / "other").touch(mode=0o644)
        job = run(environment={"launcher": f"{tmp_path}/other"}, shell=shell)
        assert job.end() == 126
        assert reports(hub) == [ScriptExit(TICKET, 126, "42")]
        assert "Permission denied" in job.log

    def test_a_server_that_is_killed_is_reported(self, run, hub):
        assert run("kill -KILL $$").end() == 137
        assert reports(hub) == [ScriptExit(TICKET, 137, "42")]


class TestHubCa:
    """A hub whose certificate this system's authorities know nothing of."""

    @pytest.fixture
    def hub(self, hub, tmp_path):
        store = Certipy(store_dir=str(tmp_path / "ca"))
        store.create_ca("site")
        pair = store.create_signed_pair("hub", "site", alt_names=["IP:127.0.0.1"])["files"]
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pair["cert"], pair["key"])
        hub._server.socket = context.wrap_socket(hub._server.socket, server_side=True)
        hub.url = hub.url.replace("http:", "https:")
        return hub

    @pytest.mark.parametrize("program", ["curl", "python3"])
    def test_is_told_of_the_end_where_the_cluster_file_names_its_authority(self, run, hub, tmp_path, program):
        ca = str(tmp_path / "ca/site/site.crt")
        assert run("exit 4", programs=[program], hub_ca=ca).end() == 4
        assert reports(hub) == [ScriptExit(TICKET, 4, "42")]

    @pytest.mark.parametrize("program", ["curl", "python3"])
    def test_is_not_told_of_the_ticket_otherwise(self, run, hub, program):
        assert run("exit 4", programs=[program]).end() == 4
        assert reports(hub) == []


class TestPrologue:
    """What an admin has run before the server, in the script's own shell."""

    def test_that_of_the_cluster_runs_before_that_of_the_environment(self, run, tmp_path):
        job = run(
            'echo "$A $B" > seen',
            prologue="export A=cluster B=cluster",
            environment={"prologue": "export B=environment"},
        )
        assert job.end() == 0
        assert (tmp_path / "seen").read_text() == "cluster environment\n"

    @pytest.mark.parametrize(
        ("prologue", "code"),
        [
            ("exit 3", 3),
            ("set -euo pipefail\nfalse\n", 1),
            ("set -euo pipefail\nfalse | true\n", 1),
            ('set -u\necho "$NO_SUCH_VARIABLE"\n', 1),
            ("set -o pipefail -e; (exit 9)", 9),
        ],
    )
    @pytest.mark.parametrize("whose", ["the cluster's", "the environment's"])
    def test_one_that_gives_up_is_reported_and_no_server_starts(self, run, hub, whose, prologue, code):
        given = {"prologue": prologue}
        facts = given if whose == "the cluster's" else {"environment": given}
        job = run(": > started", epilogue=": > epilogue", **facts)
        assert job.end() == code
        assert reports(hub) == [ScriptExit(TICKET, code, "42")]
        assert not (job.directory / "started").exists()
        assert (job.directory / "epilogue").exists()

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("code", [0, 7])
    def test_strict_options_of_the_shell_change_nothing(self, run, hub, mode, code):
        job = run(f"exit {code}", mode=mode, prologue="set -euo pipefail", epilogue='false; echo "$NONE" >&2')
        assert job.end() == code
        assert reports(hub) == [ScriptExit(TICKET, code, "42")]

    def test_a_syntax_error_is_reported(self, run, hub, tmp_path):
        assert run(": > started", prologue="eval 'if'; exit 2").end() == 2
        assert reports(hub) == [ScriptExit(TICKET, 2, "42")]

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
    @pytest.mark.parametrize("before", ["", "/bin/sleep 60 &"])
    def test_a_signal_meanwhile_ends_the_job_before_there_is_a_server(
        self, run, hub, tmp_path, number, before
    ):
        prologue = f"{before}\n: > prologue; while [ ! -e go ]; do /bin/sleep 0.02; done; /bin/sleep 0.1"
        job = run(": > started", prologue=prologue, epilogue=": > epilogue")
        appears(tmp_path / "prologue")
        job.signal(number)
        (tmp_path / "go").touch()
        assert job.end() == 143
        assert reports(hub) == [ScriptExit(TICKET, 143, "42")]
        assert not (tmp_path / "started").exists()
        assert (tmp_path / "epilogue").exists()

    @pytest.mark.parametrize(
        "traps",
        ["trap ': > own' EXIT", "trap 'exit 99' ERR", "trap : TERM USR1", "trap : DEBUG RETURN"],
    )
    def test_its_traps_end_with_it(self, run, hub, traps):
        job = run("kill -TERM $PPID; exec /bin/sleep 60", prologue=traps, epilogue=": > epilogue")
        assert job.end() == 143
        assert reports(hub) == [ScriptExit(TICKET, 143, "42")]
        assert (job.directory / "epilogue").exists()
        assert not (job.directory / "own").exists()

    def test_to_show_its_commands_does_not_show_the_ticket(self, run, hub):
        job = run("exit 3", prologue="set -x; true shown")
        assert job.end() == 3
        assert "+ true shown" in job.log
        assert TICKET not in job.log

    def test_what_it_starts_does_not_inherit_the_ticket(self, run, tmp_path):
        run(prologue="/usr/bin/env > environment").end()
        assert TICKET not in (tmp_path / "environment").read_text()

    def test_what_it_leaves_running_does_not_keep_the_job(self, run, hub):
        assert run("exit 3", prologue="/bin/sleep 600 &").end() == 3
        assert reports(hub) == [ScriptExit(TICKET, 3, "42")]


class TestApart:
    """The server's Python begins without the variables of the user's, which it finds under other names."""

    def environment(self, run, **given):
        job = run("/usr/bin/env -0 > environment", **given)
        assert job.end() == 0
        items = os.fsdecode((job.directory / "environment").read_bytes()).rstrip("\0").split("\0")
        assert not (job.directory / "ran").exists()
        assert TICKET not in job.log
        return dict(item.split("=", 1) for item in items)

    @pytest.mark.parametrize(("mode", "shell"), [*((mode, "bash") for mode in MODES), ("container", "dash")])
    def test_a_server_begins_without_them(self, run, tmp_path, mode, shell):
        given = {name: f"/nonsense/{name}" for name in ("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH")}
        given["TMPDIR"] = str(tmp_path)  # without one that is there, uenv gets another
        prologue = "\n".join(f"export {name}={value}" for name, value in given.items())
        found = self.environment(run, mode=mode, shell=shell, prologue=prologue)
        assert {name: found.get(name) for name in APART} == {**dict.fromkeys(APART), "PYTHONNOUSERSITE": "1"}
        kept = {
            name.removeprefix("LAUNCHER_KEPT_"): value for name, value in found.items() if "_KEPT_" in name
        }
        assert kept == {**dict.fromkeys(APART, ""), **given}

    @pytest.mark.parametrize("shell", MODE_OF)
    @pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
    def test_their_values_survive_byte_for_byte_and_run_nothing(self, run, tmp_path, shell, value):
        (tmp_path / "value").write_bytes(os.fsencode(value))
        # A command substitution would lose the last newlines.
        prologue = "\n".join(
            f"IFS= read -rd '' {name} < value; export {name}" for name in ("PYTHONPATH", "TMPDIR")
        )
        found = self.environment(run, mode=MODE_OF[shell], shell=shell, prologue=prologue)
        assert found["LAUNCHER_KEPT_PYTHONPATH"] == found["LAUNCHER_KEPT_TMPDIR"] == value
        assert "PYTHONPATH" not in found

    @pytest.mark.parametrize(("mode", "shell"), [*((mode, "bash") for mode in MODES), ("container", "dash")])
    @pytest.mark.parametrize(
        "prologue",
        [
            "set -euf",
            "set -x",
            "export SHELLOPTS; set -xeuf",
            "export IFS=_NO$' \\t'",
            "set -o posix -o noclobber -o allexport",
            "shopt -s nullglob failglob extglob; set -- a b c",
        ],
    )
    def test_options_of_the_shell_change_nothing(self, run, hub, mode, shell, prologue):
        found = self.environment(
            run, mode=mode, shell=shell, prologue=f"export PYTHONPATH='/a *'\n{prologue}"
        )
        assert found["LAUNCHER_KEPT_PYTHONPATH"] == "/a *"
        assert reports(hub) == [ScriptExit(TICKET, 0, "42")]

    @pytest.mark.parametrize("shell", SHELLS)
    @pytest.mark.parametrize("messenger", ["curl", "python3"])
    def test_a_python_starts_whatever_they_say_and_the_hub_hears_of_its_end(
        self, run, hub, tmp_path, shell, messenger
    ):
        libraries = tmp_path / "libraries"
        libraries.mkdir()
        for name in ("libssl.so.3", "libpython3.11.so.1.0", "libz.so.1", "libstdc++.so.6", "libexpat.so.1"):
            (libraries / name).write_text("no library")
        (libraries / "sitecustomize.py").write_text("raise SystemExit('not mine')")
        (libraries / "json.py").write_text("raise SystemExit('not mine')")
        prologue = f"export PYTHONHOME=/nonsense PYTHONPATH={libraries} LD_LIBRARY_PATH={libraries} "
        # Each of these keeps a Python from starting.
        prologue += "PYTHONHASHSEED=x PYTHONPLATLIBDIR=x PYTHONMALLOC=x PYTHONUTF8=x PYTHONTRACEMALLOC=x "
        prologue += "PYTHONINTMAXSTRDIGITS=x"
        job = run(
            f"exec {sys.executable} -c 'import json, ssl, zlib'",
            mode=MODE_OF[shell],
            programs=(messenger,),
            shell=shell,
            prologue=prologue,
        )
        assert (job.end(), job.log) == (0, "")
        assert reports(hub) == [ScriptExit(TICKET, 0, "42")]


class TestEpilogue:
    """What an admin has run after the server; a site's own block may take its place."""

    @pytest.mark.parametrize(
        "epilogue",
        [
            "exit 9",
            "set -e; false",
            "return 9",
            "exec /bin/false",
            "kill -KILL $BASHPID",
            "trap - EXIT; code=9; launch_ticket=; launch_hub=",
            'set -u; echo "$NO_SUCH_VARIABLE"',
            "curl() { exit 9; }; command() { return 1; }; exit() { :; }",
        ],
    )
    def test_it_can_not_change_the_exit_code_or_the_report(self, run, hub, tmp_path, epilogue):
        assert run("exit 3", epilogue=f"echo ran > epilogue\n{epilogue}").end() == 3
        assert (tmp_path / "epilogue").read_text() == "ran\n"
        assert reports(hub) == [ScriptExit(TICKET, 3, "42")]

    def test_the_hub_hears_of_the_end_before_it_runs(self, run, hub):
        job = run("exit 3", epilogue="while [ ! -e go ]; do /bin/sleep 0.02; done")
        deadline = time.monotonic() + 30
        while not reports(hub):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert job.process.poll() is None
        (job.directory / "go").touch()
        assert job.end() == 3

    @pytest.mark.parametrize(
        "server", ["exit 0", "exit 3", "kill -KILL $$", "kill -TERM $PPID; exec sleep 9"]
    )
    def test_it_runs_however_the_server_ends(self, run, hub, tmp_path, server):
        run(server, epilogue=": > epilogue").end()
        assert (tmp_path / "epilogue").exists()
        assert len(reports(hub)) == 1

    def test_a_sites_block_sees_the_exit_code(self, run, hub, tmp_path):
        template = site_template(tmp_path, teardown='echo *ed > teardown; echo "$code" >> teardown; false')
        assert run(": > started; exit 3", template=template).end() == 3
        lines = (tmp_path / "teardown").read_text().split()
        assert "started" in lines
        assert lines[-1] == "3"
        assert reports(hub) == [ScriptExit(TICKET, 3, "42")]

    def test_a_sites_setup_that_gives_up_is_reported(self, run, hub, tmp_path):
        assert run(": > started", template=site_template(tmp_path, setup="exit 5")).end() == 5
        assert reports(hub) == [ScriptExit(TICKET, 5, "42")]
        assert not (tmp_path / "started").exists()


class TestSignals:
    """Slurm signals the batch shell only: at the end of the time (USR1) and at a cancel (TERM)."""

    @pytest.mark.parametrize(("mode", "shell"), [*((mode, "dash") for mode in MODES), ("host", "bash")])
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
    def test_a_signal_reaches_the_server_whose_exit_code_is_kept(self, run, hub, mode, shell, number):
        code = {signal.SIGTERM: 17, signal.SIGUSR1: 18}[number]
        job = run(NOTES_SIGNALS, mode=mode, shell=shell, prologue="/bin/sleep 60 &")
        appears(job.directory / "up")
        job.signal(number)
        assert job.end() == code
        assert (job.directory / "signals").read_text() == f"{number.name.removeprefix('SIG')}\n"
        assert reports(hub) == [ScriptExit(TICKET, code, "42")]

    def test_a_container_is_told_of_its_end_by_scancel(self, run, tmp_path):
        """At SIGTERM, srun would kill what it runs."""
        job = run(NOTES_SIGNALS, mode="container")
        appears(tmp_path / "up")
        job.signal(signal.SIGTERM)
        job.end()
        assert (tmp_path / "arguments-scancel").read_text() == "--signal=TERM\n42\n"

    def test_a_server_may_live_on_after_a_signal_and_get_the_next(self, run, hub, tmp_path):
        (tmp_path / "stay").touch()
        job = run(NOTES_SIGNALS)
        appears(tmp_path / "up")
        job.signal(signal.SIGUSR1)
        appears(tmp_path / "signals")
        assert job.process.poll() is None
        assert hub.posts == []
        (tmp_path / "stay").unlink()
        with contextlib.suppress(ProcessLookupError):
            job.signal(signal.SIGTERM)
        assert job.end() in (17, 18)
        assert len(reports(hub)) == 1

    def test_a_server_that_knows_no_signals_ends_by_them(self, run, hub, tmp_path):
        job = run("trap - TERM; : > up; while :; do /bin/sleep 0.02; done")
        appears(tmp_path / "up")
        job.signal(signal.SIGTERM)
        assert job.end() == 128 + signal.SIGTERM
        assert reports(hub) == [ScriptExit(TICKET, 143, "42")]

    def test_a_server_that_ends_as_the_signal_comes_leaves_its_code_or_the_signals(self, run, hub, tmp_path):
        """Bash may lose the code of a child that ends while a signal ends its `wait`."""
        server = "trap 'exit 17' TERM; echo $$ > pid; : > up; while :; do /bin/sleep 0.01; done"
        run("exit 0").end()
        (tmp_path / "launcher-singleuser").write_text(f"#!/bin/bash\ncd {tmp_path}\n{server}\n")
        text, codes = (tmp_path / "slurm_script").read_text(), set()
        for attempt in range(20):
            with Job(tmp_path, text, str(tmp_path / "bin")) as job:
                appears(tmp_path / "up")
                os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
                time.sleep(attempt / 4000)
                with contextlib.suppress(ProcessLookupError):
                    job.signal(signal.SIGTERM)
                codes.add(job.end())
            (tmp_path / "up").unlink()
        assert codes <= {17, 143}


class TestTicket:
    """An argument list is open to every user of the node; an environment is not."""

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

    @pytest.mark.parametrize(
        ("mode", "helper", "arguments"),
        [
            ("run", "uenv", ["run", IMAGES, "--view=default", "--"]),
            ("squashfs-mount", "squashfs-mount", [f"--sqfs={IMAGES}", "--"]),
            (
                "container",
                "srun",
                [
                    *shlex.split("--nodes=1 --ntasks=1 --overlap --cpu-bind=none --export=ALL"),
                    "--environment=/edf/a.toml",
                ],
            ),
        ],
    )
    def test_what_attaches_an_environment_hands_it_on_in_the_environment(
        self, run, tmp_path, mode, helper, arguments
    ):
        assert run("export -p > environment", mode=mode).end() == 0
        given = (tmp_path / f"arguments-{helper}").read_text().split("\n")[:-1]
        script = re.search(
            "^launch_apart='(.*?)'$", (tmp_path / "slurm_script").read_text(), re.DOTALL | re.MULTILINE
        )
        shell = {"squashfs-mount": None, "container": ["sh"]}.get(mode, ["/bin/bash", "--posix"])
        apart = [*shell, "-c", script[1], "sh"] if shell else []
        assert "\n".join(given) == "\n".join([*arguments, *apart, f"{tmp_path}/launcher-singleuser"])
        environment = (tmp_path / "environment").read_text()
        assert f'declare -x LAUNCHER_TICKET="{TICKET}"' in environment
        if mode == "squashfs-mount":
            assert f'declare -x UENV_MOUNT_LIST="{IMAGES}"' in environment
            assert 'declare -x UENV_VIEW="/user-environment:gnu:default"' in environment
