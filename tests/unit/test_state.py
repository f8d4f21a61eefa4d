"""The sandbox's state directory: nothing is left behind, and nothing of others is touched."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.errors import UsageError
from launcher.sandbox import state as module
from launcher.sandbox.state import state_directory

# Another run, which tells its directory and waits.
ANOTHER_RUN = """
import sys
from pathlib import Path
from launcher.sandbox import state
state._base = lambda: Path(sys.argv[1])
with state.state_directory(None) as directory:
    print(directory, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def base(tmp_path, monkeypatch):
    """Where temporary state directories go."""
    monkeypatch.setattr(module, "_base", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def another(base):
    """Another run, still alive, and its directory."""
    run = subprocess.Popen(
        [sys.executable, "-c", ANOTHER_RUN, str(base)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with run:
        yield run, Path(run.stdout.readline().strip())
        run.stdin.close()
        run.wait(timeout=30)


def left_over(base, owner="999999999 1"):
    directory = base / "launcher-demo-left"
    (directory / "home").mkdir(parents=True)
    (directory / "home/notebook.ipynb").touch()
    if owner is not None:
        (directory / "owner").write_text(owner)
    return directory


class TestTemporary:
    def test_it_is_new_and_gone_at_the_end(self, base):
        with state_directory(None) as directory:
            assert directory.parent == base
            (directory / "home").mkdir()
        assert list(base.iterdir()) == []

    def test_it_is_gone_after_a_failure_too(self, base):
        with pytest.raises(RuntimeError), state_directory(None):
            raise RuntimeError
        assert list(base.iterdir()) == []

    def test_other_accounts_may_pass_through_but_not_look_around(self, base):
        with state_directory(None) as directory:
            assert directory.stat().st_mode & 0o777 == 0o711

    def test_two_runs_at_once_have_each_their_own(self, base, another):
        _, theirs = another
        with state_directory(None) as ours:
            assert ours != theirs
            assert theirs.is_dir()
        assert theirs.is_dir()


class TestLeftOver:
    def test_that_of_a_killed_run_is_removed_by_the_next(self, base, another):
        run, directory = another
        assert directory.is_dir()
        run.send_signal(signal.SIGKILL)
        run.wait(timeout=30)
        assert directory.is_dir()
        with state_directory(None):
            assert not directory.exists()

    def test_that_of_a_live_run_is_kept(self, base, another):
        _, directory = another
        with state_directory(None):
            pass
        assert (directory / "owner").exists()

    def test_a_process_that_only_got_the_same_id_keeps_nothing_alive(self, base):
        directory = left_over(base, f"{os.getpid()} 1")
        with state_directory(None):
            assert not directory.exists()

    def test_that_of_another_account_is_kept(self, base, monkeypatch):
        directory = left_over(base)
        somebody = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: somebody)
        with state_directory(None):
            assert directory.exists()

    @pytest.mark.parametrize("owner", [None, "", "x y", "1", "1 2 3", "\0 \0"])
    def test_one_that_does_not_tell_its_owner_is_kept(self, base, owner):
        directory = left_over(base, owner)
        with state_directory(None):
            assert (directory / "home/notebook.ipynb").exists()

    def test_a_link_is_not_followed(self, base, tmp_path_factory):
        elsewhere = left_over(tmp_path_factory.mktemp("elsewhere"))
        (base / "launcher-demo-link").symlink_to(elsewhere)
        with state_directory(None):
            assert (elsewhere / "home/notebook.ipynb").exists()

    def test_other_directories_are_not_looked_at(self, base):
        other = base / "precious"
        other.mkdir()
        (other / "owner").write_text("999999999 1")
        with state_directory(None):
            assert other.exists()


class TestChosen:
    def test_a_new_one_is_made_and_kept(self, tmp_path):
        chosen = tmp_path / "a/site"
        with state_directory(chosen) as directory:
            (directory / "log").touch()
        assert (chosen / "log").exists()

    def test_an_empty_one_is_used(self, tmp_path):
        with state_directory(tmp_path) as directory:
            assert directory == tmp_path.resolve()
        assert tmp_path.exists()

    def test_it_is_told_by_its_whole_path(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with state_directory(Path("site")) as directory:
            assert directory == tmp_path / "site"

    def test_one_with_files_in_it_is_refused_and_left_alone(self, tmp_path):
        (tmp_path / "thesis.tex").touch()
        with pytest.raises(UsageError, match="is not empty"), state_directory(tmp_path):
            pass
        assert (tmp_path / "thesis.tex").exists()


def test_temporary_ones_lie_where_every_account_can_go():
    for directory in [module._base(), *module._base().parents]:
        assert directory.stat().st_mode & 0o001
