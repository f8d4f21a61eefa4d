"""Recipes: what is wrong with an `image.yaml` is told at once, and views are those that sessions read."""

import json
import shutil
from pathlib import Path
from typing import get_args

import pytest
from small_recipe import small_recipe

from launcher.builder.check import check
from launcher.builder.lock.wanted import extras_of
from launcher.builder.recipe import Extra, Recipe, find_recipe, recipe_names, recipes_directory
from launcher.errors import InvalidFile, UsageError
from launcher.view import Patch

ROOT = Path(__file__).parents[2]
BROKEN = ROOT / "tests/recipes/broken"


@pytest.fixture
def small(tmp_path):
    return small_recipe(tmp_path / "small")


@pytest.mark.parametrize("fault", sorted(BROKEN.glob("image-*")), ids=lambda path: path.name)
def test_all_mistakes_are_told_at_once_with_their_places(fault, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(recipes_directory() / "jupyterlab", "recipe")
    shutil.copytree(fault, "recipe", dirs_exist_ok=True)
    with pytest.raises(InvalidFile) as error:
        check(Path("recipe"))
    assert f"{error.value}\n" == (fault / "expected.txt").read_text()


def test_extras_are_those_of_this_project_and_go_with_it(small):
    assert set(get_args(Extra)) == set(extras_of(ROOT))
    path = small / "image.yaml"
    path.write_text(path.read_text() + "extras: [hub]\n")
    with pytest.raises(InvalidFile) as error:
        check(small)
    (problem,) = error.value.problems
    assert problem.key == "extras"
    assert "launcher is false" in problem.message


def test_a_lock_holds_what_extras_of_this_project_need(tmp_path):
    recipe = shutil.copytree(recipes_directory() / "jupyterlab", tmp_path / "recipe")
    check(recipe)
    with (recipe / "image.yaml").open("a") as file:
        file.write("extras: [hub]\n")
    with pytest.raises(InvalidFile) as error:
        check(recipe)
    assert f"oauthenticator is not in {recipe / 'requirements.txt'}" in str(error.value)


def test_a_recipe_that_is_right_passes(small):
    check(small)
    check(ROOT / "containers/hub")


@pytest.mark.parametrize(
    "mount", "/usr /usr/local/tools /etc /dev/shm /lib64 /run /boot/x /tmp /root /home /var".split()
)
def test_an_image_hides_nothing_of_the_system(small, mount):
    path = small / "image.yaml"
    path.write_text(path.read_text().replace("/small-tools", mount))
    with pytest.raises(InvalidFile) as error:
        check(small)
    (problem,) = error.value.problems
    assert (
        problem == f"{path}:2:8: mount: is the system's; allowed is a place of its own, such as /user-tools"
    )


@pytest.mark.parametrize("mount", ["/users", "/home/images", "/var/tools", "/library", "/user-tools"])
def test_an_image_has_a_place_of_its_own(small, mount):
    path = small / "image.yaml"
    path.write_text(path.read_text().replace("/small-tools", mount))
    check(small)


@pytest.mark.parametrize("prefix", ["python", "python/env", "meta", "code-server/lib"])
def test_packages_lie_beside_what_each_image_has(small, prefix):
    path = small / "image.yaml"
    path.write_text(path.read_text().replace("prefix: env/small", f"prefix: {prefix}"))
    with pytest.raises(InvalidFile) as error:
        check(small)
    (problem,) = error.value.problems
    assert (problem.line, problem.key) == (4, "prefix")
    assert "env/NAME" in problem.message


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("import checks\nif True\n    pass\n", 2, 8), ("return\n", 1, 1), ("\0", 1, 1)],
)
def test_a_verify_that_is_no_python_is_told_with_its_line(small, text, line, column):
    (small / "verify").write_text(text)
    with pytest.raises(InvalidFile) as error:
        check(small)
    (problem,) = error.value.problems
    assert (problem.file, problem.line, problem.column) == (str(small / "verify"), line, column)


def test_files_that_are_missing_are_all_named(small):
    for name in ("requirements.txt", "verify"):
        (small / name).unlink()
    with (small / "image.yaml").open("a") as file:
        file.write("code_server: true\n")
    with pytest.raises(InvalidFile) as error:
        Recipe.load(small)
    named = [Path(problem.file).name for problem in error.value.problems]
    assert named == ["requirements.txt", "verify", "code-server.yaml"]


def test_sessions_read_a_view_as_it_is_written(small):
    (small / "image.yaml").write_text(
        """
name: small
mount: /opt/tools
version: click
prefix: env/small
views:
  all:
    description: Everything
    prepend: {PATH: [env/small/bin, /usr/local/bin], MANPATH: [man]}
    append: {PATH: [late], MANPATH: [/usr/share/man]}
    set: {PREFIX: "${@HOME@}/p", EMPTY: ""}
    unset: [OLD]
default_view: all
"""
    )
    described = json.loads(json.dumps(Recipe.load(small).image.description_of_itself()))
    assert (described["mount"], described["default-view"]) == ("/opt/tools", "all")
    view = described["views"]["all"]
    assert (view["description"], view["env"]["version"], view["env"]["type"]) == ("Everything", 1, "augment")
    before = {"PATH": "/bin", "HOME": "/home/alice", "OLD": "1", "EMPTY": "full"}
    assert Patch.read(view["env"]["values"]).applied(before) == {
        "PATH": "/opt/tools/env/small/bin:/usr/local/bin:/bin:/opt/tools/late",
        "MANPATH": "/opt/tools/man:/usr/share/man",
        "HOME": "/home/alice",
        "PREFIX": "/home/alice/p",
        "EMPTY": "",
    }


@pytest.mark.parametrize("name", recipe_names())
def test_the_views_of_the_shipped_recipes_can_be_loaded(name):
    image = Recipe.load(find_recipe(name)).image
    for view in image.description_of_itself()["views"].values():
        after = Patch.read(view["env"]["values"]).applied({"PATH": "/bin"})
        assert after["PATH"].startswith(f"{image.mount}/")


def test_a_recipe_is_named_or_is_the_path_of_a_directory(small, monkeypatch):
    assert find_recipe("jupyterlab") == recipes_directory() / "jupyterlab"
    assert find_recipe(str(small)) == small
    monkeypatch.chdir(small)
    assert find_recipe(".") == Path()
    assert find_recipe("../small") == Path("../small")


@pytest.mark.parametrize("named", ["small", "", "nothing", "./nothing", "../jupyterlab", "jupyterlab/"])
def test_what_is_neither_is_refused_and_the_names_are_told(named, small, monkeypatch):
    monkeypatch.chdir(small.parent)
    with pytest.raises(UsageError) as error:
        find_recipe(named)
    assert "jupyterlab, python-science" in error.value.why


def test_a_directory_that_is_none_is_refused(small, monkeypatch):
    monkeypatch.chdir(small)
    with pytest.raises(UsageError, match=r"image\.yaml"):
        find_recipe("../")


def test_a_directory_that_can_not_be_looked_into_is_told(small):
    with pytest.raises(UsageError, match="can't be looked into"):
        find_recipe(f"{small}/{'x' * 300}")
