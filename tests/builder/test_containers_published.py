"""Containers that engines built, kept, and pushed to a registry by the scripts of the pipelines."""

import json
import os
from pathlib import Path

import pytest
from pipelines import Scripts
from registry import PASSWORD, USER, registry
from support import program

from launcher.builder.container.recipe import containers_directory

# As `launcher build container` tells of an image that is in the engine's storage.
LAUNCHER = """#!/bin/sh
set -e
while [ $# -gt 0 ]; do [ "$1" = --output ] && output=$2; shift; done
container=$(buildah from scratch)
buildah copy --quiet "$container" /etc/hostname /etc/hostname > /dev/null
id=$(buildah commit --quiet --rm --format oci "$container")
echo "{\\"engine\\": \\"$ENGINE\\", \\"id\\": \\"$id\\"}"
"""


def storage(directory: Path, host: str) -> dict[str, str]:
    """Make a place for an engine's images; return the environment that names it."""
    directory.mkdir()
    texts = {
        # It needs no particular file system.
        "storage": f'[storage]\ndriver="vfs"\nrunroot="{directory}/run"\ngraphroot="{directory}/root"\n',
        "registries": f'[[registry]]\nlocation = "{host}"\ninsecure = true\n',
    }
    for name, text in texts.items():
        (directory / f"{name}.conf").write_text(text)
    return {f"CONTAINERS_{name.upper()}_CONF": str(directory / f"{name}.conf") for name in texts}


@pytest.mark.parametrize("engine", ["buildah", "podman"])
def test_what_one_machine_built_is_pushed_by_another_as_it_is(engine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program(engine)
    program("buildah")
    (tmp_path / "token").write_text(PASSWORD)
    usual = {"RECIPE": "hub", "TAG": "v7", "ARCH": os.uname().machine, "ENGINE": engine, "ARCHIVE": "yes"}
    ci = Scripts(containers_directory() / "ci", tmp_path, {"launcher": LAUNCHER}, usual)
    with registry() as held:
        ci("build", **storage(tmp_path / "here", held.host))
        there = {
            **storage(tmp_path / "there", held.host),
            "REGISTRY": held.host,
            "NAMESPACE": "somebody",
            "REGISTRY_USER": USER,
            "REGISTRY_TOKEN": str(tmp_path / "token"),
        }
        tag = f"v7-{os.uname().machine}"
        first, second = (ci.run("publish", **there) for _ in range(2))
        (path,) = Path("images").rglob("image.json")
        built = json.loads(path.read_text())
        manifest = json.loads(held.manifests["somebody/hub", tag])
        assert first.returncode == 0, first.stderr
        assert first.stdout == f"{held.host}/somebody/hub:{tag}@{built['digest']}\n"
        assert manifest["config"]["digest"] == f"sha256:{built['id']}"
        assert set(held.blobs) >= {each["digest"] for each in manifest["layers"]}
        assert ("somebody/hub", built["digest"]) in held.manifests
        # It is there: nothing is loaded or pushed again.
        assert (second.returncode, second.stdout, second.stderr) == (0, first.stdout, "")
