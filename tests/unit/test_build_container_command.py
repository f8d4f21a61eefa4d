"""`launcher build container`: what it is told, what it says, and how it ends."""

import functools
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from small_recipe import small_recipe

import launcher.cli
from launcher.builder.container import build as steps
from launcher.builder.container.order import BuiltContainer
from launcher.builder.container.recipe import container_names
from launcher.builder.provenance import Verified
from launcher.builder.target import own_arch
from launcher.errors import BuildFailed, CheckFailed, MissingPart

ID, DIGEST = "1a" * 32, f"sha256:{'2b' * 32}"
PINNED = f"registry.example.org/base/image:1.0@{DIGEST}"


@pytest.fixture
def orders(monkeypatch):
    """What was ordered; nothing is built."""
    orders = []

    def build(order, progress):
        orders.append(order)
        progress.step("Building the container")
        sqsh = Path("small-1.0-x86_64.sqsh").absolute() if order.sqsh else None
        if sqsh:
            sqsh.write_bytes(bytes(1_500_000))
        return BuiltContainer(
            "small",
            "1.0",
            order.arch,
            order.engine.name,
            order.tag or "localhost/small:1.0",
            ID,
            DIGEST if order.push else None,
            sqsh,
            Path("/out/small.sbom.cdx.json"),
            Path("/out/small.provenance.json"),
            PINNED,
            False,
            1.23,
            Verified(15, ran=order.arch == own_arch(), glibc=(2, 36)),
        )

    monkeypatch.setattr(steps, "build", build)
    return orders


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe, and engines that are there but do nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAUNCHER_CACHE", raising=False)
    small = small_recipe(tmp_path / "small")
    (small / "container.yaml").write_text(f"name: small\nbase: {PINNED}\ntools: .\n")
    (small / "Dockerfile").write_text(f"ARG BASE_IMAGE={PINNED}\nFROM ${{BASE_IMAGE}}\n")
    (small / ".containerignore").touch()
    for name in ("podman", "docker"):
        path = tmp_path / "programs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\nexit 1\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    return "./small"


@pytest.fixture
def run(command):
    """Run the command line; return its exit code, and what it said to both ends."""
    return functools.partial(command, "build", "container")


def test_help_tells_examples_and_exit_codes(run):
    code, out, _ = run("--help")
    assert code == 0
    assert "launcher build container pytorch --base nvcr.io/nvidia/pytorch:25.04-py3" in out
    for each in ("0 when", "1 if", "2 for", "3 when", "5 when", "7 when", "10 when"):
        assert each in " ".join(out.split())


def completed(typed):
    environment = {
        **os.environ,
        "_LAUNCHER_COMPLETE": "bash_complete",
        "COMP_WORDS": f"launcher build container {typed}",
        "COMP_CWORD": str(len(typed.split()) + 2),
    }
    done = CliRunner().invoke(launcher.cli.cli, prog_name="launcher", env=environment)
    return done.output.split()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("py", ["plain,pytorch"]),
        ("none", []),
        ("pytorch --engine d", ["plain,docker"]),
        ("pytorch --format s", ["plain,sqsh"]),
        ("pytorch --arch a", ["plain,aarch64"]),
        ("--inter", ["plain,--interpreter"]),
    ],
)
def test_shells_complete_names_and_options(typed, offered):
    assert completed(typed) == offered


def test_it_says_what_was_built_and_its_steps_apart(run, recipe, orders):
    code, out, said = run(recipe)
    assert (code, said) == (0, "Building the container\n")
    assert out == f"localhost/small:1.0  {ID[:12]}\nBuilt in 1 s; 15 checks hold.\n"


def test_the_digest_in_the_registry_and_the_file_are_told(run, recipe, orders):
    tag = "registry.example.org/a/small:1"
    code, out, _ = run(recipe, "--tag", tag, "--push", "--format", "sqsh")
    assert code == 0
    assert out.splitlines()[:2] == [f"{tag}@{DIGEST}  {ID[:12]}", "small-1.0-x86_64.sqsh  1.5 MB"]


def test_one_that_could_not_be_tried_is_said_to_be_so(run, recipe, orders):
    foreign = {"x86_64": "aarch64", "aarch64": "x86_64"}[own_arch()]
    assert "Its programs were not run" in run(recipe, "--arch", foreign)[1]


def test_json_is_one_object_and_nothing_else(run, recipe, orders):
    code, out, _ = run(recipe, "--json", "--engine", "docker")
    assert code == 0
    assert json.loads(out) == {
        "name": "small",
        "version": "1.0",
        "arch": own_arch(),
        "engine": "docker",
        "image": "localhost/small:1.0",
        "id": ID,
        "digest": None,
        "sqsh": None,
        "sbom": "/out/small.sbom.cdx.json",
        "provenance": "/out/small.provenance.json",
        "base": PINNED,
        "unchanged": False,
        "seconds": 1.2,
        "verified": {"checks": 15, "ran": True},
    }


def test_what_is_not_said_is_the_recipes_or_usual(run, recipe, orders):
    assert run(recipe)[0] == 0
    (order,) = orders
    assert (order.engine.name, order.base, order.arch) == ("podman", PINNED, own_arch())
    assert order[4:] == (None, False, False, Path(), None, None, None)


def test_what_is_said_is_ordered(run, recipe, orders, tmp_path):
    archive = tmp_path / "archive.tar.gz"
    archive.touch()
    given = {
        "--engine": "docker",
        "--base": "debian",
        "--tag": "example.org/a/b:1",
        "--arch": "aarch64",
        "--format": "sqsh",
        "--code-server": str(archive),
        "--interpreter": str(archive),
        "--output": "out",
        "--cache": "cache",
    }
    assert run(recipe, "--push", *(each for pair in given.items() for each in pair))[0] == 0
    (order,) = orders
    assert (order.recipe.container.name, order.engine.name) == ("small", "docker")
    assert order[2:] == (
        *("aarch64", "debian", "example.org/a/b:1", True, True),
        *(Path("out"), archive, archive, Path("cache")),
    )


def test_the_cache_may_be_named_by_a_variable(run, recipe, orders, monkeypatch):
    monkeypatch.setenv("LAUNCHER_CACHE", "/caches/x")
    run(recipe)
    assert orders[0].cache == Path("/caches/x")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Name one container"),
        (("jupyterlab", "pytorch"), "Name one container"),
        (("none",), "There is no recipe 'none'"),
        (("./programs",), "holds no container.yaml"),
        (("./small", "--push"), "--push needs a name that begins with a registry"),
        (("./small", "--tag", "a b"), "'a b' is no name of an image"),
        (("./small", "--tag", "-x"), "'-x' is no name of an image"),
        (("./small", "--base", "--privileged"), "'--privileged' is no name of an image"),
        (("./small", "--base", "a;id"), "'a;id' is no name of an image"),
        (("./small", "--arch", "riscv64"), "riscv64"),
        (("./small", "--engine", "lxc"), "lxc"),
        (("./small", "--format", "tar"), "tar"),
        (("./small", "--code-server", "none.tar.gz"), "does not exist"),
        (("./small", "--output", "small/verify"), "is a file"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_what_makes_no_sense_is_a_wrong_command_line(run, recipe, orders, arguments, words):
    code, out, said = run(*arguments)
    assert (code, out, orders) == (2, "", [])
    assert words in said


def test_an_engine_that_is_not_installed_is_told(run, recipe, orders):
    code, _, said = run(recipe, "--engine", "buildah")
    assert (code, orders) == (5, [])
    assert said.startswith("Error: buildah is not installed.\n")


@pytest.mark.parametrize("error", [CheckFailed, BuildFailed, MissingPart])
def test_errors_have_their_exit_codes_and_no_traceback(run, recipe, monkeypatch, error):
    def build(order, progress):
        raise error("No.", why="Because.", todo="Go.")

    monkeypatch.setattr(steps, "build", build)
    assert error.exit_code == {CheckFailed: 7, BuildFailed: 10, MissingPart: 5}[error]
    assert run(recipe, "--json") == (error.exit_code, "", "Error: No.\nBecause.\nGo.\n")


@pytest.mark.parametrize("check", [(), ("--check",)])
def test_mistakes_are_told_all_at_once_for_people_and_programs(run, recipe, orders, check):
    Path("small/container.yaml").write_text("name: small\nbase: debian\ntools: .\nmount: opt\n")
    code, out, said = run(recipe, *check)
    assert (code, out, orders) == (3, "", [])
    assert [each.split(": ")[:2] for each in said.splitlines()] == [
        ["small/container.yaml:2:7", "base"],
        ["small/container.yaml:4:8", "mount"],
    ]
    code, out, said = run(recipe, "--json", *check)
    problems = json.loads(out)["problems"]
    assert (code, said, len(problems)) == (3, "", 2)
    assert {"file": "small/container.yaml", "line": 2, "column": 7, "key": "base"}.items() <= problems[
        0
    ].items()


class TestCheck:
    def test_all_shipped_recipes_are_right(self, run, orders):
        code, out, _ = run("--check")
        assert (code, orders) == (0, [])
        assert [Path(line.removesuffix(": ok")).name for line in out.splitlines()] == container_names()

    def test_json_names_the_recipes_and_no_problem(self, run, recipe, orders):
        code, out, _ = run("--check", "--json", recipe, "jupyterlab")
        told = json.loads(out)
        assert (code, told["problems"]) == (0, [])
        assert [Path(each).name for each in told["recipes"]] == ["small", "jupyterlab"]

    def test_mistakes_of_several_are_all_told(self, run, recipe, orders):
        (Path(recipe) / "Dockerfile").unlink()
        Path("other").mkdir()
        Path("other/container.yaml").write_text("7")
        code, _, said = run("--check", recipe, "jupyterlab", "./other")
        assert code == 3
        assert said.splitlines()[0] == "small/Dockerfile:1:1: is missing"
        assert said.splitlines()[1].startswith("other/container.yaml:1:1: ")

    def test_it_needs_no_engine(self, run, recipe, orders, monkeypatch):
        monkeypatch.setenv("PATH", "/nowhere")
        assert run("--check", recipe)[0] == 0

    @pytest.mark.parametrize(
        "given",
        [
            *(["--engine", "podman"], ["--base", "debian"], ["--tag", "a"], ["--arch", "x86_64"], ["--push"]),
            *(["--format", "sqsh"], ["--output", "."], ["--cache", "x"], ["--code-server", __file__]),
            ["--interpreter", "."],
        ],
        ids=lambda given: given[0],
    )
    def test_what_belongs_to_builds_is_refused_by_its_name(self, run, recipe, orders, given):
        code, out, said = run("--check", recipe, *given)
        assert (code, out) == (2, "")
        assert f"--check builds nothing: {given[0]} has no meaning with it." in said
