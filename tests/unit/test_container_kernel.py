"""What the base's Python gets to be a kernel: chosen within what is there, and installed without network."""

import hashlib
import importlib.metadata
import os
import subprocess
import venv
import zipfile
from pathlib import Path

import pip
import pytest
from quiet import Silent

from launcher.builder.container import kernel as module
from launcher.builder.container.base import Kernel
from launcher.builder.container.kernel import missing
from launcher.builder.container.recipe import INSTALLER, containers_directory
from launcher.builder.digest import sha256_of
from launcher.builder.lock.resolve import RegistryUnreachable
from launcher.builder.target import Target
from launcher.errors import BuildFailed

TARGET = Target("x86_64", (2, 36), (3, 12))
PYTHON = Kernel("3.12.3", kernel=False, pip=True, packages=[], constraints="", paths=[])
COMPILED = """\
comm==0.2.2 \\
    --hash=sha256:{comm}
    # via ipykernel
ipykernel==6.29.5 \\
    --hash=sha256:{ipykernel}
    # via -r -
traitlets==5.14.3 \\
    --hash=sha256:{traitlets}
    # via
    #   comm
    #   ipykernel
""".format(**{name: hashlib.sha256(name.encode()).hexdigest() for name in ("comm", "ipykernel", "traitlets")})


def constraints(*packages, lines=""):
    return list(module._constraints(PYTHON._replace(packages=list(packages), constraints=lines)))


class TestConstraints:
    def test_what_is_there_stays_as_it_is(self):
        assert constraints(("numpy", "1.26.4"), ("Jupyter_Core", "5.7")) == [
            "numpy==1.26.4",
            "Jupyter_Core==5.7",
        ]

    def test_a_build_of_its_own_is_known_by_its_published_version(self):
        assert constraints(("torch", "2.8.0a0+5228986c39.nv25.06")) == ["torch==2.8.0a0"]

    @pytest.mark.parametrize("version", ["", "unknown", "1.0-ubuntu~3", "2024-x", "None"])
    def test_what_has_no_version_that_indexes_know_binds_nothing(self, version):
        assert constraints(("odd", version), ("good", "1")) == ["good==1"]

    @pytest.mark.parametrize("name", ["", "-r /etc/passwd", "a b", "--index-url", "a\nb"])
    def test_what_is_no_package_binds_nothing(self, name):
        assert constraints((name, "1"), ("good", "1")) == ["good==1"]

    def test_the_bases_own_bind_what_is_not_there(self):
        lines = """
numpy<2
Traitlets==5.9.0
matplotlib-inline >= 0.1,<1  # as tested
psutil==5.9; python_version<'3.13'
"""
        assert constraints(("numpy", "1.26.4"), ("traitlets", "5.14"), lines=lines) == [
            "numpy==1.26.4",
            "traitlets==5.14",
            "matplotlib-inline<1,>=0.1",
            'psutil==5.9; python_version < "3.13"',
        ]

    @pytest.mark.parametrize(
        "line",
        [
            "",
            "# pyzmq==1",
            "-c other.txt",
            "--index-url https://example.org",
            "pyzmq @ file:///opt/pyzmq.whl",
            "pyzmq @ https://example.org/pyzmq.whl",
            "https://example.org/pyzmq.whl",
            "./pyzmq.whl",
            "pyzmq==",
            "\x1b[2J",
        ],
    )
    def test_lines_that_are_no_versions_of_packages_bind_nothing(self, line):
        assert constraints(lines=f"{line}\ntornado==6.4\r\n") == ["tornado==6.4"]


@pytest.fixture
def asked(monkeypatch):
    """What uv and pip were asked; uv answers with a lock, and pip has a file for each pin."""
    asked = {}

    def compile_lock(uv, directory, output, sources, **options):
        asked.update(options, sources=sources, constraints=Path(directory, "constraints.txt").read_text())
        Path(directory, output).write_text(COMPILED)

    def download(pins, target, version, directory):
        asked.update(pins=[each.name for each in pins], target=target, version=version)
        directory.mkdir()
        for each in pins:
            name = each.name.replace("-", "_")
            (directory / f"{name}-{each.version}-py3-none-any.whl").write_text(each.name)
        return sorted(directory.iterdir())

    monkeypatch.setattr(module, "compile_lock", compile_lock)
    monkeypatch.setattr("launcher.builder.wheels.download", download)
    monkeypatch.setattr(module, "find_uv", lambda: "uv")
    return asked


class TestMissing:
    def test_one_that_is_a_kernel_gets_nothing(self, asked, tmp_path):
        assert missing(PYTHON._replace(kernel=True, pip=False), TARGET, tmp_path / "kernel", Silent()) == []
        assert list((tmp_path / "kernel").iterdir()) == []
        assert asked == {}

    def test_what_is_there_is_not_installed_again(self, asked, tmp_path):
        python = PYTHON._replace(packages=[("Traitlets", "5.14.3"), ("torch", "2.8.0a0+nv")])
        wheels = missing(python, TARGET, tmp_path / "kernel", Silent())
        assert asked["pins"] == ["comm", "ipykernel"]
        assert asked["constraints"].splitlines() == ["Traitlets==5.14.3", "torch==2.8.0a0"]
        assert [(each.name, each.version) for each in wheels] == [("comm", "0.2.2"), ("ipykernel", "6.29.5")]
        assert [each.sha256 for each in wheels] == [sha256_of(each.path) for each in wheels]

    def test_it_is_chosen_for_the_bases_python_and_its_machines(self, asked, tmp_path):
        missing(PYTHON, TARGET._replace(arch="aarch64"), tmp_path / "kernel", Silent())
        assert asked["machines"] == ("3.12.3", "aarch64-manylinux_2_36")
        assert (asked["target"].arch, asked["version"]) == ("aarch64", "3.12.3")
        assert (asked["stdin"], asked["sources"]) == ("ipykernel", ["-"])
        # Nothing of an index is run here.
        assert asked["options"] == ["--only-binary", ":all:"]

    def test_one_that_has_neither_a_kernel_nor_pip_is_told_with_what_to_do(self, asked, tmp_path):
        with pytest.raises(BuildFailed, match="neither ipykernel nor pip") as error:
            missing(PYTHON._replace(pip=False), TARGET, tmp_path / "kernel", Silent())
        assert "--base" in error.value.todo
        assert asked == {}

    def test_where_nothing_fits_the_resolvers_words_are_told(self, asked, tmp_path, monkeypatch):
        def fails(*_, **__):
            raise BuildFailed("lock could not be made.", why="Because ipykernel needs traitlets>=5.4")

        monkeypatch.setattr(module, "compile_lock", fails)
        with pytest.raises(BuildFailed, match="No ipykernel fits") as error:
            missing(PYTHON, TARGET, tmp_path / "kernel", Silent())
        assert error.value.why == "Because ipykernel needs traitlets>=5.4"
        assert "--base" in error.value.todo

    def test_an_index_that_does_not_answer_is_told_as_such(self, asked, tmp_path, monkeypatch):
        def fails(*_, **__):
            raise RegistryUnreachable("lock could not be made: no registry answered.", why="no route")

        monkeypatch.setattr(module, "compile_lock", fails)
        with pytest.raises(RegistryUnreachable, match="no registry answered"):
            missing(PYTHON, TARGET, tmp_path / "kernel", Silent())


class TestInstaller:
    """`containers/kernel.py`, run by a Python that has pip and nothing else."""

    @pytest.fixture
    def python(self, tmp_path):
        own = tmp_path / "venv"
        venv.create(own, symlinks=True)
        only_pip = tmp_path / "only-pip"
        only_pip.mkdir()
        (only_pip / "pip").symlink_to(Path(pip.__file__).parent)
        (self.site(tmp_path) / "pip.pth").write_text(f"{only_pip}\n")
        return own / "bin/python"

    @staticmethod
    def site(tmp_path):
        (site,) = tmp_path.glob("venv/lib/python3*/site-packages")
        return site

    @pytest.fixture
    def install(self, tmp_path, python):
        """Run it beside some wheels; no index answers."""
        directory = tmp_path / "kernel"
        directory.mkdir()
        script = directory / INSTALLER
        script.write_text((containers_directory() / INSTALLER).read_text())

        def install(*names):
            for each in names:
                make_wheel(directory, each)
            environment = {
                "PATH": os.defpath,
                "HOME": str(tmp_path),
                "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
            }
            return subprocess.run(
                [python, "-I", "-B", script], env=environment, capture_output=True, text=True, check=False
            )

        return install

    def test_where_nothing_is_missing_nothing_is_done(self, install, tmp_path):
        before = sorted(self.site(tmp_path).iterdir())
        done = install()
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert sorted(self.site(tmp_path).iterdir()) == before

    def test_wheels_are_installed_with_byte_code_and_no_note_of_where_they_lay(self, install, tmp_path):
        done = install("some_one", "other")
        assert done.returncode == 0, done.stderr
        site = self.site(tmp_path)
        found = {each.name: each for each in importlib.metadata.distributions(path=[str(site)])}
        assert set(found) == {"some-one", "other"}
        assert not list(tmp_path.glob("venv/**/direct_url.json"))
        names = (str(tmp_path / "kernel"), "kernel.py")
        for path in site.rglob("*"):
            if path.is_file() and path.suffix != ".pth":
                assert not [each for each in names if each.encode() in path.read_bytes()], path
        (code,) = site.glob("some_one/__pycache__/*.pyc")
        # https://peps.python.org/pep-0552/: by the hash of its source, which nobody looks at.
        assert code.read_bytes()[4:8] == b"\x01\0\0\0"
        assert not list(site.glob("pip/**/__pycache__"))

    def test_the_byte_code_is_what_python_takes(self, install, python, tmp_path):
        install("some_one")
        (self.site(tmp_path) / "some_one/__init__.py").write_text("NAME = 'changed'\n")
        seen = subprocess.run(
            [python, "-I", "-B", "-c", "import some_one; print(some_one.NAME)"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert seen.stdout == "some_one\n"

    def test_a_wheel_that_can_not_be_installed_fails_the_build(self, install, tmp_path):
        (tmp_path / "kernel/broken-1.0-py3-none-any.whl").write_text("no wheel")
        assert install().returncode


def make_wheel(directory, name):
    """Make a wheel whose package knows its own name."""
    about = f"{name}-1.0.dist-info"
    files = {
        f"{name}/__init__.py": f"NAME = {name!r}\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": "",
    }
    with zipfile.ZipFile(directory / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
