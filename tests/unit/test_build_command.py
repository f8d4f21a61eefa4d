"""`launcher build uenv`: what it is told, what it says, and how it ends."""

import functools
import json
from pathlib import Path

import pytest
from small_recipe import small_recipe

import launcher.cli
from launcher.builder import build as steps
from launcher.builder.order import Built
from launcher.builder.provenance import Verified
from launcher.builder.recipe import recipe_names
from launcher.errors import BuildFailed, CheckFailed, MissingPart

BROKEN = Path(__file__).parents[1] / "recipes/broken/image-of-wrong-words"
STACKINATOR = ("--backend", "stackinator")


@pytest.fixture
def orders(monkeypatch):
    """What was ordered; nothing is built."""
    orders = []

    def build(order, progress):
        orders.append(order)
        progress.step("Packing the image")
        verified = Verified(9, ran=not order.arch.startswith("aarch"), glibc=(2, 31))
        return Built(
            Path("/images/x.squashfs"), "x", "1.0", order.arch, "0" * 64, 1_500_000, False, 1.23, verified
        )

    monkeypatch.setattr(steps, "build", build)
    return orders


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAUNCHER_CACHE", raising=False)
    small_recipe(tmp_path / "small")
    return "./small"


@pytest.fixture
def run(command):
    """Run the command line; return its exit code, and what it said to both ends."""
    return functools.partial(command, "build", "uenv")


def test_help_tells_examples_and_exit_codes(run):
    code, out, _ = run("--help")
    assert code == 0
    assert "launcher build uenv jupyterlab --cluster daint --output /images" in out
    for each in ("0 when", "2 for", "3 when", "5 when", "7 when", "10 when"):
        assert each in " ".join(out.split())


def test_it_says_what_was_built_and_its_steps_apart(run, recipe, orders):
    code, out, said = run(recipe)
    assert code == 0
    assert out == f"/images/x.squashfs  1.5 MB  sha256:{'0' * 64}\nBuilt in 1 s; 9 checks hold.\n"
    assert said == "Packing the image\n"


def test_an_image_that_could_not_be_tried_is_said_to_be_so(run, recipe, orders):
    assert "Its programs were not run" in run(recipe, "--arch", "aarch64")[1]


def test_json_is_one_object_and_nothing_else(run, recipe, orders):
    code, out, _ = run(recipe, "--json")
    assert code == 0
    assert json.loads(out) == {
        "image": "/images/x.squashfs",
        "name": "x",
        "version": "1.0",
        "arch": orders[0].arch,
        "sha256": "0" * 64,
        "size": 1_500_000,
        "unchanged": False,
        "seconds": 1.2,
        "verified": {"checks": 9, "ran": True, "glibc": "2.31"},
        "sbom": "/images/x.sbom.cdx.json",
        "provenance": "/images/x.provenance.json",
    }


def test_the_machines_are_those_of_the_options_or_this_one(run, recipe, orders, monkeypatch):
    monkeypatch.setattr("launcher.builder.target.own_arch", lambda: "x86_64")
    monkeypatch.setattr("launcher.builder.target.own_glibc", lambda: (2, 36))
    run(recipe)
    run(recipe, "--arch", "aarch64", "--glibc", "2.31", "--gpu", "-o", "x.squashfs", "--cache", "c")
    assert [(each.arch, each.glibc, each.gpu) for each in orders] == [
        ("x86_64", (2, 36), False),
        ("aarch64", (2, 31), True),
    ]
    assert [each.output for each in orders] == [Path(), Path("x.squashfs")]
    assert [each.cache for each in orders] == [None, Path("c")]


def test_a_cluster_file_names_the_machines_and_options_say_otherwise(run, recipe, orders):
    Path("clusters").mkdir()
    shipped = Path(launcher.__file__).parents[1] / "batch_templates/clusters/example.yaml"
    own = "architecture: aarch64\nglibc: '2.31'\n"
    lines = shipped.read_text().splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith(("architecture:", "glibc:")))
    Path("clusters/example.yaml").write_text(own + text)
    cluster = ("--cluster", "clusters/example.yaml")
    assert run(recipe, *cluster)[0] == 0
    assert run(recipe, *cluster, "--glibc", "2.28", "--arch", "x86_64", "--no-gpu")[0] == 0
    assert [(each.arch, each.glibc) for each in orders] == [("aarch64", (2, 31)), ("x86_64", (2, 28))]
    assert not orders[1].gpu


def test_the_cache_may_be_named_by_a_variable(run, recipe, orders, monkeypatch):
    monkeypatch.setenv("LAUNCHER_CACHE", "/caches/x")
    run(recipe)
    assert orders[0].cache == Path("/caches/x")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Name one recipe"),
        (("jupyterlab", "python-science"), "Name one recipe"),
        (("none",), "There is no recipe 'none'"),
        (("jupyterlab", "--glibc", "new"), "'new' is not a version of glibc"),
        (("jupyterlab", "--arch", "riscv64"), "riscv64"),
        (("jupyterlab", "--code-server", "none.tar.gz"), "does not exist"),
        (("jupyterlab", "--uarch", "zen2"), "--uarch goes with --backend stackinator"),
        (("jupyterlab", "--build-dir", "x"), "--build-dir goes with --backend stackinator"),
        (("jupyterlab", *STACKINATOR), "needs --uarch"),
        (("jupyterlab", *STACKINATOR, "--uarch", "zen2"), "needs --system"),
        (("jupyterlab", *STACKINATOR, "--uarch", "zen2", "--system", "."), "needs --build-dir"),
        (
            (
                *("jupyterlab", *STACKINATOR, "--uarch", "zen2", "--system", ".", "--build-dir", "x"),
                *("--arch", "x86_64"),
            ),
            "--uarch names the processors",
        ),
        (
            ("jupyterlab", *STACKINATOR, "--uarch", "zen9", "--system", ".", "--build-dir", "x"),
            "zen9",
        ),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_what_does_not_go_together_is_a_wrong_command_line(run, recipe, orders, arguments, words):
    code, out, said = run(*arguments)
    assert (code, out, orders) == (2, "", [])
    assert words in said


def test_stackinator_builds_for_what_the_uarch_is(run, recipe, orders):
    told = ("--uarch", "gh200", "--system", ".", "--build-dir", "x", "--recipe-version", "3")
    assert run("jupyterlab", *STACKINATOR, *told)[0] == 0
    assert (orders[0].arch, orders[0].gpu, orders[0].spack.version) == ("aarch64", True, 3)


@pytest.mark.parametrize("error", [CheckFailed, BuildFailed, MissingPart])
def test_errors_have_their_exit_codes_and_no_traceback(run, recipe, monkeypatch, error):
    def build(order, progress):
        raise error("No.", why="Because.", todo="Go.")

    monkeypatch.setattr(steps, "build", build)
    assert error.exit_code == {CheckFailed: 7, BuildFailed: 10, MissingPart: 5}[error]
    assert run(recipe, "--json") == (error.exit_code, "", "Error: No.\nBecause.\nGo.\n")


@pytest.mark.parametrize("check", [(), ("--check",)])
def test_mistakes_are_told_all_at_once_for_people_and_programs(run, recipe, orders, check):
    Path("small/image.yaml").write_text((BROKEN / "image.yaml").read_text())
    expected = (BROKEN / "expected.txt").read_text().replace("recipe/", "small/")
    assert run(recipe, *check) == (3, "", expected)
    code, out, said = run(recipe, "--json", *check)
    problems = json.loads(out)["problems"]
    assert (code, said, len(problems)) == (3, "", len(expected.splitlines()))
    assert {"file": "small/image.yaml", "line": 3, "column": 8, "key": "mount"}.items() <= problems[
        2 + 1
    ].items()
    assert orders == []


def test_all_shipped_recipes_are_right(run, orders):
    code, out, _ = run("--check")
    assert (code, out.count(": ok\n"), orders) == (0, len(recipe_names()), [])
    code, out, _ = run("--check", "--json", "jupyterlab")
    assert (code, json.loads(out)["problems"]) == (0, [])
