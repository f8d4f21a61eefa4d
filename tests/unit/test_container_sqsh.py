"""Squashfs files of containers: what Enroot finds in them of what the image says of itself."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import program

from launcher.builder import squashfs
from launcher.builder.container import sqsh
from launcher.builder.container.engine import Image
from launcher.errors import BuildFailed, MissingPart

IMAGE = Image("1a" * 32, "", "x86_64", {"PATH": "/bin"}, {}, "", (), (), "/")
EPOCH = 1_700_000_000
SHOWS = """\
#!/bin/sh
pwd
for each; do printf '<%s>' "$each"; done
"""
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    for name in ("etc", "proc", "tmp/inner", "var/tmp", "run", "bin", "dev", "sys"):
        (root / name).mkdir(parents=True)
    for name in (
        "etc/environment",
        "etc/rc",
        "etc/fstab",
        "etc/kept",
        "tmp/some",
        "var/tmp/.some",
        "run/.some",
    ):
        (root / name).write_text("the image's own\n")
    (root / "bin/tool").write_text("#!/bin/sh\n")
    (root / "bin/tool").chmod(0o4755)
    return root


@pytest.fixture
def packed(root, tmp_path):
    """Pack the files as those of an image; return the squashfs file."""
    program("mksquashfs")

    def pack(image=IMAGE, name="image.sqsh"):
        sqsh.pack(root, image, tmp_path / name, EPOCH)
        return tmp_path / name

    return pack


def started(image, *arguments):
    """Start an image as Enroot does, save that no root is changed; return what its command sees."""
    with tempfile.TemporaryDirectory() as directory:
        shows = Path(directory, "shows")
        shows.write_text(SHOWS)
        shows.chmod(0o755)
        show, below = (str(shows),), f"{directory}/work"
        runs = (
            {"entrypoint": show + image.entrypoint} if image.entrypoint else {"command": show + image.command}
        )
        rc = sqsh._start(image._replace(directory=below + image.directory, **runs))
        done = subprocess.run(["sh", "-c", rc, "/etc/rc", *arguments], capture_output=True, check=False)
        return done.returncode, os.fsdecode(done.stdout).replace(below, "", 1), done.stderr


class TestStart:
    @pytest.mark.parametrize(
        "directory", ["/", "/two words", "/it's", '/a"b', "/$(id)", "/-x", "/new\nline", "/ä;b"]
    )
    def test_it_begins_in_the_images_directory_which_is_made_if_it_is_not_there(self, directory):
        code, said, errors = started(IMAGE._replace(directory=directory, command=("one",)))
        assert (code, said, errors) == (0, f"{directory.rstrip('/')}\n<one>", b"")

    def test_a_directory_that_can_not_be_had_ends_it(self):
        assert started(IMAGE._replace(directory="/" + "x" * 300))[:2] == (1, "")

    def test_its_own_command_is_run_by_its_entrypoint(self):
        image = IMAGE._replace(entrypoint=("entry",), command=("run", "it"))
        assert started(image)[1].endswith("<entry><run><it>")

    def test_a_command_that_is_given_takes_the_place_of_its_own(self):
        image = IMAGE._replace(entrypoint=("entry",), command=("run", "it"))
        assert started(image, "given", "two words")[1].endswith("<entry><given><two words>")

    def test_without_a_command_it_is_a_shell(self):
        assert started(IMAGE._replace(entrypoint=("entry",)))[1].endswith("<entry></bin/sh>")
        assert "exec  /bin/sh" in sqsh._start(IMAGE)

    def test_what_the_site_does_before_is_done(self):
        assert ". /etc/rc.local" in sqsh._start(IMAGE)

    @settings(max_examples=20)
    @given(st.lists(WORDS, min_size=1, max_size=3), st.lists(WORDS, max_size=3), st.lists(WORDS, max_size=3))
    @example(["$HOME"], ["`id`", "'"], [])
    @example(["-e"], [], ["--", "\n"])
    def test_every_word_arrives_as_it_is(self, entrypoint, command, given):
        image = IMAGE._replace(entrypoint=tuple(entrypoint), command=tuple(command))
        code, said, errors = started(image, *given)
        words = [*entrypoint, *(given or command or ["/bin/sh"])]
        assert (code, said, errors) == (0, "\n" + "".join(f"<{each}>" for each in words), b"")


class TestPack:
    def test_it_holds_the_images_files_and_what_the_image_says_of_itself(self, packed):
        image = IMAGE._replace(environment={"PATH": "/a b:/bin", "QUOTED": "'\"$x"})
        file = packed(image)
        assert squashfs.read(file, "etc/environment") == b"PATH=/a b:/bin\nQUOTED='\"$x\n"
        assert squashfs.read(file, "etc/fstab") == b""
        assert squashfs.read(file, "etc/rc").decode() == sqsh._start(image)
        assert squashfs.read(file, "etc/kept") == b"the image's own\n"
        entries = {each.path: each for each in squashfs.entries(file)}
        assert oct(entries["etc/rc"].mode & 0o7777) == "0o755"
        assert oct(entries["etc/environment"].mode & 0o7777) == "0o644"

    @pytest.mark.parametrize(
        "environment",
        [{"LINES": "a\nLD_PRELOAD=/evil.so"}, {"A\nLD_PRELOAD": "/evil.so"}],
        ids=["value", "name"],
    )
    def test_no_variable_becomes_two(self, packed, environment):
        file = packed(IMAGE._replace(environment={**environment, "KEPT": "1"}))
        assert squashfs.read(file, "etc/environment") == b"KEPT=1\n"

    def test_what_a_node_fills_is_there_and_empty(self, packed):
        paths = {each.path for each in squashfs.entries(packed())}
        assert {"proc", "sys", "dev", "run", "tmp", "var/tmp"} <= paths
        assert not [each for each in paths if each.startswith(("tmp/", "var/tmp/", "run/"))]

    def test_the_same_image_gives_the_same_bytes(self, packed, root, monkeypatch, tmp_path):
        first = packed()
        (root / "etc/rc").touch()
        blank = tmp_path / "it's a directory"
        blank.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(blank))
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
        assert packed(name="other.sqsh").read_bytes() == first.read_bytes()

    def test_all_of_it_is_roots(self, packed, root, tmp_path):
        if os.geteuid() == 0:
            os.chown(root / "etc/kept", 1000, 1000)
        listed = subprocess.run(
            ["unsquashfs", "-lln", packed()], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        owners = {line.split()[1] for line in listed if line[0] in "-dl"}
        assert owners == {"0/0"}

    def test_what_can_not_be_packed_is_told_and_leaves_nothing(self, root, tmp_path):
        program("mksquashfs")
        with pytest.raises(BuildFailed, match=f"mksquashfs could not make {tmp_path / 'image.sqsh'}"):
            sqsh.pack(root / "none", IMAGE, tmp_path / "image.sqsh", EPOCH)
        assert not (tmp_path / "image.sqsh").exists()

    def test_what_is_not_installed_is_told(self, root, tmp_path, monkeypatch):
        monkeypatch.setattr("launcher.builder.program.shutil.which", lambda *_, **__: None)
        with pytest.raises(MissingPart, match="mksquashfs") as error:
            sqsh.pack(root, IMAGE, tmp_path / "image.sqsh", EPOCH)
        assert "squashfs-tools" in error.value.todo
