"""`launcher …`: parses, calls, prints; an error for people ends with its own exit code and no traceback."""

import json
import os
import subprocess
import sys
import types

import click
import pytest
from click.testing import CliRunner

import launcher
from launcher import errors
from launcher.cli import COMMANDS, cli, main


@pytest.fixture
def run(command):
    """Return a function that runs the command line in this process."""
    return command


@pytest.fixture
def sandbox(monkeypatch):
    """A stand-in for the sandbox, which notes how it is called."""
    calls = []

    def stand_in(name):
        async def called(*arguments, **options):
            calls.append((name, arguments, options))

        return called

    package = types.ModuleType("launcher.sandbox")
    package.demo = types.ModuleType("launcher.sandbox.demo")
    package.demo.run, package.demo.check = stand_in("run"), stand_in("check")
    monkeypatch.setitem(sys.modules, "launcher.sandbox", package)
    package.calls = calls
    return package


class TestProgram:
    def test_it_is_installed_and_tells_its_version(self):
        program = os.path.join(os.path.dirname(sys.executable), "launcher")  # noqa: PTH118, PTH120
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == f"launcher {launcher.__version__}\n"

    @pytest.mark.parametrize(
        ("typed", "offered"),
        [
            ("demo --sch", "plain,--scheduler"),
            ("clusters dai", "plain,daint"),
            ("render eig", "plain,eiger"),
            ("check sand", "plain,sandbox"),
            ("check ./", "file,./"),
            ("render daint -o part", "plain,partition="),
            ("render daint -o environment=jul", "plain,environment=julia"),
        ],
    )
    def test_completion_works_for_shells(self, typed, offered):
        words = typed.split()
        environment = {
            "_LAUNCHER_COMPLETE": "bash_complete",
            "COMP_WORDS": f"launcher {typed}",
            "COMP_CWORD": str(len(words)),
        }
        done = CliRunner().invoke(cli, prog_name="launcher", env=environment)
        assert offered in done.output.splitlines()

    @pytest.mark.parametrize("typed", ["clusters x", "render ./none.yaml -o x", "render --clusters /none x"])
    def test_completion_offers_nothing_where_there_is_nothing(self, typed):
        environment = {
            "_LAUNCHER_COMPLETE": "bash_complete",
            "COMP_WORDS": f"launcher {typed}",
            "COMP_CWORD": str(len(typed.split())),
        }
        done = CliRunner().invoke(cli, prog_name="launcher", env=environment)
        assert (done.output.strip(), done.exception) == ("", None)


class TestHelp:
    @pytest.mark.parametrize("option", ["-h", "--help"])
    def test_it_names_every_command_with_an_example(self, run, option):
        code, out, err = run(option)
        assert (code, err) == (0, "")
        assert "launcher demo --check" in out
        assert all(f"\n  {name} " in out for name in COMMANDS)

    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_command_explains_itself_and_each_of_its_options(self, run, name):
        code, out, _ = run(name, "--help")
        assert code == 0
        assert "Examples:" in out
        assert "Exit code" in out
        context = click.Context(cli.get_command(click.Context(cli), name))
        for parameter in context.command.params:
            if isinstance(parameter, click.Argument):
                assert str(parameter.make_metavar(context)) in out
            else:
                assert parameter.help, parameter.name
                assert parameter.opts[0] in out

    def test_no_line_is_wider_than_a_terminal(self, run):
        for arguments in (["--help"], *([name, "--help"] for name in COMMANDS)):
            assert max(map(len, run(*arguments)[1].splitlines())) <= 100


class TestErrors:
    @pytest.mark.parametrize(
        "kind",
        [
            errors.UsageError,
            errors.MissingPart,
            errors.SandboxError,
            errors.CheckFailed,
            errors.FirecrestError,
        ],
        ids=lambda kind: kind.__name__,
    )
    def test_an_error_for_people_says_what_why_and_what_to_do(self, run, sandbox, kind):
        async def fails(*_, **__):
            raise kind("It broke.", why="The disk is full.", todo="Delete something.")

        sandbox.demo.run = fails
        assert run("demo") == (kind.exit_code, "", "Error: It broke.\nThe disk is full.\nDelete something.\n")

    def test_what_is_not_known_takes_no_line(self, run, sandbox):
        async def fails(*_, **__):
            raise errors.LauncherError("It broke.")

        sandbox.demo.run = fails
        assert run("demo") == (1, "", "Error: It broke.\n")

    @pytest.mark.parametrize(
        "arguments",
        [
            ["nothing"],
            ["--nothing"],
            ["demo", "--port", "0"],
            ["demo", "--port", "65536"],
            ["demo", "--port", "http"],
            ["demo", "--scheduler", "pbs"],
            ["demo", "--state", __file__],
            ["demo", "extra"],
            ["demo", "--json"],
        ],
    )
    def test_a_wrong_command_line_ends_with_2(self, run, sandbox, arguments):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert "Error: " in err
        assert "Traceback" not in err
        assert sandbox.calls == []

    @pytest.mark.parametrize("command", ["clusters", "clusters daint", "check", "render daint", "schema"])
    def test_a_base_install_names_the_extra_that_cluster_files_need(self, command):
        code = f"""
import sys
sys.modules["pydantic"] = None
sys.argv = ["launcher", *{command!r}.split()]
from launcher.cli import main
main()
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (errors.MissingPart.exit_code, "")
        assert "pip install 'firecrest-launcher[hub]'" in done.stderr

    def test_a_base_install_names_the_extra_that_the_demo_needs(self, run, monkeypatch):
        monkeypatch.setitem(sys.modules, "launcher.sandbox", None)
        code, _, err = run("demo")
        assert code == errors.MissingPart.exit_code
        assert "pip install 'firecrest-launcher[sandbox]'" in err


class TestDemo:
    def test_without_options_it_runs_for_a_person(self, run, sandbox):
        assert run("demo") == (0, "", "")
        assert sandbox.calls == [("run", ("auto", None, None, None), {})]

    def test_options_are_handed_on(self, run, sandbox, tmp_path):
        run("demo", "--port", "8000", "--scheduler", "slurm", "--state", str(tmp_path))
        assert sandbox.calls == [("run", ("slurm", 8000, None, tmp_path), {})]

    @pytest.mark.parametrize(("arguments", "as_json"), [(["--check"], False), (["--check", "--json"], True)])
    def test_a_check_may_print_for_people_or_for_programs(self, run, sandbox, arguments, as_json):
        run("demo", *arguments)
        assert sandbox.calls == [("check", ("auto", None, None, None), {"as_json": as_json})]


@pytest.mark.parametrize("command", ["clusters FILE", "render FILE", "export z2jh FILE", "check FILE"])
def test_a_broken_file_is_told_as_json_to_programs(tmp_path, monkeypatch, capfd, command):
    (tmp_path / "tiny.yaml").write_text("name: tiny\n")
    monkeypatch.chdir(tmp_path)
    arguments = command.replace("FILE", "tiny.yaml").split()
    monkeypatch.setattr(sys, "argv", ["launcher", *arguments, "--json"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 3
    told = json.loads(capfd.readouterr().out)
    (file,) = told.get("files", [told])
    assert {"file": "tiny.yaml", "line": 1, "column": 1, "key": "home", "message": "is needed"} in file[
        "problems"
    ]
