"""`launcher check`: everything that can be known to be wrong with a cluster file before a job runs."""

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from launcher.cli import cli
from launcher.clusters.shell import bash_findings, find_shellcheck, shellcheck_findings
from launcher.errors import MissingPart, UsageError

BROKEN = Path(__file__).parents[1] / "clusters/broken"
TINY = """name: tiny
firecrest: {url: "https://firecrest.example.org/v2", system: tiny}
home: /home/{user}
launcher: /opt/launcher/bin/launcher-singleuser
partitions:
  - {name: normal, time_limit: 240}
  - {name: debug, time_limit: 60}
times: [30, 60]
node_addresses: [10.0.0.0/8]
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A directory to stand in, with one good cluster file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAUNCHER_CLUSTERS", raising=False)
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


def check(*arguments):
    """Return exit code, standard output and standard error."""
    done = CliRunner().invoke(cli, ["check", *map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("fault", sorted(path.name for path in BROKEN.iterdir()))
def test_each_fault_is_told_at_its_place(fault, monkeypatch):
    """Each folder is named by its fault, and holds the files and what an admin reads."""
    monkeypatch.chdir(BROKEN / fault)
    assert check(".") == (3, Path("expected.txt").read_text(), "")


HEAD = """#!/bin/bash
# launch {{ launch.launch_id }}
#SBATCH --job-name={{ job_name }} --output={{ log_name }}
: {{ launch.ticket }}
"""


class TestGoodFiles:
    def test_each_has_a_line_with_the_number_of_scripts(self, site):
        (site / "other.yaml").write_text(TINY.replace("name: tiny", "name: other"))
        assert check("other.yaml", site) == (0, "other.yaml: ok, 2 scripts\ntiny.yaml: ok, 2 scripts\n", "")

    def test_without_a_path_those_that_come_with_the_launcher_are_checked(self, site):
        code, out, err = check()
        assert (code, err) == (0, "")
        assert "/batch_templates/clusters/example.yaml: ok, " in out
        assert out.count(": ok, ") == len(out.splitlines()) >= 7

    def test_the_directory_may_come_from_the_environment(self, site, monkeypatch):
        monkeypatch.setenv("LAUNCHER_CLUSTERS", ".")
        assert check() == (0, "tiny.yaml: ok, 2 scripts\n", "")

    def test_a_name_is_sought_in_the_directory(self, site):
        assert check("--clusters", ".", "tiny") == (0, "tiny.yaml: ok, 2 scripts\n", "")

    def test_a_file_is_checked_once(self, site):
        assert check(".", "tiny.yaml", ".")[1] == "tiny.yaml: ok, 2 scripts\n"

    def test_what_only_looks_like_a_cluster_file_is_left_out_of_a_directory(self, site):
        (site / ".#tiny.yaml").symlink_to("someone@somewhere")
        (site / "tiny.yaml~").write_text("old")
        assert check(".") == (0, "tiny.yaml: ok, 2 scripts\n", "")


class TestJson:
    def test_good_files_are_told(self, site):
        code, out, _ = check("--json", "tiny.yaml")
        assert code == 0
        assert json.loads(out) == {
            "shellcheck": True,
            "files": [{"path": "tiny.yaml", "ok": True, "scripts": 2, "problems": []}],
        }

    def test_problems_are_told_in_parts(self, site):
        (site / "tiny.yaml").write_text(f"{TINY}title: 5\n")
        code, out, _ = check("--json", ".")
        assert code == 3
        assert json.loads(out)["files"] == [
            {
                "path": "tiny.yaml",
                "ok": False,
                "scripts": 0,
                "problems": [
                    {
                        "file": "tiny.yaml",
                        "line": 10,
                        "column": 8,
                        "key": "title",
                        "message": "must be text: put it in quotes (it is 5)",
                    }
                ],
            }
        ]


class TestWhatIsNoClusterFile:
    """Nonsense ends with words, not with a traceback, and never hangs."""

    def test_a_name_that_no_cluster_has(self, site):
        with pytest.raises(UsageError) as error:
            check("--clusters", ".", "tini")
        assert (
            str(error.value) == f"There is no cluster 'tini' in {site}.\nThere are tiny.\nDid you mean tiny?"
        )

    def test_an_empty_directory(self, site):
        (site / "empty").mkdir()
        with pytest.raises(UsageError, match="There is no cluster file in empty"):
            check("empty")

    def test_a_path_that_leads_nowhere(self, site):
        assert check("./none.yaml")[:2] == (3, "none.yaml:1:1: can't be read: No such file or directory\n")

    def test_a_device(self, site):
        assert check("/dev/null")[:2] == (3, "/dev/null:1:1: can't be read: is not a file\n")

    def test_a_pipe_that_nobody_writes_to(self, site):
        os.mkfifo("pipe.yaml")
        assert check("pipe.yaml")[:2] == (3, "pipe.yaml:1:1: can't be read: is not a file\n")

    def test_a_link_to_itself(self, site):
        (site / "loop.yaml").symlink_to("loop.yaml")
        code, out, _ = check(".")
        assert code == 3
        assert out.startswith("loop.yaml:1:1: can't be read: Too many levels of symbolic links\n")
        assert out.endswith("tiny.yaml: ok, 2 scripts\n")

    def test_a_directory_that_is_called_like_a_file(self, site):
        (site / "x" / "y.yaml").mkdir(parents=True)
        assert check("x")[:2] == (3, "x/y.yaml:1:1: can't be read: is not a file\n")

    def test_a_file_of_the_kind_of_a_program(self, site):
        assert check(sys.executable)[0] == 3


class TestScripts:
    def test_the_same_fault_in_many_scripts_is_told_once(self, site):
        (site / "own.sh.j2").write_text(
            f"{HEAD}echo {{{{ request.partition }}}}\ncd /data\nexec {{{{ launcher }}}}\n"
        )
        (site / "tiny.yaml").write_text(f"{TINY}template: own.sh.j2\n")
        code, out, _ = check(".")
        assert (code, len(out.splitlines())) == (3, 1)
        assert "partition normal, environment host, line 6 of the script: cd /data" in out

    def test_a_template_may_tell_shellcheck_what_is_meant(self, site):
        text = f"{HEAD}# shellcheck disable=SC2164\ncd /data\nexec {{{{ launcher }}}}\n"
        (site / "own.sh.j2").write_text(text)
        (site / "tiny.yaml").write_text(f"{TINY}template: own.sh.j2\n")
        assert check(".")[0] == 0

    def test_nothing_of_a_script_is_run(self, site):
        (site / "tiny.yaml").write_text(
            f'{TINY}prologue: |\n  touch {site}/run\n  echo "$(touch {site}/run)"\n'
        )
        assert check(".")[0] == 0
        assert not (site / "run").exists()

    def test_nothing_of_whoever_checks_is_run_or_obeyed(self, site, monkeypatch):
        (site / "env.sh").write_text(f"touch {site}/run\n")
        monkeypatch.setenv("BASH_ENV", str(site / "env.sh"))
        monkeypatch.setenv("SHELLCHECK_OPTS", "--severity=style --enable=all")
        assert check(".")[0] == 0
        assert not (site / "run").exists()

    def test_without_shellcheck_bash_alone_looks_at_them(self, site, monkeypatch):
        monkeypatch.setattr("launcher.clusters.shell.find_shellcheck", lambda: None)
        code, out, err = check(".")
        assert (code, out) == (0, "tiny.yaml: ok, 2 scripts\n")
        assert err == "shellcheck was not found; bash alone looked at the scripts.\n"

    def test_a_shellcheck_that_does_not_work_is_told(self):
        with pytest.raises(MissingPart, match="/bin/false does not work"):
            shellcheck_findings(Path("/bin/false"), ["true"])

    def test_shellcheck_is_found_beside_python(self, monkeypatch):
        monkeypatch.setenv("PATH", "/nowhere")
        assert find_shellcheck() == Path(sys.executable).parent / "shellcheck"

    @pytest.mark.parametrize(
        ("script", "line", "message"),
        [
            ("true\nfi\n", 2, "syntax error near unexpected token `fi'"),
            ("cat <<EOF\nx\n", 1, "here-document delimited by end-of-file (wanted `EOF')"),
            ('true\necho "x\n\n', 2, "unexpected EOF while looking for matching `\"'"),
        ],
    )
    def test_bash_tells_where_a_script_is_wrong(self, script, line, message):
        ((found),) = bash_findings(script)
        assert (found.line, found.message) == (line, f"bash: {message}")

    def test_bash_knows_the_patterns_that_a_script_asks_for(self):
        assert bash_findings("shopt -s extglob\nls !(a|b)\n") == []
        assert bash_findings("ls !(a|b)\n") != []
