"""What would make a session useless is told before JupyterLab starts."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import launcher
from launcher.errors import PreflightFailed
from launcher.singleuser import preflight as module
from launcher.singleuser.preflight import jupyterhub_version, preflight

HUB = "6.1.1"
HERE = "/"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home that is as it should be."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def node(monkeypatch):
    """Return a function that sets the version of JupyterHub on the node."""
    return lambda version: monkeypatch.setattr(module, "jupyterhub_version", lambda: version)


class TestHome:
    def test_a_home_that_can_be_written_to_passes_and_stays_as_it_was(self, home):
        preflight(HERE, HUB)
        assert list(home.iterdir()) == []

    def test_a_home_that_is_not_mounted_is_told(self, home, monkeypatch):
        monkeypatch.setenv("HOME", f"{home}/alice")
        with pytest.raises(PreflightFailed) as error:
            preflight(HERE, HUB)
        assert error.value.what == f"Your home directory {home}/alice does not exist on this node."
        assert "support" in error.value.todo
        assert error.value.exit_code == 22

    def test_a_home_that_is_no_directory_is_told(self, home, monkeypatch):
        (home / "alice").touch()
        monkeypatch.setenv("HOME", f"{home}/alice")
        with pytest.raises(PreflightFailed, match="does not exist"):
            preflight(HERE, HUB)

    @pytest.mark.parametrize("value", [None, ""])
    def test_a_home_that_is_not_known_is_told(self, monkeypatch, value):
        monkeypatch.delenv("HOME")
        if value is not None:
            monkeypatch.setenv("HOME", value)
        with pytest.raises(PreflightFailed, match=r"\$HOME is not set"):
            preflight(HERE, HUB)

    @pytest.mark.parametrize(
        ("mount", "then", "why"),
        [
            ("size=4k", "head -c 4096 /dev/zero > full", "No space left on device."),
            ("nr_inodes=1", "", "No space left on device."),
            ("ro", "", "Read-only file system."),
        ],
        ids=["full", "out of inodes", "read-only"],
    )
    def test_a_home_that_can_not_be_written_to_is_told_with_what_to_do(self, home, mount, then, why):
        said = with_file_system(home, mount, then)
        assert said == (
            f"Nothing can be written to your home directory {home}.\n{why}\n"
            "Delete or move files there, caches first (~/.cache), then press Start again.\n"
        )

    def test_a_home_in_which_no_file_may_grow_is_told(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            with pytest.raises(PreflightFailed, match="Nothing can be written") as error:
                preflight(HERE, HUB)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert error.value.why == "File too large."

    def test_a_home_of_a_file_system_with_room_passes(self, home):
        assert with_file_system(home, "size=64k", "") == ""


class TestStartDirectory:
    def test_terminals_will_begin_there(self, tmp_path):
        preflight(str(tmp_path), HUB)
        assert Path.cwd() == tmp_path

    @pytest.mark.parametrize(
        ("name", "why"), [("none", "No such file or directory."), ("file", "Not a directory.")]
    )
    def test_one_that_is_not_there_is_told_with_what_to_choose_instead(self, tmp_path, name, why):
        (tmp_path / "file").touch()
        with pytest.raises(PreflightFailed) as error:
            preflight(f"{tmp_path}/{name}", HUB)
        assert str(error.value) == (
            f"JupyterLab can't open in the start directory {tmp_path}/{name} on this node.\n{why}\n"
            "Choose another start directory, such as your home directory, then press Start again. "
            "Where there is none to choose, tell the site's support."
        )

    @pytest.mark.parametrize(
        ("mode", "said"),
        [(0o555, ""), (0o444, "Permission denied.\n"), (0o111, "Permission denied.\n")],
        ids=["neither", "enter", "list"],
    )
    def test_one_that_its_user_may_not_enter_or_list_is_told(self, tmp_path, mode, said):
        tmp_path.chmod(0o755)
        (tmp_path / "start").mkdir()
        (tmp_path / "start").chmod(mode)
        code = "import os\nfrom launcher.singleuser.preflight import _enter, PreflightFailed as Failed\n"
        code += "os.getuid() or os.setresuid(65534, 65534, 65534)\n"
        code += "try: _enter('start')\nexcept Failed as error: print(error.why)"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert done.stdout == said


def with_file_system(home, options, then):
    """Return what the preflight says where the home is a small file system, which only it can see."""
    code = "from launcher.singleuser.preflight import _home, PreflightFailed as Failed\n"
    code += "try: _home()\nexcept Failed as error: print(error)"
    script = (
        f'mount -t tmpfs -o {options} none "$HOME" && cd "$HOME" && {{ {then or ":"}; }} && exec "$0" -c "$1"'
    )
    unshare = ["unshare", "--mount", "--map-root-user"]
    if subprocess.run(
        [*unshare, "mount", "-t", "tmpfs", "none", home], check=False, capture_output=True
    ).returncode:
        pytest.skip("this machine lets nobody mount a file system of their own")
    package = Path(launcher.__file__).parents[1]
    done = subprocess.run(
        [*unshare, "sh", "-c", script, sys.executable, code],
        env={"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


class TestVersions:
    @pytest.mark.parametrize(
        "version", ["5.5.1", "5.6.0", "6.0.0b1", "6.0.0", "6.1.1", "6.9.9", "6.2.0+local"]
    )
    def test_a_node_may_be_older_within_bounds_or_newer_by_a_minor_version(self, node, version):
        node(version)
        preflight(HERE, HUB)

    @pytest.mark.parametrize(
        "version", ["5.5.0", "5.5", "5.4.9", "4.1.6", "1.0", "7.0.0", "7.0.0rc1", "10.0"]
    )
    def test_a_node_that_does_not_fit_the_hub_is_told(self, node, version):
        node(version)
        with pytest.raises(PreflightFailed) as error:
            preflight(HERE, HUB)
        assert (
            error.value.what == f"JupyterHub {version} on this node does not fit JupyterHub {HUB} at the hub."
        )
        assert error.value.why == "The node needs 5.5.1 or newer, and no newer major version than the hub's."

    def test_a_missing_jupyterhub_is_left_to_jupyterlabs_start(self, node):
        node(None)
        preflight(HERE, HUB)


class TestInstalledVersion:
    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.setattr(sys, "path", [f"{tmp_path}/none", __file__, str(tmp_path)])
        return tmp_path

    @pytest.mark.parametrize("version", ["6.1.1", "7.0.0rc1", "6.2.0.dev0+g1234567"])
    def test_it_is_read_from_what_is_installed_without_an_import(self, folder, version):
        (folder / f"jupyterhub-{version}.dist-info").mkdir()
        assert jupyterhub_version() == version

    @pytest.mark.parametrize(
        "name", ["jupyterhub", "jupyterhub_moss-1.0.dist-info", "jupyterhub-6.1.1.dist-info~"]
    )
    def test_other_things_are_not_taken_for_it(self, folder, name):
        (folder / name).mkdir()
        assert jupyterhub_version() is None
