"""Stackinator recipes: checked without Stackinator, prepared, and built by a stand-in for it."""

import csv
import hashlib
import io
import json
import os
import py_compile
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import jinja2
import pip
import pytest
from quiet import Silent

from launcher.builder import stackinator
from launcher.builder.recipe import ImageFile, Recipe, recipes_directory
from launcher.builder.stackinator import FORMATS, Uarch
from launcher.builder.wheels import Wheel
from launcher.clusters.shell import bash_findings, find_shellcheck, shellcheck_findings
from launcher.errors import BuildFailed, InvalidFile, MissingPart, UsageError

BROKEN = Path(__file__).parents[1] / "recipes/broken"
JUPYTERLAB = recipes_directory() / "jupyterlab"
ZEN2 = Uarch("zen2", "x86_64", gpu=False)
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


def rendered(recipe: Path, mount: Path) -> str:
    """Render a recipe's `post-install` as Stackinator does."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(recipe), undefined=jinja2.StrictUndefined)
    build = Path("/build")
    env = {"mount": mount, "config": mount / "config", "build": build, "spack": build / "spack"}
    return environment.get_template("post-install").render(env=env, verbose=False) + "\n"


def make_wheel(directory: Path, name: str, version: str = "1.0") -> Wheel:
    """Make a wheel of one module and one program."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": "def main():\n    import sys\n    print(sys.prefix, sys.flags.isolated)\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
        f"{name}-{version}.data/data/share/unused/{name}.txt": "nobody reads it\n",
    }
    rows = io.StringIO()
    csv.writer(rows).writerows([[file, "", ""] for file in (*files, f"{info}/RECORD")])
    path = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**files, f"{info}/RECORD": rows.getvalue()}.items():
            archive.writestr(file, text)
    return Wheel(path, name, version, hashlib.sha256(path.read_bytes()).hexdigest())


def make_wheels(directory: Path) -> list[Wheel]:
    """Make the wheels of a package that the lock of a small recipe pins, and of this project."""
    directory.mkdir()
    return [make_wheel(directory, "lab", "4.6"), make_wheel(directory, "project")]


def make_recipe(directory: Path, wheels: list[Wheel]) -> Recipe:
    """Make a recipe as the shipped one, whose lock pins one small package."""
    shutil.copytree(JUPYTERLAB, directory)
    (directory / "verify").touch()
    hashes = " \\\n".join(f"    --hash=sha256:{each}" for each in ("0" * 64, wheels[0].sha256))
    (directory / "requirements.txt").write_text(f"# locked: 2026-11-22\nlab==4.6 \\\n{hashes}\n")
    changes = {"leave_out": (), "prune": ("env/jupyter/share/unused", "env/jupyter/lib/**/project.py")}
    shipped = Recipe.load(directory)
    return shipped._replace(image=shipped.image.model_copy(update=changes))


@pytest.fixture
def wheels(tmp_path):
    return make_wheels(tmp_path / "wheels")


@pytest.fixture
def small(tmp_path, wheels):
    return make_recipe(tmp_path / "small", wheels)


@pytest.fixture
def prepared(tmp_path, small, wheels):
    """Return a whole Stackinator recipe of version 3."""
    stackinator.prepare(small, ZEN2, 3, tmp_path / "prepared", wheels=wheels)
    return tmp_path / "prepared"


class TestShippedRecipes:
    def test_they_are_for_grace_hopper_and_for_rome(self):
        assert stackinator.uarchs(JUPYTERLAB) == {
            "gh200": Uarch("gh200", "aarch64", gpu=True),
            "zen2": Uarch("zen2", "x86_64", gpu=False),
        }

    @pytest.mark.parametrize("version", FORMATS)
    def test_each_version_holds(self, version):
        stackinator.check(JUPYTERLAB / f"recipe/v{version}")

    def test_the_whole_recipe_holds(self):
        stackinator.check_recipe(JUPYTERLAB)

    def test_their_python_is_one_that_the_lock_is_for(self):
        recipe = Recipe(JUPYTERLAB, ImageFile.model_construct())
        assert {stackinator.python_of(recipe, version) for version in FORMATS} == {(3, 13)}

    def test_bash_and_shellcheck_take_the_hook(self):
        script = rendered(JUPYTERLAB / "recipe", Path("/user-tools"))
        shellcheck = find_shellcheck()
        assert shellcheck
        assert bash_findings(script) == []
        assert shellcheck_findings(shellcheck, [script]) == [[]]

    def test_the_hook_installs_by_hashes_and_compiles_for_any_time(self):
        hook = (JUPYTERLAB / "recipe/post-install").read_text()
        for option in ("--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile"):
            assert option in hook
        assert "UNCHECKED_HASH" in (JUPYTERLAB / "recipe/extra/finish.py").read_text()


class TestMistakes:
    @pytest.mark.parametrize("fault", sorted(BROKEN.iterdir()), ids=lambda path: path.name)
    def test_all_of_them_are_told_at_once_with_their_places(self, fault, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        shutil.copytree(JUPYTERLAB, "recipe")
        Path("recipe/verify").touch()
        shutil.copytree(fault, "recipe", dirs_exist_ok=True)
        with pytest.raises(InvalidFile) as error:
            stackinator.check_recipe(Path("recipe"))
        assert f"{error.value}\n" == (fault / "expected.txt").read_text()

    def test_files_that_are_missing_are_named(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("recipe/recipe/v2").mkdir(parents=True)
        shutil.copy(JUPYTERLAB / "image.yaml", "recipe")
        with pytest.raises(InvalidFile) as error:
            stackinator.check_recipe(Path("recipe"))
        assert [problem.file.removeprefix("recipe/") for problem in error.value.problems] == [
            "requirements.in",
            "requirements.txt",
            "interpreters.yaml",
            "verify",
            "code-server.yaml",
            "recipe/uarchs.yaml",
            "recipe/v2/config.yaml",
            "recipe/v2/compilers.yaml",
            "recipe/v2/environments.yaml",
            "recipe/post-install",
        ]

    def test_a_recipe_needs_nothing_for_stackinator(self, tmp_path):
        shutil.copytree(JUPYTERLAB, tmp_path / "own")
        (tmp_path / "own/verify").touch()
        shutil.rmtree(tmp_path / "own/recipe")
        stackinator.check_recipe(tmp_path / "own")
        with pytest.raises(UsageError, match="no recipe for Stackinator"):
            stackinator.uarch_named(tmp_path / "own", "zen2")

    def test_an_unknown_microarchitecture_is_refused(self):
        with pytest.raises(UsageError, match="knows no microarchitecture 'zen9'") as error:
            stackinator.uarch_named(JUPYTERLAB, "zen9")
        assert error.value.why == "It knows gh200, zen2."


class TestPreparation:
    @pytest.mark.parametrize("version", FORMATS)
    @pytest.mark.parametrize("uarch", stackinator.uarchs(JUPYTERLAB).values(), ids=lambda uarch: uarch.name)
    def test_the_result_is_a_recipe_for_stackinator(self, tmp_path, small, wheels, uarch, version):
        stackinator.prepare(small, uarch, version, tmp_path / "whole", wheels=wheels)
        stackinator.check(tmp_path / "whole")
        assert f"version: {version}\n" in (tmp_path / "whole/config.yaml").read_text()

    def test_it_holds_what_the_image_is_made_from(self, prepared, small):
        for name in ("image.yaml", "requirements.in", "requirements.txt", "interpreters.yaml", "verify"):
            assert (prepared / name).read_bytes() == (small.directory / name).read_bytes()

    def test_pip_gets_what_belongs_into_the_image_by_hashes_of_the_lock(self, prepared, wheels):
        lines = (prepared / "extra/install.txt").read_text().splitlines()
        assert lines == [
            f"lab==4.6 --hash=sha256:{wheels[0].sha256}",
            f"project==1.0 --hash=sha256:{wheels[1].sha256}",
        ]

    def test_a_wheel_that_the_lock_does_not_pin_is_refused(self, tmp_path, small, wheels):
        other = [wheels[0]._replace(sha256="1" * 64)]
        with pytest.raises(BuildFailed, match="is not one of the files that"):
            stackinator.prepare(small, ZEN2, 3, tmp_path / "whole", wheels=other)
        assert not (tmp_path / "whole").exists()

    def test_another_code_server_than_the_pinned_one_is_refused(self, tmp_path, small, wheels):
        archive = tmp_path / "code-server.tar.gz"
        archive.write_bytes(b"something else")
        with pytest.raises(BuildFailed, match="is not the code-server that the recipe pins for x86_64"):
            stackinator.prepare(small, ZEN2, 3, tmp_path / "whole", wheels=wheels, code_server=archive)

    def test_the_views_are_those_of_the_other_backend(self, prepared, small):
        said = json.loads((prepared / "extra/meta/env.json").read_text())
        assert said == small.image.description_of_itself()

    def test_a_version_that_the_recipe_lacks_is_refused(self, tmp_path, small, wheels):
        shutil.rmtree(small.directory / "recipe/v2")
        with pytest.raises(UsageError, match="no Stackinator recipe of version 2") as error:
            stackinator.prepare(small, ZEN2, 2, tmp_path / "whole", wheels=wheels)
        assert error.value.why == "It holds 3."


def make_store(store: Path, recipe: Path) -> Path:
    """Lay out a store as Stackinator does; return the view, which only links its Python."""
    shutil.copytree(recipe, store / "meta/recipe")
    shutil.copytree(recipe / "extra", store / "meta/extra")
    view = store / "env/._jupyter/hash"
    (view / "bin").mkdir(parents=True)
    (view / "bin/python3").symlink_to(Path(sys.base_prefix, "bin/python3").resolve())
    site = view / f"lib/python{VERSION}/site-packages"
    site.mkdir(parents=True)
    (site / "pip").symlink_to(Path(pip.__file__).parent)
    (store / "env/jupyter").symlink_to("._jupyter/hash")
    openssl, other = store / "linux-zen2/openssl-3/bin", store / "linux-zen2/py-other-1"
    openssl.mkdir(parents=True)
    for name, first in (("c_rehash", "#!/usr/bin/env perl"), ("tsget", "#!/bin/sh")):
        (openssl / name).write_text(f"{first}\n")
        (openssl / name).chmod(0o755)
        (view / "bin" / name).symlink_to(openssl / name)
    library = other / f"lib/python{VERSION}"
    (library / "test").mkdir(parents=True)
    (library / "test/key.pem").write_text("a key\n")
    (library / "other.py").write_text("import os\n")
    py_compile.compile(str(library / "other.py"))
    return store / "env/jupyter"


def run_hook(store: Path, recipe: Path) -> None:
    """Run the hook as Stackinator does."""
    hook = store / "post-install-hook"
    hook.write_text(rendered(recipe, store))
    hook.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    done = subprocess.run([hook], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def output_of(program: Path) -> str:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": "/nonexistent"}
    return subprocess.run([program], env=environment, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return a store after the hook ran in it, and the recipe; it brought code-server along."""
    directory = tmp_path_factory.mktemp("hook").resolve()
    release = directory / "code-server-4.139.1-linux-amd64/bin"
    release.mkdir(parents=True)
    (release / "code-server").write_text("#!/bin/sh\necho 4.139.1\n")
    (release / "code-server").chmod(0o755)
    archive = Path(shutil.make_archive(str(directory / "release"), "gztar", directory, release.parent.name))
    wheels = make_wheels(directory / "wheels")
    recipe = make_recipe(directory / "recipe", wheels)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    pins = f"version: 4.139.1\nsha256:\n  x86_64: {digest}\n"
    (recipe.directory / "code-server.yaml").write_text(pins)
    stackinator.prepare(recipe, ZEN2, 3, directory / "whole", wheels=wheels, code_server=archive)
    make_store(directory / "store", directory / "whole")
    run_hook(directory / "store", directory / "whole")
    return directory / "store", recipe


class TestHook:
    def test_it_brings_what_is_locked_into_the_view(self, finished):
        view = finished[0] / "env/jupyter"
        # The program runs with the image's Python, which nothing of the user's reaches.
        assert output_of(view / "bin/lab").split() == [str(view), "1"]
        first = (view / "bin/lab").read_text().splitlines()[0]
        assert first == f"#!{view}/bin/python -I"

    def test_a_view_may_have_a_python_of_its_own_already(self, tmp_path, prepared):
        store = (tmp_path / "store").resolve()
        view = make_store(store, prepared)
        (view / "bin/python3").unlink()
        venv.create(view.resolve(), symlinks=True)
        run_hook(store, prepared)
        assert output_of(view / "bin/lab").split() == [str(view), "1"]
        assert not (store / "code-server").exists()

    def test_what_nobody_runs_is_gone(self, finished):
        store, _ = finished
        site = store / f"env/jupyter/lib/python{VERSION}/site-packages"
        assert not (store / "env/jupyter/share/unused").exists()
        assert not (site / "project.py").exists()
        assert not (site / "pip").exists()
        assert not list(store.glob("linux-zen2/**/test"))
        assert not list((store / "meta/extra").iterdir())
        assert not list((store / "meta/recipe/extra").iterdir())

    def test_programs_of_an_interpreter_that_the_image_lacks_are_none(self, finished):
        programs = finished[0] / "linux-zen2/openssl-3/bin"
        assert not os.access(programs / "c_rehash", os.X_OK)
        assert os.access(programs / "tsget", os.X_OK)

    def test_compiled_files_do_not_go_by_times(self, finished):
        compiled = [*finished[0].glob("**/lab.*.pyc"), *finished[0].glob("**/other.*.pyc")]
        assert len(compiled) == 2
        for path in compiled:
            assert path.read_bytes()[4:8] == b"\x01\0\0\0"  # PEP 552: by hash, and not looked at

    def test_the_image_describes_itself_as_from_the_other_backend(self, finished):
        store, recipe = finished
        assert json.loads((store / "meta/env.json").read_text()) == recipe.image.description_of_itself()

    def test_code_server_comes_along(self, finished):
        assert output_of(finished[0] / "env/jupyter/bin/code-server") == "4.139.1\n"


STACK_CONFIG = """#!/bin/sh
set -e
if [ "$1" = --version ]; then echo "stackinator version $VERSION"; exit; fi
echo "$@" > "$2/arguments"
cat > "$2/Makefile" <<'END'
store.squashfs:
\tenv > environment
\tmkdir -p store/meta
\tcp $(lastword $(shell cat arguments))/packages.yaml store/meta/
\tmksquashfs store $@ -quiet -no-progress >&2
END
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Return a function that installs a stand-in for Stackinator; PATH has nothing else of that name."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")

    def install(version: str, text: str = STACK_CONFIG):
        (programs / "stack-config").write_text(text.replace("$VERSION", version))
        (programs / "stack-config").chmod(0o755)

    return install


@pytest.fixture
def places(tmp_path, prepared, monkeypatch):
    """Return recipe, build directory and configuration, all of them where Stackinator can build."""
    monkeypatch.setattr("launcher.builder.stackinator.running.HIDDEN", ())
    mount = tmp_path / "mount"
    mount.mkdir()
    config = prepared / "config.yaml"
    config.write_text(config.read_text().replace("/user-tools", str(mount)))
    system = tmp_path / "system"
    system.mkdir()
    (system / "packages.yaml").write_text("packages: {gcc: {}}\n")
    return prepared, tmp_path / "build", system


class TestBuild:
    def test_without_stackinator_it_says_how_to_get_it(self, places, installed):
        with pytest.raises(MissingPart, match="Stackinator is not installed") as error:
            stackinator.build(*places, Silent())
        assert "needs Stackinator 7" in error.value.why
        assert "git clone --branch main https://github.com/eth-cscs/stackinator" in error.value.todo

    @pytest.mark.parametrize(("found", "known"), [("6.1.0", "6"), ("5.0.0", "5")])
    def test_a_stackinator_that_does_not_read_the_recipe_is_refused(self, places, installed, found, known):
        installed(found)
        with pytest.raises(MissingPart, match=f"is Stackinator {known}, which does not read .* version 3"):
            stackinator.build(*places, Silent())

    def test_a_program_that_does_not_work_is_not_taken_for_stackinator(self, places, installed):
        installed("", "#!/bin/sh\necho broken >&2\nexit 1\n")
        with pytest.raises(MissingPart, match="does not work"):
            stackinator.build(*places, Silent())

    def test_it_configures_and_makes_the_image(self, places, installed, monkeypatch):
        installed("7.0.0-dev")
        monkeypatch.setenv("HUB_SECRET", "not for Spack")
        recipe, directory, system = places
        image = stackinator.build(*places, Silent())
        assert image == directory / "store.squashfs"
        listing = subprocess.run(["unsquashfs", "-ls", image], capture_output=True, text=True, check=True)
        assert "meta/packages.yaml" in listing.stdout
        arguments = (directory / "arguments").read_text().split()
        assert arguments == ["--build", str(directory), "--recipe", str(recipe), "--system", str(system)]
        # As Stackinator says: nothing of the caller's environment reaches Spack.
        environment = (directory / "environment").read_text()
        assert "HUB_SECRET" not in environment
        assert f"PATH=/usr/bin:/bin:{directory.resolve()}/spack/bin\n" in environment

    def test_an_image_that_was_half_packed_is_packed_anew(self, places, installed):
        installed("7.0.0")
        _, directory, _ = places
        directory.mkdir()
        (directory / "store.squashfs").write_bytes(b"half")
        assert stackinator.build(*places, Silent()).read_bytes()[:4] == b"hsqs"

    def test_the_end_of_the_log_says_why_it_failed(self, places, installed):
        installed("7.0.0", STACK_CONFIG.replace("mkdir -p store/meta", "echo no compiler; false"))
        with pytest.raises(BuildFailed, match="make failed with exit code 2") as error:
            stackinator.build(*places, Silent())
        assert "no compiler" in error.value.why
        assert error.value.todo.endswith("make.log")

    def test_directories_that_the_build_can_not_see_are_refused(self, places, installed, monkeypatch):
        installed("7.0.0")
        recipe, directory, system = places
        monkeypatch.undo()
        monkeypatch.setenv("PATH", f"{directory.parent}/bin:{os.environ['PATH']}")
        monkeypatch.setenv("HOME", "/home/someone")
        for hidden in ("/tmp/build", "/home/someone/build", "/"):
            with pytest.raises(UsageError, match="Stackinator can't build in"):
                stackinator.build(recipe, Path(hidden), system, Silent())

    def test_the_mount_point_must_exist(self, places, installed):
        installed("7.0.0")
        recipe, directory, system = places
        (directory.parent / "mount").rmdir()
        with pytest.raises(UsageError, match="does not exist here"):
            stackinator.build(recipe, directory, system, Silent())

    def test_the_configuration_of_the_cluster_must_exist(self, places, installed):
        installed("7.0.0")
        recipe, directory, _ = places
        with pytest.raises(UsageError, match="no configuration of the cluster"):
            stackinator.build(recipe, directory, directory / "nothing", Silent())

    def test_a_recipe_with_mistakes_is_not_built(self, places, installed):
        installed("7.0.0")
        recipe, directory, system = places
        (recipe / "compilers.yaml").unlink()
        with pytest.raises(InvalidFile, match=r"compilers\.yaml:1:1: is missing"):
            stackinator.build(recipe, directory, system, Silent())
