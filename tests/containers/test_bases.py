"""The base images of these tests are shaped like those that containers begin with."""

from __future__ import annotations

import subprocess

import pytest


def run(image, *command, code=0):
    """Run a command in a container without a network; return what was said."""
    how = ["podman", "run", "--rm", "--network=none", "--pull=never", image]
    said = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run([*how, *command], check=False, **said)
    assert done.returncode == code, done.stdout
    return done.stdout


def test_debians_has_no_python_and_no_certificates(bases, engine):
    assert run(bases.debian, "find", "/etc/ssl", "/usr/bin/python3", code=1).count("No such file") == 2


def test_each_has_the_empty_directory_of_its_system_where_others_mount(bases, engine):
    for image in bases:
        assert run(image, "find", "/mnt").endswith("/mnt\n")


def test_nvidias_shows_a_banner_and_computes_with_its_own_torch(bases, engine):
    said = run(
        bases.ngc, "python3", "-c", "import torch; print(torch.__version__, torch.ones(3).sum().item())"
    )
    assert "== PyTorch ==" in said
    assert said.endswith("nv25.06 3.0\n")


def test_nvidias_pip_keeps_what_is_pinned(bases, engine):
    assert "No broken requirements found." in run(bases.ngc, "pip", "check")
    refused = run(bases.ngc, "pip", "install", "--no-index", "tornado>6.2", code=1)
    assert "(constraint) tornado==6.2" in refused


def test_one_lacks_nothing_but_the_kernel(bases, engine):
    said = run(bases.without_ipykernel, "pip", "check", code=1)
    assert said.endswith("\nnotebook 6.4.13 requires ipykernel, which is not installed.\n")


@pytest.mark.parametrize("program", ["buildah", "podman"])
def test_an_image_comes_back_from_the_registry(program, bases, registry):
    name = f"{registry}/{program}:1"
    for command in (["push", "--quiet", bases.debian, name], ["pull", "--quiet", name], ["rmi", name]):
        subprocess.run([program, *command], check=True)
