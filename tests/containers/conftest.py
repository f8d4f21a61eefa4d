"""A container engine, what its images begin with, and a registry."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import container_bases
import container_engine
import pytest

from launcher.sandbox.state import state_directory


class Bases(NamedTuple):
    """The names of base images in the engine's storage: `container_bases` tells of each.

    Attributes:
        debian: A small system.
        ngc: As NVIDIA's PyTorch.
        without_ipykernel: The same, but no kernel.
    """

    debian: str
    ngc: str
    without_ipykernel: str


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give time to make them to whichever test is the first to need base images."""
    for item in items:
        if {"bases", "build"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def engine_place() -> Iterator[Path]:
    """A directory on a disk, which is gone in the end."""
    with state_directory(None) as directory:
        yield directory


@pytest.fixture(scope="session")
def engine(engine_place: Path) -> Iterator[container_engine.Engine]:
    """Buildah and Podman with a storage of their own, for this process and those that it starts."""
    with container_engine.running(engine_place / "engine") as engine:
        yield engine


@pytest.fixture(scope="session")
def bases(engine: container_engine.Engine) -> Bases:
    """The base images; what is there from an earlier run is not made again."""
    engine.read(container_bases.store())
    return Bases(container_bases.DEBIAN, container_bases.NGC, container_bases.NGC_WITHOUT_IPYKERNEL)


@pytest.fixture(scope="session")
def registry(engine: container_engine.Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry at 127.0.0.1, empty, which the engine may use: what names of its images begin with."""
    with container_engine.registry(tmp_path_factory.mktemp("registry")) as place:
        engine.trust(place)
        yield place


Build = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def build(engine: container_engine.Engine, bases: Bases, engine_place: Path) -> Build:
    """Build a container as admins do, and return what is told of it; what was asked before is there."""
    output = engine_place / "output"
    output.mkdir()
    told: dict[tuple[str, ...], dict[str, Any]] = {}

    def build(*arguments: str) -> dict[str, Any]:
        if arguments not in told:
            done = container_engine.launcher_build(*arguments, "--output", str(output), "--json")
            # What it says as it goes is in the output of the test.
            assert done.returncode == 0, done.args
            told[arguments] = json.loads(done.stdout)
        return told[arguments]

    return build


@pytest.fixture(scope="session")
def pytorch(build: Build, bases: Bases) -> dict[str, Any]:
    """PyTorch on a base like NVIDIA's, as image and as squashfs file."""
    return build("pytorch", "--base", bases.ngc, "--format", "sqsh")


@pytest.fixture(scope="session")
def jupyterlab(build: Build, bases: Bases) -> dict[str, Any]:
    """JupyterLab on a small Debian."""
    return build("jupyterlab", "--base", bases.debian)


@pytest.fixture(scope="session")
def hub(build: Build, bases: Bases) -> dict[str, Any]:
    """The hub on a small Debian."""
    return build("hub", "--base", bases.debian)
