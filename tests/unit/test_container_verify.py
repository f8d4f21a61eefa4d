"""Whether an image of a container is what it promises: each objection, and what is run of it when."""

import json
import os
import shutil
import subprocess

import pytest
from rights import give_rights, may_have_rights

from launcher.builder.container import verify as module
from launcher.builder.container.engine import Image
from launcher.builder.container.verify import Promise
from launcher.builder.report import VERIFY

LABELS = {"org.opencontainers.image.version": "1.0"}
BASE = Image(
    "1a" * 32, "", "x86_64", {"PATH": "/bin", "BASE_TOKEN": "x"}, {"maintainer": "a"}, "", (), (), "/"
)
IMAGE = BASE._replace(
    id="2b" * 32, environment={**BASE.environment, "PATH": "/opt/launcher/bin:/bin"}, labels=LABELS
)
SAME, NOTHING_ELSE = "what the base holds is as it was", "nothing else is added"
TOOLS, LOOSE = (
    "the tools are as they were built",
    "nothing that is added is setuid, or can be written by others",
)


class Built:
    """An image on disk, with its base and the directory that it was built from; all of it as it should be."""

    def __init__(self, directory):
        self.before, self.root = directory / "before", directory / "root"
        tools = directory / "context/tools"
        self.write(self.before / "etc/passwd", "root")
        self.write(self.before / "usr/lib/python3/kept.py", "base")
        self.write(tools / "env/jupyter/bin/python", "#!python").chmod(0o755)
        self.write(tools / "meta/recipe/verify", "checks")
        (tools / "bin").symlink_to("env/jupyter/bin")
        shutil.copytree(self.before, self.root)
        shutil.copytree(tools, self.root / "opt/launcher", symlinks=True)
        self.promise = Promise(
            "/opt/launcher", "env/jupyter", str(directory / "context"), [], False, LABELS, False
        )
        self.base = BASE

    @staticmethod
    def write(path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def checks(self):
        """Return the checks from outside."""
        return [*module._outside(self.before, self.root, self.base, self.promise)]

    def objections(self):
        """Return the checks that failed, and why."""
        return {each.name: each.text for each in self.checks() if not each.ok}


@pytest.fixture
def built(tmp_path):
    old = os.umask(0o022)
    yield Built(tmp_path)
    os.umask(old)


class TestOutside:
    def test_one_that_is_as_it_should_be_passes(self, built):
        assert built.objections() == {}
        told = {each.name: each.text for each in built.checks()}
        assert told == {SAME: "2 files", NOTHING_ELSE: "", TOOLS: "3 files", LOOSE: ""}

    def test_a_base_that_was_changed_is_told(self, built):
        (built.root / "etc/passwd").write_text("evil")
        (built.root / "usr/lib/python3/kept.py").unlink()
        assert built.objections() == {
            SAME: "etc/passwd: has another content\nusr/lib/python3/kept.py: is gone"
        }

    def test_what_is_added_elsewhere_is_told(self, built):
        built.write(built.root / "etc/cron.d/job", "evil")
        built.write(built.root / "usr/lib/python3/more.py", "more")
        assert built.objections() == {NOTHING_ELSE: "etc/cron.d\nusr/lib/python3/more.py"}

    def test_what_is_added_beside_the_tools_in_a_new_directory_is_told(self, built):
        built.write(built.root / "opt/other/program", "more")
        built.write(built.root / "opt/launcher.conf", "more")
        assert built.objections() == {NOTHING_ELSE: "opt/launcher.conf\nopt/other"}

    def test_a_new_directory_is_not_a_link_to_another(self, built):
        (built.root / "opt").rename(built.root / "usr/opt")
        (built.root / "opt").symlink_to("usr/opt")
        assert built.objections()[NOTHING_ELSE] == "opt\nusr/opt"

    def test_what_the_recipe_says_it_adds_and_where_packages_go_is_allowed(self, built):
        built.write(built.root / "etc/ssl/certs/ca.crt", "certificate")
        built.write(built.root / "usr/lib/python3/more/x.py", "more")
        paths = ["/etc/ssl/certs/ca.crt", "/usr/lib/python3"]
        built.promise = built.promise._replace(paths=paths)
        assert built.objections() == {}
        built.write(built.root / "etc/ssl/certs/other.crt", "certificate")
        built.write(built.root / "etc/ssl/private/key", "key")
        assert built.objections() == {NOTHING_ELSE: "etc/ssl/certs/other.crt\netc/ssl/private"}

    @pytest.mark.parametrize(
        "path", ["etc/resolv.conf", "etc/hosts", ".dockerenv", "run/.containerenv", "run/secrets/rhsm"]
    )
    def test_the_files_of_engines_are_nothing_while_they_are_empty(self, built, path):
        built.write(built.root / path, "")
        assert built.objections() == {}
        built.write(built.root / path, "nameserver 192.0.2.1")
        assert built.objections()[NOTHING_ELSE]

    def test_only_what_is_filled_of_what_runs_is_told(self, built):
        (built.before / "run").mkdir()
        for name in ("run/.containerenv", "run/inner/empty"):
            built.write(built.root / name, "")
        built.write(built.root / "run/inner/filled", "x")
        assert built.objections() == {NOTHING_ELSE: "run/inner/filled"}

    def test_a_link_is_not_empty(self, built):
        for each in (built.before, built.root):
            (each / "run").mkdir()
        (built.root / "run/link").symlink_to("nowhere")
        assert built.objections() == {NOTHING_ELSE: "run/link"}

    @pytest.mark.parametrize(
        "facts",
        [{"volumes": ("/data/own", "/other")}, {"directory": "/data/own"}, {"volumes": ("data/own/",)}],
    )
    def test_where_a_base_begins_and_has_volumes_may_be_an_empty_directory(self, built, facts):
        place = built.root / "data/own"
        place.mkdir(parents=True)
        assert built.objections() == {NOTHING_ELSE: "data"}
        built.base = BASE._replace(**facts)
        assert built.objections() == {}
        built.write(place / "file", "x")
        assert built.objections() == {NOTHING_ELSE: "data"}
        (place / "file").unlink()
        built.write(built.root / "data/more", "")
        assert built.objections() == {NOTHING_ELSE: "data/more"}

    def test_a_volume_is_no_leave_to_add_a_link(self, built, tmp_path):
        built.base = BASE._replace(volumes=("/data",))
        (tmp_path / "empty").mkdir()
        (built.root / "data").symlink_to(tmp_path / "empty")
        assert built.objections() == {NOTHING_ELSE: "data"}

    @pytest.mark.parametrize("place", ["/", "", "..", "/../x", "/etc/../srv", "/opt"])
    def test_an_odd_place_of_a_base_allows_nothing(self, built, place):
        built.base = BASE._replace(volumes=(place,), directory=place)
        (built.root / "srv").mkdir()
        built.write(built.root / "opt/other", "")
        assert built.objections() == {NOTHING_ELSE: "opt/other\nsrv"}

    def test_what_begins_alike_is_another_place(self, built):
        built.promise = built.promise._replace(paths=["/usr/lib/python3/more"])
        built.write(built.root / "usr/lib/python3/more-of-it/x.py", "more")
        assert built.objections() == {NOTHING_ELSE: "usr/lib/python3/more-of-it"}

    def test_tools_that_are_not_those_that_were_built_are_told(self, built):
        own = built.root / "opt/launcher"
        (own / "env/jupyter/bin/python").write_text("#!another")
        (own / "bin").unlink()
        built.write(own / "more", "more")
        assert built.objections() == {
            TOOLS: "more: is new\nbin: is gone\nenv/jupyter/bin/python: has another content"
        }

    @pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o666, 0o664])
    def test_what_is_loose_in_what_was_added_is_told(self, built, mode):
        built.promise = built.promise._replace(paths=["/srv/inner"])
        built.write(built.root / "srv/inner/file", "x").chmod(mode)
        assert built.objections() == {LOOSE: f"srv/inner/file: {mode:o}"}

    def test_a_directory_or_a_file_at_the_top_is_loose_too(self, built):
        built.promise = built.promise._replace(paths=["/srv", "/file"])
        built.write(built.root / "srv/file", "x")
        (built.root / "srv").chmod(0o777)
        built.write(built.root / "file", "x").chmod(0o646)
        assert built.objections() == {LOOSE: "file: 646\nsrv: 777"}

    def test_what_is_neither_file_directory_nor_link_is_told(self, built):
        built.promise = built.promise._replace(paths=["/srv/pipe"])
        (built.root / "srv").mkdir()
        os.mkfifo(built.root / "srv/pipe", 0o600)
        assert built.objections() == {LOOSE: "srv/pipe: no file, directory or link"}

    def test_rights_of_root_are_told_of_what_was_added_and_of_the_base(self, built):
        may_have_rights(built.root)
        built.promise = built.promise._replace(paths=["/srv"])
        give_rights(built.write(built.root / "srv/inner/ping", "x"))
        assert built.objections() == {LOOSE: "srv/inner/ping: has capabilities"}
        give_rights(built.root / "etc/passwd")
        assert built.objections()[SAME] == "etc/passwd: has other capabilities"

    def test_tools_behind_a_link_are_not_where_they_should_be(self, built, tmp_path):
        (built.root / "opt").rename(tmp_path / "opt")
        (built.root / "opt").symlink_to(tmp_path / "opt")
        assert built.objections()[TOOLS] == "They are not at /opt/launcher."

    def test_links_have_no_rights_and_are_not_followed(self, built, tmp_path):
        built.promise = built.promise._replace(paths=["/srv"])
        built.write(tmp_path / "outside/file", "x").chmod(0o4777)
        built.write(built.root / "srv/inner/file", "x")
        for name in ("srv/link", "srv/inner/link"):
            (built.root / name).symlink_to(tmp_path / "outside")
        assert built.objections() == {}
        shutil.rmtree(built.root / "srv")
        (built.root / "srv").symlink_to(tmp_path / "outside")
        assert built.objections() == {}

    def test_of_many_objections_some_are_told_and_all_are_counted(self, built):
        for number in range(8):
            built.write(built.root / f"file{number}", "x")
        told = built.objections()[NOTHING_ELSE].splitlines()
        assert told == [*(f"file{number}" for number in range(5)), "… and 3 more"]


class TestDescribed:
    def objections(self, **facts):
        promise = Promise("/opt/launcher", "env", "/", [], False, LABELS, False)
        found = module._described(IMAGE._replace(**facts), BASE, promise)
        return {each.name: each.text for each in found if not each.ok}

    def test_one_that_is_as_it_should_be_passes(self):
        assert self.objections() == {}

    @pytest.mark.parametrize("labels", [{}, {"org.opencontainers.image.version": "2.0"}])
    def test_labels_that_are_not_as_promised_are_told(self, labels):
        assert self.objections(labels=labels) == {
            "its labels say what it is": "org.opencontainers.image.version"
        }

    @pytest.mark.parametrize(
        "name",
        [
            *("TOKEN", "HUB_API_TOKEN", "PASSWORD", "db_passwd", "CLIENT_SECRET", "SECRET_KEY"),
            *("AWS_CREDENTIALS", "API_KEY", "APIKEY", "PRIVATE_KEY_FILE"),
        ],
    )
    def test_a_variable_or_label_that_names_a_secret_is_told_without_it(self, name):
        told = {"it tells no secret of itself": name}
        assert self.objections(environment={**IMAGE.environment, name: "hunter2"}) == told
        assert self.objections(labels={**LABELS, name: "hunter2"}) == told

    @pytest.mark.parametrize("name", ["PATH", "TOKENIZERS_PARALLELISM", "KEYBOARD", "SECRETARY", "PASSENGER"])
    def test_other_names_are_none(self, name):
        assert self.objections(environment={name: "x"}) == {}

    def test_what_the_base_says_of_itself_is_its_own(self):
        assert self.objections(environment=BASE.environment) == {}


@pytest.fixture
def ran(monkeypatch):
    """What was run in the image; a `verify` tells of one check that holds."""
    ran = []

    def run(root, argv, environment, *, timeout):
        ran.append((argv, environment))
        told = json.dumps({"name": argv[4], "ok": True, "text": ""}).encode() if len(argv) > 4 else b""
        return subprocess.CompletedProcess(argv, run.code, told, run.errors)

    run.code, run.errors = 0, b""
    monkeypatch.setattr(module, "run", run)
    ran.append(run)
    return ran


class TestInside:
    def looked(self, built, image=IMAGE):
        return module._looked(built.before, built.root, built.base, image, built.promise)

    def test_the_tools_try_themselves_as_they_are_in_the_container(self, built, ran):
        checks, tried = self.looked(built)
        assert tried
        assert all(each.ok for each in checks)
        python, where = (
            "/opt/launcher/env/jupyter/bin/python",
            ["--mount=/opt/launcher", "--prefix=env/jupyter"],
        )
        assert [argv for argv, _ in ran[1:]] == [
            [python, "-I", "-c", ""],
            [python, "-E", "-s", "-B", f"/opt/launcher/{VERIFY}", *where],
        ]
        assert ran[1][1] == {**IMAGE.environment, "HOME": "/"}

    def test_the_containers_own_verify_is_run_then(self, built, ran):
        built.promise = built.promise._replace(own=True)
        checks, _ = self.looked(built)
        assert [each.name for each in checks[-2:]] == [
            f"/opt/launcher/{VERIFY}",
            "/opt/launcher/meta/container/verify",
        ]

    @pytest.mark.parametrize("path", ["etc/passwd", "opt/launcher/env/jupyter/bin/python", "evil"])
    def test_nothing_is_run_of_what_is_not_as_it_was_built(self, built, ran, path):
        (built.root / path).write_text("evil")
        checks, tried = self.looked(built)
        assert not all(each.ok for each in checks)
        assert (tried, ran[1:]) == (False, [])

    def test_a_python_that_does_not_start_is_told_in_its_last_words(self, built, ran):
        ran[0].code, ran[0].errors = 1, b"No module named 'encodings'\n"
        checks, tried = self.looked(built)
        assert not tried
        assert checks[-1] == ("the tools' Python starts", False, "No module named 'encodings'")
        assert len(ran[1:]) == 1

    def test_one_for_other_processors_need_not_start(self, built, ran):
        ran[0].code = 126
        built.promise = built.promise._replace(foreign=True)
        checks, tried = self.looked(built)
        assert (tried, all(each.ok for each in checks)) == (False, True)

    def test_a_verify_that_breaks_has_failed(self, built, monkeypatch):
        def run(root, argv, environment, *, timeout):
            return subprocess.CompletedProcess(
                argv, 0 if len(argv) == 4 else -9, b"", b"It took more than 1800 s."
            )

        monkeypatch.setattr(module, "run", run)
        checks, tried = self.looked(built)
        assert tried
        assert (checks[-1].name, checks[-1].ok) == (VERIFY, False)
        assert checks[-1].text.endswith("It took more than 1800 s.")
