"""The session's private directory: nobody else gets in, sockets and locks work, nothing stays behind."""

import errno
import fcntl
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.errors import PreflightFailed
from launcher.singleuser import directory as module
from launcher.singleuser.directory import PrivateDirectory


@pytest.fixture(autouse=True)
def node(tmp_path, monkeypatch):
    """A node's own directories, with paths as short as they usually are."""
    monkeypatch.chdir(tmp_path)
    # Seen through a link: a test's own directory has too long a path for sockets.
    link = Path(f"/tmp/t{os.urandom(4).hex()}")
    link.symlink_to(tmp_path)
    for name in ("shm", "tmp"):
        (link / name).mkdir()
        (link / name).chmod(0o1777)
    monkeypatch.setattr(module, "_MEMORY", f"{link}/shm")
    monkeypatch.setattr(module, "_TEMPORARY", f"{link}/tmp")
    yield link
    link.unlink()


@pytest.fixture
def site(node):
    """A directory that a site has chosen."""
    (node / "site").mkdir(mode=0o700)
    return str(node / "site")


def place(environment=None):
    with PrivateDirectory(environment or {}) as made:
        return str(Path(made.path).parent)


def unfit(monkeypatch, owner, name, number, where):
    """Have a call fail in one place, as on a file system that can't do it."""
    real = getattr(owner, name)

    def fail(target, *arguments):
        path = Path(f"/proc/self/fd/{target}" if isinstance(target, int) else target).resolve()
        if Path(where).resolve() in path.parents:
            raise OSError(number, os.strerror(number))
        return real(target, *arguments)

    monkeypatch.setattr(owner, name, fail)


class WithoutSockets(socket.socket):
    """On a file system that knows none."""

    def bind(self, address):
        if "/site/" in address:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        super().bind(address)


class TestItself:
    def test_only_its_owner_may_enter_it(self):
        before = os.umask(0)
        try:
            with PrivateDirectory({}) as made:
                assert stat.S_IMODE(Path(made.path).stat().st_mode) == 0o700
        finally:
            os.umask(before)

    def test_it_is_gone_with_all_that_is_in_it_at_the_end(self, node):
        with PrivateDirectory({}) as made:
            (Path(made.path) / "kernels").mkdir()
            (Path(made.path) / "kernels/kernel.json").touch()
        assert [*(node / "shm").iterdir()] == []

    def test_it_begins_with_nothing_but_its_lock(self):
        with PrivateDirectory({}) as made:
            assert [each.name for each in Path(made.path).iterdir()] == ["lock"]

    def test_sockets_of_kernels_fit_into_it(self):
        with PrivateDirectory({}) as made, socket.socket(socket.AF_UNIX) as kernel:
            kernel.bind(f"{made.path}/kernel-01234567-89ab-cdef-0123-456789abcdef-ipc-5")

    def test_two_sessions_have_two(self):
        with PrivateDirectory({}) as first, PrivateDirectory({}) as second:
            assert first.path != second.path
            assert Path(first.path).is_dir()

    def test_what_is_there_already_is_never_taken(self, node, monkeypatch):
        """Whoever guesses the name gains nothing: neither a link nor a directory is followed."""
        monkeypatch.setattr(os, "urandom", bytes)
        (node / "trap").mkdir()
        name = f"launcher-{os.getuid()}-{'00' * 4}"
        (node / "shm" / name).symlink_to(node / "trap")
        with PrivateDirectory({}) as made:
            assert made.path == f"{node}/tmp/{name}"
        assert [*(node / "trap").iterdir()] == []
        assert (node / "shm" / name).is_symlink()

    @pytest.mark.parametrize(
        ("owner", "name"), [(os, "mkdir"), (os, "open"), (fcntl, "flock"), (os, "unlink"), (os, "rename")]
    )
    def test_a_signal_while_it_is_made_leaves_nothing(self, node, monkeypatch, owner, name):
        real = getattr(owner, name)

        def interrupted(*arguments):
            real(*arguments)
            monkeypatch.undo()
            raise SystemExit(143)

        place = f"{node}/shm"
        monkeypatch.setattr(owner, name, interrupted)
        with pytest.raises(SystemExit):
            PrivateDirectory({"JUPYTER_RUNTIME_DIR": place})
        assert [*(node / "shm").iterdir()] == []

    def test_kernels_do_not_inherit_its_lock(self):
        with PrivateDirectory({}) as made:
            look = (
                "import os, sys; print([os.readlink(f'/proc/self/fd/{fd}') for fd in (3, 4, 5, 6, 7, 8, 9) "
            )
            look += "if os.path.exists(f'/proc/self/fd/{fd}')])"
            done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
            assert os.path.realpath(made.path) not in done.stdout


class TestPlace:
    def test_it_is_the_nodes_memory_and_never_the_home(self, node, monkeypatch):
        monkeypatch.setenv("HOME", str(node))
        assert place({"HOME": str(node), "XDG_RUNTIME_DIR": str(node / "tmp")}) == f"{node}/shm"

    def test_one_that_the_site_or_its_user_names_comes_first(self, site):
        assert place({"JUPYTER_RUNTIME_DIR": site}) == site

    @pytest.mark.parametrize("name", ["TMPDIR", "XDG_RUNTIME_DIR"])
    def test_the_jobs_own_are_the_last(self, node, site, name):
        for each in ("shm", "tmp"):
            (node / each).rmdir()
        assert place({name: site}) == site

    @pytest.mark.parametrize(
        "call",
        [
            (fcntl, "flock", errno.ENOSYS),
            (fcntl, "lockf", errno.ENOLCK),
            (os, "write", errno.EDQUOT),
            (os, "mkdir", errno.EROFS),
        ],
        ids=["no locks", "no POSIX locks", "no room", "read-only"],
    )
    def test_one_that_is_not_fit_is_left_as_it_was_for_one_of_the_node(
        self, node, site, monkeypatch, capsys, call
    ):
        unfit(monkeypatch, *call, site)
        assert place({"JUPYTER_RUNTIME_DIR": site}) == f"{node}/shm"
        assert [*Path(site).iterdir()] == []
        said = f"JUPYTER_RUNTIME_DIR {site} is not fit ({os.strerror(call[2])}), {node}/shm is used\n"
        assert capsys.readouterr().err == f"launcher-singleuser: {said}"

    def test_one_without_sockets_is_not_fit(self, node, site, monkeypatch):
        monkeypatch.setattr(socket, "socket", WithoutSockets)
        assert place({"JUPYTER_RUNTIME_DIR": site}) == f"{node}/shm"
        assert [*Path(site).iterdir()] == []

    def test_one_whose_path_is_too_long_for_sockets_is_not_fit(self, node, capsys):
        deep = node / "site" / ("d" * 60)
        deep.mkdir(parents=True)
        assert place({"JUPYTER_RUNTIME_DIR": str(deep)}) == f"{node}/shm"
        assert "path too long" in capsys.readouterr().err

    def test_one_in_which_others_may_rename_it_is_not_fit(self, node, site):
        Path(site).chmod(0o777)
        assert place({"JUPYTER_RUNTIME_DIR": site}) == f"{node}/shm"
        Path(site).chmod(0o1777)
        assert place({"JUPYTER_RUNTIME_DIR": site}) == site

    @pytest.mark.parametrize("wanted", ["", "relative", "/nonexistent/runtime"])
    def test_one_that_is_none_is_not_made(self, node, wanted):
        assert place({"JUPYTER_RUNTIME_DIR": wanted}) == f"{node}/shm"
        assert not (node / "relative").exists()

    def test_a_node_without_a_place_is_told_with_each_reason(self, node):
        (node / "shm").rmdir()
        (node / "tmp").rmdir()
        with pytest.raises(PreflightFailed) as error:
            PrivateDirectory({"TMPDIR": "/proc"})
        assert error.value.what == "There is no place for the sockets of kernels on this node."
        assert error.value.why.startswith(f"{node}/shm: No such file or directory; {node}/tmp: ")
        assert "/proc: " in error.value.why
        assert "another node" in error.value.todo


class TestLeftBehind:
    KILLED = "import os, sys\nfrom launcher.singleuser import directory\ndirectory._MEMORY = sys.argv[1]\n"
    KILLED += "print(directory.PrivateDirectory({}).path, flush=True)\nos.kill(os.getpid(), 9)"

    @pytest.fixture
    def left(self, node):
        """What a killed session has left."""
        command = [sys.executable, "-c", self.KILLED, f"{node}/shm"]
        path = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        assert Path(path).is_dir()
        return Path(path)

    def test_what_a_killed_session_has_left_is_removed_at_the_end_of_the_next(self, left):
        with PrivateDirectory({}):
            assert left.exists()  # a start has no time for it
        assert not left.exists()

    @pytest.fixture
    def begun(self, node):
        """A directory that is still being made."""
        path = node / f"shm/launcher-{os.getuid()}-89abcdef"
        path.mkdir(mode=0o700)
        (path / ".lock").touch()
        return path

    def test_what_one_has_left_that_was_killed_while_it_made_it_is_removed_too(self, begun):
        os.utime(begun, (0, 0))
        with PrivateDirectory({}):
            assert begun.exists()
        assert not begun.exists()

    def test_what_is_being_made_stays(self, begun):
        with PrivateDirectory({}):
            pass
        assert (begun / ".lock").exists()
        os.utime(begun, (0, 0))
        with (begun / ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with PrivateDirectory({}):
                pass
        assert (begun / ".lock").exists()

    def test_what_belongs_to_a_session_that_lives_stays(self):
        with PrivateDirectory({}) as first:
            with PrivateDirectory({}):
                pass
            assert Path(first.path).is_dir()

    def test_what_is_somebody_elses_or_something_else_stays(self, node, left):
        others = [
            left.with_name(f"launcher-{os.getuid() + 1}-01234567"),
            left.with_name(f"launcher-{os.getuid()}-01234567"),
            left.with_name("launcher"),
        ]
        for each in others:
            each.mkdir()
        (node / "precious").mkdir()
        (node / "precious/lock").touch()
        link = left.with_name(f"launcher-{os.getuid()}-76543210")
        link.symlink_to(node / "precious")
        with PrivateDirectory({}):
            pass
        assert all(each.is_dir() for each in others)
        assert (node / "precious/lock").exists()

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can give something away")
    def test_what_another_user_has_made_to_look_like_ours_stays(self, left):
        os.chown(left, 65534, 65534)
        left.chmod(0o777)
        with PrivateDirectory({}):
            pass
        assert (left / "lock").exists()

    def test_of_a_place_that_nodes_may_share_nothing_is_removed(self, left, monkeypatch):
        monkeypatch.setattr(module, "_MEMORY", "/nonexistent")
        with PrivateDirectory({"JUPYTER_RUNTIME_DIR": str(left.parent)}):
            pass
        assert left.is_dir()
