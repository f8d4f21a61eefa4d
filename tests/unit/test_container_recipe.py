"""Recipes of containers: what is wrong with one is told at once; and what may be the name of an image."""

import re
import shutil
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from small_recipe import small_recipe

from launcher.builder.check import check_container
from launcher.builder.container import recipe as module
from launcher.builder.container.recipe import (
    ContainerRecipe,
    container_names,
    containers_directory,
    find_container,
    reference,
    tag,
)
from launcher.errors import InvalidFile, UsageError

DIGEST = f"sha256:{'0123456789abcdef' * 4}"
BASE = f"registry.example.org/base/image:1.0@{DIGEST}"
CONTAINER = f"""\
name: small
base: {BASE}
tools: .
mount: /opt/small
kernel: true
adds: [/etc/some]
"""
DOCKERFILE = (
    "# Built by the launcher.\nARG BASE_IMAGE=registry.example.org/base/image:1.0\nFROM ${BASE_IMAGE}\n"
)

WRONG = """\
name: Small Image
description: "two\\nlines"
base: registry.example.org/base/image:1.0
tools: ../jupyterlab
mont: /opt/small
mount: opt/small
kernel: python3
adds: [etc/some]
"""
TOLD = """\
1:7: name: must be small letters and digits, with '.', '_' and '-' between them (it is 'Small Image')
2:14: description: must be one line of up to 500 characters (it is 'two\\nlines')
3:7: base: must be an image with its digest: registry/name:tag@sha256:… (it is \
'registry.example.org/base/image:1.0')
4:8: tools: must be the name of an image recipe, or '.' for that in this directory (it is '../jupyterlab')
5:1: mont: is not a key that goes here; did you mean mount?
6:8: mount: must be an absolute path of letters, digits, '_', '.' and '-' (it is 'opt/small')
7:9: kernel: must be true or false (it is 'python3')
8:8: adds.0: must be an absolute path of letters, digits, '_', '.' and '-' (it is 'etc/some')
"""


@pytest.fixture
def container(tmp_path):
    """A container whose tools are the image recipe beside it."""
    directory = small_recipe(tmp_path / "small")
    (directory / "container.yaml").write_text(CONTAINER)
    (directory / "Dockerfile").write_text(DOCKERFILE)
    (directory / ".containerignore").write_text("*\n")
    return directory


def problems(directory):
    """Return what is wrong with a container, without the directory that each line begins with."""
    with pytest.raises(InvalidFile) as error:
        check_container(directory)
    return [str(each).removeprefix(f"{directory}/") for each in error.value.problems]


def changed(directory, old, new, name="container.yaml"):
    path = directory / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_what_it_says_is_read(container):
    read = ContainerRecipe.load(container)
    assert (read.container.base, read.container.kernel, read.container.adds) == (
        BASE,
        True,
        ("/etc/some",),
    )
    assert set(read.files) == {"container.yaml", "Dockerfile", ".containerignore"}
    check_container(container)


def test_the_tools_lie_where_the_container_says_or_else_where_their_recipe_does(container):
    assert ContainerRecipe.load(container).tools.image.mount == "/opt/small"
    changed(container, "mount: /opt/small\n", "")
    assert ContainerRecipe.load(container).tools.image.mount == "/small-tools"


def test_the_tools_may_be_a_recipe_that_comes_with_the_launcher(container):
    changed(container, "tools: .", "tools: jupyterlab")
    read = ContainerRecipe.load(container)
    assert (read.tools.image.name, read.tools.image.mount) == ("jupyterlab", "/opt/small")
    assert read.files["verify"] == container / "verify"


def test_all_wrong_values_are_told_at_once_with_their_places(container):
    (container / "container.yaml").write_text(WRONG)
    assert problems(container) == [f"container.yaml:{line}" for line in TOLD.splitlines()]


def test_what_every_container_says_is_needed(container):
    (container / "container.yaml").write_text("description: nothing\n")
    assert [each.partition(": ")[2] for each in problems(container)] == [
        "base: is needed",
        "name: is needed",
        "tools: is needed",
    ]


@pytest.mark.parametrize("mount", ["/usr", "/usr/local/tools", "/etc", "/tmp", "/root", "/home"])
def test_tools_hide_nothing_of_the_base(container, mount):
    changed(container, "/opt/small", mount)
    assert problems(container) == [
        "container.yaml:4:8: mount: is the system's; allowed is a place of its own, such as /opt/launcher"
    ]


@pytest.mark.parametrize(("line", "kernel"), [("kernel: true", True), ("kernel: false", False), ("", False)])
def test_the_bases_python_is_a_kernel_where_that_is_said(container, line, kernel):
    changed(container, "kernel: true", line)
    assert ContainerRecipe.load(container).container.kernel is kernel


@pytest.mark.parametrize("value", ["python3", "'true'", "1", "/usr/bin/python3"])
def test_a_kernel_is_yes_or_no(container, value):
    changed(container, "kernel: true", f"kernel: {value}")
    (told,) = problems(container)
    assert told.startswith("container.yaml:5:9: kernel: must be true or false")


def test_all_that_is_missing_or_does_not_agree_is_told_at_once(container):
    for name in (".containerignore", "verify"):
        (container / name).unlink()
    changed(container, "image:1.0", "image:2.0", "Dockerfile")
    changed(container, "tools: .", "tools: none")
    told = problems(container)
    assert told[:2] == [".containerignore:1:1: is missing", "verify:1:1: is missing"]
    assert told[2] == f"Dockerfile:2:1: names another base than container.yaml: {BASE}"
    assert told[3].startswith("container.yaml:3:8: tools: is no image recipe; there are jupyterlab, ")


def test_a_dockerfile_begins_with_the_same_base_for_who_builds_without_the_launcher(container):
    changed(container, "image:1.0\n", f"image:1.0@{DIGEST}\n", "Dockerfile")
    check_container(container)
    changed(container, "ARG BASE_IMAGE=", "ARG BASE=", "Dockerfile")
    assert problems(container) == ["Dockerfile:1:1: does not begin with ARG BASE_IMAGE="]


def test_mistakes_of_tools_of_its_own_are_told(container):
    changed(container, "prefix: env/small", "prefix: /env", "image.yaml")
    (told,) = problems(container)
    assert told.startswith("image.yaml:4:9: prefix: must be a path below the mount")


def test_a_verify_of_its_own_is_looked_at(container):
    changed(container, "tools: .", "tools: jupyterlab")
    (container / "verify").write_text("if True\n    pass\n")
    (told,) = problems(container)
    assert told.startswith("verify:1:8: is no Python: ")


@pytest.mark.parametrize("name", container_names())
def test_the_shipped_recipes_are_right(name):
    check_container(find_container(name))
    assert ContainerRecipe.load(find_container(name)).container.name == name


@pytest.mark.parametrize("name", container_names())
def test_the_shipped_dockerfiles_put_the_tools_where_they_are_made_for(name):
    recipe = ContainerRecipe.load(find_container(name))
    mount = re.escape(recipe.tools.image.mount)
    assert re.search(rf"(?m)^COPY tools/ {mount}/$", recipe.files["Dockerfile"].read_text())


def test_a_recipe_is_named_or_is_the_path_of_a_directory(container, monkeypatch):
    assert find_container("pytorch") == containers_directory() / "pytorch"
    monkeypatch.chdir(container)
    assert find_container(".") == Path()
    assert find_container("../small") == Path("../small")


@pytest.mark.parametrize("named", ["small", "", "./none", "../jupyterlab", "ci", "/etc"])
def test_what_is_neither_is_refused(named, container, monkeypatch):
    monkeypatch.chdir(container.parent)
    with pytest.raises(UsageError) as error:
        find_container(named)
    assert "hub, jupyterlab, pytorch" in error.value.why or "holds no container.yaml" in error.value.what


def test_an_installed_launcher_has_the_recipes_in_its_package(tmp_path, monkeypatch):
    shutil.copytree(containers_directory(), tmp_path / "containers")
    monkeypatch.setattr(module.launcher, "__file__", str(tmp_path / "__init__.py"))
    assert containers_directory() == tmp_path / "containers"
    assert container_names() == ["hub", "jupyterlab", "pytorch"]


@pytest.mark.parametrize(
    "text",
    [
        "debian",
        "docker.io/library/debian:bookworm-slim",
        "nvcr.io/nvidia/pytorch:25.06-py3",
        "localhost/jupyterlab:4.6.6",
        "127.0.0.1:5000/a/b/c:1.0-rc.1_x",
        "registry.example.org:5000/some__what/with.dots-and--dashes:Tag",
        BASE,
        "ab12" * 16,
    ],
)
def test_names_of_images_are_let_through(text):
    assert reference(text) == text


HOSTILE = [
    "-v",
    "--help",
    "a b",
    "a\n",
    "\na",
    "a;id",
    "$(id)",
    "`id`",
    "a|b",
    "a&b",
    "a'",
    'a"',
    "a\\b",
    "a\0",
]


@pytest.mark.parametrize(
    "text",
    [
        *HOSTILE,
        *(
            "",
            ".",
            "/",
            "a/",
            "/a",
            "a//b",
            "a/../b",
            "a..b/c",
            "a.-b/c",
            "A",
            "a/B",
            "a:",
            "a:-x",
            "a@sha256:00",
            "a@",
            "ä/b",
        ),
        *("http://example.org/a", "me:word@example.org/a", "oci-archive:/etc/passwd", "docker://a/b"),
        *(f"{BASE}\n", "a:" + "b" * 129, f"a@{DIGEST.upper()}", "a*b", "a?", "~a", "{a,b}", "#a", "%24a"),
    ],
)
def test_what_is_no_name_of_an_image_is_refused_and_shown_in_plain_characters(text):
    with pytest.raises(UsageError) as error:
        reference(text)
    assert error.value.what.isprintable()
    assert "registry.example.org" in error.value.todo


PLAIN = "abz019ABZ.-_:/@"


@given(st.one_of(st.text(), st.text(PLAIN), st.from_regex(module._BASE)))
@example(f"{BASE}\n")
def test_what_is_let_through_is_one_plain_word_that_is_no_option(text):
    try:
        let_through = reference(text)
    except UsageError:
        return
    assert let_through == text
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*", text, re.ASCII)
    assert not {"", ".", ".."} & set(text.partition("@")[0].split("/"))


@given(
    st.from_regex(module._BASE, fullmatch=True),
    st.sampled_from(" \t\n\r\0;|&$`'\"\\()<>*?[]{}~#!^%"),
    st.data(),
)
def test_one_character_of_a_shell_is_enough_to_refuse_a_name(text, character, data):
    place = data.draw(st.integers(0, len(text)))
    with pytest.raises(UsageError):
        reference(text[:place] + character + text[place:])


@pytest.mark.parametrize("text", ["registry.example.org/hub:1", "localhost:5000/hub", "10.0.0.1/a/b:2"])
def test_a_name_that_begins_with_a_registry_can_be_pushed(text):
    assert tag(text, pushed=True) == text


@pytest.mark.parametrize("text", ["hub:1", "hub", "jupyter/hub:1", "some__what/hub"])
def test_a_name_without_a_registry_is_for_an_image_that_stays_here(text):
    assert tag(text, pushed=False) == f"localhost/{text}"


@pytest.mark.parametrize("text", ["localhost/hub:1", "localhost:5000/hub", "registry.example.org/hub"])
def test_one_that_engines_have_already_stays(text):
    assert tag(text, pushed=False) == text


@pytest.mark.parametrize("text", ["hub:1", "hub", "jupyter/hub:1", "localhost/hub:1"])
def test_what_stays_here_is_not_pushed(text):
    with pytest.raises(UsageError, match="begins with no registry"):
        tag(text, pushed=True)


@pytest.mark.parametrize("text", ["Hub", "Hub/a", "hub/A:1", "example.org/Hub", "a..b/hub:1", "a./hub"])
def test_what_no_engine_takes_is_refused_before_anything_is_built(text):
    with pytest.raises(UsageError, match="is no name of an image"):
        tag(text, pushed=False)


def test_the_digest_of_an_image_is_not_a_part_of_its_name():
    with pytest.raises(UsageError, match="holds a digest"):
        tag(f"registry.example.org/hub@sha256:{'0' * 64}", pushed=False)
