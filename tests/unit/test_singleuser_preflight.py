"""What would make a session useless is told before JupyterLab starts."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import claims
import pytest
from support import program

import launcher
from launcher.errors import PreflightFailed
from launcher.protocol import EventKind, encode, parse_event
from launcher.singleuser import home as home_module
from launcher.singleuser import mounts as mounts_module
from launcher.singleuser import preflight as module
from launcher.singleuser.environment import Environments
from launcher.singleuser.file_system import FileSystem, mounts
from launcher.singleuser.home import check_home, check_temporary
from launcher.singleuser.image import Image, View
from launcher.singleuser.mounts import check_mounted, check_processors
from launcher.singleuser.preflight import jupyterhub_version, preflight
from launcher.view import Operation, Patch

ANOTHER_NODE = "Press Start again to get another node; if it stays so, tell the site's support."
PACKAGE = Path(launcher.__file__).parents[1]
ANSWER = claims.ANSWER._replace(environment={}, start_directory="/")
NODE = os.uname().machine


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home that is as it should be."""
    directory = tmp_path / "home"
    directory.mkdir()
    monkeypatch.setenv("HOME", str(directory))
    monkeypatch.chdir(tmp_path)
    return directory


@pytest.fixture
def session():
    """What the server and its user's programs see."""
    user = {"HOME": os.environ["HOME"]}
    return Environments({}, user, {}, [], [])


@pytest.fixture
def node(monkeypatch):
    """Return a function that sets the version of JupyterHub on the node."""
    return lambda version: monkeypatch.setattr(module, "jupyterhub_version", lambda: version)


def in_own_mounts(script, call, **environment):
    """Return what a call says after a script has mounted what only the two of them see."""
    unshare = [program("unshare"), "--mount", "--map-root-user"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a file system of their own")
    code = "from launcher.errors import PreflightFailed as Failed\n"
    code += f"from launcher.singleuser.home import *\ntry: {call}\nexcept Failed as error: print(error)"
    done = subprocess.run(
        [*unshare, "sh", "-ec", f'{script}\nexec "$0" -c "$1"', sys.executable, code],
        env={"HOME": os.environ["HOME"], "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
        | {"PYTHONPATH": str(PACKAGE), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


def failing(monkeypatch, name, number):
    """Have a system call fail."""

    def fail(*_arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, fail)


HOME = 'check_home(__import__("os").environ["HOME"])'


class TestHome:
    def test_a_home_that_can_be_written_to_passes_and_stays_as_it_was(self, home):
        check_home(str(home))
        assert list(home.iterdir()) == []

    def test_a_home_that_is_not_mounted_is_told_with_where_it_should_be(self, home):
        with pytest.raises(PreflightFailed) as error:
            check_home(f"{home}/alice")
        system = FileSystem.of(str(home))
        assert str(error.value) == (
            f"Your home directory {home}/alice does not exist on this node.\n"
            f"It would be on {system}: the file system that has it may not be mounted.\n{ANOTHER_NODE}"
        )
        assert error.value.exit_code == 22

    def test_a_home_that_is_no_directory_is_told(self, home):
        (home / "alice").touch()
        with pytest.raises(PreflightFailed, match="is not a directory on this node"):
            check_home(f"{home}/alice")
        with pytest.raises(PreflightFailed, match="can't be used on this node") as error:
            check_home(f"{home}/alice/x")
        assert error.value.why == "Not a directory."

    def test_a_home_that_is_not_known_is_told(self):
        with pytest.raises(PreflightFailed, match=r"\$HOME is not set"):
            check_home("")

    @pytest.mark.parametrize(
        ("options", "then", "room"),
        [
            ("size=8k", 'head -c 8192 /dev/zero > "$HOME/full"', "which has 0 MB free"),
            ("size=8k", "", "which has 0 MB free"),
            ("nr_inodes=1", "", "which has no room for one more file"),
        ],
        ids=["full", "with less room than a notebook needs", "out of inodes"],
    )
    def test_a_full_home_is_told_with_its_file_system_and_what_to_do(self, home, options, then, room):
        said = in_own_mounts(f'mount -t tmpfs -o {options} none "$HOME"\n{then}', HOME)
        assert said == (
            f"There is no space left in your home directory {home}.\n"
            f"No space left on device. It is on {home} (tmpfs), {room}.\n"
            "Delete or move files there. Then press Start again.\n"
        )

    def test_of_what_may_be_deleted_only_what_is_there_is_named(self, home):
        full = 'mkdir -p "$HOME/.cache" "$HOME/.npm" "$HOME/.local/share/Trash" "$HOME/work"\n'
        full += 'cat /dev/zero > "$HOME/full" 2> /dev/null || :'
        said = in_own_mounts(f'mount -t tmpfs -o size=64k none "$HOME"\n{full}', HOME)
        todo = said.splitlines()[-1]
        assert todo == (
            "Delete or move files there, first what is only a cache: ~/.cache, ~/.local/share/Trash, ~/.npm. "
            "Then press Start again."
        )

    def test_a_home_with_room_passes(self):
        assert in_own_mounts('mount -t tmpfs -o size=64k none "$HOME"', HOME) == ""

    def test_a_read_only_home_is_told(self, home):
        mount = 'mount --bind "$HOME" "$HOME"\nmount -o remount,bind,ro "$HOME"'
        said = in_own_mounts(mount, HOME).splitlines()
        assert (
            said[0] == f"On this node nothing can be written to your home directory {home}: it is read-only."
        )
        assert said[1].startswith(f"Read-only file system. It is on {home} (")
        assert said[2] == ANOTHER_NODE

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
    def test_a_home_of_somebody_else_is_told(self, home):
        home.parent.chmod(0o755)
        code = (
            "import os\nfrom launcher.singleuser.home import check_home\nos.setresuid(65534, 65534, 65534)\n"
        )
        code += "try: check_home('home')\nexcept Exception as error: print(error)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        said = done.stdout.splitlines()
        assert said[0] == "On this node you may not write to your home directory home."
        assert said[1].startswith("Permission denied. It is on ")

    @pytest.mark.parametrize("call", ["write", "fsync"])
    def test_a_quota_that_is_used_up_is_told_as_such(self, home, monkeypatch, call):
        """Of a quota, NFS and Lustre may tell only when a file is synchronised."""
        failing(monkeypatch, call, errno.EDQUOT)
        with pytest.raises(PreflightFailed) as error:
            check_home(str(home))
        assert error.value.what == f"Your quota is used up in your home directory {home}."
        assert error.value.why == f"Disk quota exceeded. It is on {FileSystem.of(str(home))}."
        assert error.value.todo == "Delete or move files there. Then press Start again."
        assert list(home.iterdir()) == []

    def test_where_there_is_room_but_none_for_this_user_that_is_told(self, home, monkeypatch):
        failing(monkeypatch, "write", errno.ENOSPC)
        with pytest.raises(PreflightFailed, match="no space left") as error:
            check_home(str(home))
        assert "GB free: your own share of it may be used up." in error.value.why

    @pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL])
    def test_a_file_system_without_files_that_have_no_name_is_written_to_all_the_same(
        self, home, monkeypatch, number
    ):
        opened = os.open

        def without(path, flags, *more):
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(number, os.strerror(number))
            return opened(path, flags, *more)

        monkeypatch.setattr(os, "open", without)
        check_home(str(home))
        assert list(home.iterdir()) == []
        failing(monkeypatch, "fsync", errno.EDQUOT)
        with pytest.raises(PreflightFailed, match="quota"):
            check_home(str(home))
        assert list(home.iterdir()) == []

    def test_a_home_in_which_no_file_may_grow_is_told(self, home):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            with pytest.raises(PreflightFailed, match="Nothing can be written") as error:
                check_home(str(home))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert error.value.why.startswith("File too large. It is on ")


class TestTemporaryFiles:
    def test_a_directory_that_takes_them_passes_and_stays_as_it_was(self, tmp_path):
        assert check_temporary(str(tmp_path)) == str(tmp_path)
        assert [each.name for each in tmp_path.iterdir()] == ["home"]

    @pytest.fixture
    def mounted(self, tmp_path):
        """Return a function that checks a usual directory on which a script has mounted something."""
        # Not on /tmp itself: this checkout may lie there.
        usual = tmp_path / "tmp"
        usual.mkdir()
        call = f'(check_temporary.__globals__.update(TEMPORARY="{usual}"), check_temporary(""))'
        return lambda script: in_own_mounts(script.replace("TMP", str(usual)), call).replace(
            str(usual), "TMP"
        )

    def test_a_full_one_is_told(self, mounted):
        assert mounted("mount -t tmpfs -o size=4k none TMP\necho > TMP/full") == (
            "There is no space left in the directory for temporary files TMP.\n"
            "No space left on device. It is on TMP (tmpfs), which has 0 MB free.\n"
            "Press Start again to get another node; if it stays so, delete files of yours there, or tell the "
            "site's support.\n"
        )

    def test_a_read_only_one_is_told(self, mounted):
        said = mounted("mount -t tmpfs -o ro none TMP")
        what = (
            "On this node nothing can be written to the directory for temporary files TMP: it is read-only."
        )
        assert said.startswith(f"{what}\n")

    def test_in_the_place_of_one_that_is_not_on_the_node_the_usual_one_is_taken(
        self, session, monkeypatch, tmp_path, capsys
    ):
        monkeypatch.setattr(home_module, "TEMPORARY", str(tmp_path))
        session.user["TMPDIR"] = "/nonexistent/job.42"
        preflight(ANSWER, session)
        assert session.user["TMPDIR"] == session.server["TMPDIR"] == str(tmp_path)
        said = "TMPDIR /nonexistent/job.42 can't be used on this node (No such file or directory)"
        assert f"{said}, {tmp_path} is used" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("number", "said"),
        [
            (errno.EACCES, "Permission denied"),
            (errno.EPERM, "Operation not permitted"),
            (errno.EROFS, "Read-only file system"),
            (errno.ENOTDIR, "Not a directory"),
            (errno.ENOSPC, "it is full"),
            (errno.EDQUOT, "it is full"),
        ],
    )
    def test_nor_does_one_that_takes_nothing_hinder_a_start(
        self, monkeypatch, tmp_path, capsys, number, said
    ):
        real = home_module.write_somewhere

        def write(directory):
            if directory == "/job":
                raise OSError(number, os.strerror(number))
            real(directory)

        monkeypatch.setattr(home_module, "write_somewhere", write)
        monkeypatch.setattr(home_module, "TEMPORARY", str(tmp_path))
        assert check_temporary("/job") == str(tmp_path)
        words = f"TMPDIR /job can't be used on this node ({said}), {tmp_path} is used"
        assert capsys.readouterr().err == f"launcher-singleuser: {words}\n"

    def test_where_the_usual_one_takes_nothing_either_that_one_is_told(self, monkeypatch):
        monkeypatch.setattr(home_module, "TEMPORARY", "/proc")
        with pytest.raises(PreflightFailed, match="the directory for temporary files /proc"):
            check_temporary("/nonexistent")

    def test_the_one_that_the_job_names_stays(self, session, tmp_path):
        session.user["TMPDIR"] = str(tmp_path)
        preflight(ANSWER, session)
        assert session.user["TMPDIR"] == str(tmp_path)


class TestFileSystems:
    def test_a_path_lies_in_the_innermost_one(self):
        assert FileSystem.of("/") in [*mounts()]
        assert FileSystem.of("/proc/self/status") == FileSystem("/proc", "proc")
        assert FileSystem.of("/process").mount != "/proc"

    def test_names_with_blanks_are_read(self, home):
        (home / "a b").mkdir()
        script = 'mount -t tmpfs none "$HOME/a b"'
        call = 'print(FileSystem.of(__import__("os").environ["HOME"] + "/a b/c"))'
        assert in_own_mounts(script, call) == f"{home}/a b (tmpfs)\n"


@pytest.fixture
def image(tmp_path):
    """Return a function that makes an image's directory with some programs and a view that has them."""

    def make(**programs):
        mount = tmp_path / "user-environment"
        folder = mount / "env/default/bin"
        folder.mkdir(parents=True)
        for name, content in programs.items():
            (folder / name).write_bytes(content)
        patch = Patch({"PATH": (Operation("prepend", ("/usr/bin", str(folder))),)}, {})
        view = View(str(mount), "default", patch)
        return Image(str(mount), "prgenv/1", "prgenv", {"default": view}, "default"), view

    return make


def elf(machine, order="little"):
    head = b"\x7fELF\2" + (b"\1" if order == "little" else b"\2") + b"\1" + b"\0" * 9 + b"\2\0"
    return head + machine.to_bytes(2, order) + b"\0" * 44


class TestMounts:
    def test_an_image_that_is_not_mounted_leaves_an_empty_directory(self, tmp_path):
        (tmp_path / "user-environment").mkdir()
        missing = Image(f"{tmp_path}/user-environment", "prgenv/1", "prgenv", {}, "")
        with pytest.raises(PreflightFailed) as error:
            check_mounted([missing])
        assert (error.value.what, error.value.why) == (
            f"The image prgenv/1 is not mounted at {tmp_path}/user-environment on this node.",
            "Nothing is mounted on that directory.",
        )
        assert "another node" in error.value.todo

    def test_a_mount_point_that_is_not_there_is_told(self, tmp_path):
        with pytest.raises(PreflightFailed) as error:
            check_mounted([Image(f"{tmp_path}/none", "prgenv/1", "prgenv", {}, "")])
        assert error.value.why == "There is no such directory."

    def test_a_directory_that_is_an_image_may_be_in_its_place(self, image):
        made, _ = image()
        (Path(made.mount) / "meta").mkdir()
        (Path(made.mount) / "meta/env.json").write_text("{}")
        check_mounted([made])

    def test_whatever_is_mounted_there_will_do(self):
        call = "__import__('launcher.singleuser.mounts').singleuser.mounts.check_mounted(["
        call += "Image(__import__('os').environ['HOME'], 'prgenv/1', 'prgenv', {}, '')])"
        call = f"from launcher.singleuser.image import Image; {call}"
        assert in_own_mounts('mount --bind "$HOME" "$HOME"', call) == ""
        assert "is not mounted" in in_own_mounts("", call)


class TestProcessors:
    def test_programs_for_this_node_pass(self, image):
        made, view = image(python3=Path(sys.executable).read_bytes()[:64])
        check_processors([made], [view])

    @pytest.mark.parametrize(
        ("content", "machine"), [(elf(183), "aarch64"), (elf(62), "x86_64"), (elf(22, "big"), "s390x")]
    )
    def test_programs_for_others_are_told(self, image, monkeypatch, content, machine):
        monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "n1", "6", "1", "ppc64le")))
        made, view = image(python3=content)
        with pytest.raises(PreflightFailed) as error:
            check_processors([made], [view])
        assert str(error.value).splitlines() == [
            f"The image prgenv/1 is for {machine} processors; this node has ppc64le.",
            "Choose an environment that is made for this node, or a partition with other nodes.",
        ]

    def test_scripts_links_to_other_places_and_what_can_not_be_read_tell_nothing(self, image):
        foreign = elf(183 if NODE != "aarch64" else 62)
        made, view = image(bash=b"#!/bin/sh\n", gcc=b"\x7fEL", perl=elf(3))
        folder = Path(made.mount, "env/default/bin")
        (folder.parents[3] / "outside").write_bytes(foreign)
        (folder / "python3").symlink_to(folder.parents[3] / "outside")
        (folder / "dangling").symlink_to("nowhere")
        (folder / "folder").mkdir()
        os.mkfifo(folder / "fifo")
        check_processors([made], [view])
        (folder / "inside").symlink_to("../../inside")
        (folder.parents[1] / "inside").write_bytes(foreign)
        with pytest.raises(PreflightFailed, match="The image prgenv/1 is for "):
            check_processors([made], [view])

    def test_a_folder_of_many_scripts_is_not_read_through(self, image, monkeypatch):
        made, view = image(**{f"script{number:04}": b"#!/bin/sh\n" for number in range(500)})
        opened, read = [], os.open
        monkeypatch.setattr(os, "open", lambda *given: opened.append(given[0]) or read(*given))
        check_processors([made], [view])
        assert len(opened) < 20

    def test_an_image_without_a_view_or_without_its_folders_tells_nothing(self, image):
        made, view = image()
        check_processors([made], [])
        check_processors([made], [view._replace(mount="/none")])
        (Path(made.mount) / "env/default/bin").rmdir()
        check_processors([made], [view])

    def test_a_node_of_an_unknown_kind_is_taken_as_it_is(self, image, monkeypatch):
        monkeypatch.setattr(mounts_module, "_MACHINES", {183: "aarch64"})
        monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "n1", "6", "1", "loongarch64")))
        made, view = image(python3=elf(183))
        check_processors([made], [view])


class TestClock:
    @pytest.mark.parametrize("seconds", [0, 59, -59])
    def test_a_minute_does_not_matter(self, session, seconds):
        preflight(ANSWER, session, seconds)

    @pytest.mark.parametrize(
        ("seconds", "said"),
        [
            (61, "61 seconds ahead of"),
            (-119, "119 seconds behind"),
            (130, "2 minutes ahead of"),
            (-7200, "2 hours behind"),
            (1e7, "116 days ahead of"),
        ],
    )
    def test_more_is_told(self, session, seconds, said):
        with pytest.raises(PreflightFailed) as error:
            preflight(ANSWER, session, seconds)
        assert error.value.what == f"The clock of this node is {said} the hub's."
        assert "another node" in error.value.todo


class TestStartDirectory:
    def test_terminals_will_begin_there(self, session, tmp_path):
        preflight(ANSWER._replace(start_directory=str(tmp_path)), session)
        assert Path.cwd() == tmp_path

    @pytest.mark.parametrize(
        ("name", "why"), [("none", "No such file or directory."), ("file", "Not a directory.")]
    )
    def test_one_that_is_not_there_is_told_with_what_to_choose_instead(self, session, tmp_path, name, why):
        (tmp_path / "file").touch()
        with pytest.raises(PreflightFailed) as error:
            preflight(ANSWER._replace(start_directory=f"{tmp_path}/{name}"), session)
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


class TestVersions:
    @pytest.mark.parametrize(
        "version", ["5.5.1", "5.6.0", "6.0.0b1", "6.0.0", "6.1.1", "6.9.9", "6.2.0+local"]
    )
    def test_a_node_may_be_older_within_bounds_or_newer_by_a_minor_version(self, session, node, version):
        node(version)
        preflight(ANSWER, session)

    @pytest.mark.parametrize(
        "version", ["5.5.0", "5.5", "5.4.9", "4.1.6", "1.0", "7.0.0", "7.0.0rc1", "10.0"]
    )
    def test_a_node_that_does_not_fit_the_hub_is_told(self, session, node, version):
        node(version)
        with pytest.raises(PreflightFailed) as error:
            preflight(ANSWER, session)
        assert (
            error.value.what == f"JupyterHub {version} on this node does not fit JupyterHub 6.1.1 at the hub."
        )
        assert error.value.why == "The node needs 5.5.1 or newer, and no newer major version than the hub's."

    def test_a_missing_jupyterhub_is_left_to_jupyterlabs_start(self, session, node):
        node(None)
        preflight(ANSWER, session)


class TestInstalledVersion:
    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.setattr(sys, "path", [f"{tmp_path}/none", __file__, str(tmp_path)])
        jupyterhub_version.cache_clear()
        yield tmp_path
        jupyterhub_version.cache_clear()

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


class TestTold:
    """From the entry point on: the hub and the job's log say the same."""

    @pytest.fixture
    def told(self, hub, home):
        """Return a function that runs a launch that must fail, and returns its words."""

        def run(answer=ANSWER, before=(), **environment):
            hub.answers = [(200, encode(answer)), (200, b"{}")]
            done = subprocess.run(
                [*before, sys.executable, "-I", "-m", "launcher.singleuser"],
                env={"HOME": str(home), "PATH": os.environ["PATH"], "SLURM_JOB_ID": "42"}
                | {"LAUNCHER_TICKET": "a" * 64, "LAUNCHER_HUB_URL": hub.url, **environment},
                capture_output=True,
                text=True,
                check=False,
            )
            event = parse_event(hub.posts[-1].body)
            assert (event.kind, event.exit_code, done.returncode) == (EventKind.STOPPING, 22, 22)
            assert event.message in done.stderr
            assert "Traceback" not in done.stderr
            return event.message.splitlines()

        return run

    def test_an_image_that_is_not_mounted_though_its_view_is_wanted(self, told, tmp_path):
        answer = ANSWER._replace(images={str(tmp_path): "prgenv/1"})
        said = told(answer, UENV_VIEW=f"{tmp_path}:prgenv:default")
        assert said[0] == f"The image prgenv/1 is not mounted at {tmp_path} on this node."

    def test_an_image_of_the_jobs_own_that_is_not_mounted(self, told, tmp_path):
        said = told(UENV_MOUNT_LIST=f"/images/prgenv.squashfs:{tmp_path}")
        assert said[0] == f"The image prgenv is not mounted at {tmp_path} on this node."

    def test_an_image_without_the_view_that_is_wanted(self, told, tmp_path):
        (tmp_path / "meta").mkdir()
        (tmp_path / "meta/env.json").write_text('{"name": "prgenv", "views": {"default": {}, "spack": {}}}')
        answer = ANSWER._replace(images={str(tmp_path): "prgenv/1"})
        assert told(answer, UENV_VIEW=f"{tmp_path}:prgenv:develop") == [
            "The image prgenv/1 has no view develop.",
            "It has default, spack.",
            "Choose another view or environment, or tell the site's support.",
        ]

    @pytest.mark.parametrize(("offset", "said"), [("+5m", "5 minutes ahead of"), ("-3h", "3 hours behind")])
    def test_a_clock_that_is_wrong(self, told, offset, said):
        what, *_ = told(before=[program("faketime"), "-f", offset])
        assert what == f"The clock of this node is {said} the hub's."

    def test_a_missing_home(self, told, tmp_path):
        assert told(HOME=f"{tmp_path}/none")[0].startswith(
            f"Your home directory {tmp_path}/none does not exist"
        )

    def test_a_hub_of_an_older_major_version(self, told):
        assert "does not fit JupyterHub 4.0.2" in told(ANSWER._replace(jupyterhub_version="4.0.2"))[0]

    def test_no_place_for_a_temporary_file(self, told):
        unshare = [program("unshare"), "--mount", "--map-root-user"]
        if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
            pytest.skip("this machine lets nobody mount a file system of their own")
        script = "mount --bind /tmp /tmp\nmount -o remount,bind,ro /tmp\n"
        script += 'PATH="$PATH:/usr/sbin:/sbin" mount -t tmpfs none "$HOME"\nexec "$@"'
        what, *_ = told(before=[*unshare, "sh", "-ec", script, "sh"], TMPDIR="/proc")
        assert what == (
            "On this node nothing can be written to the directory for temporary files /tmp: it is read-only."
        )
