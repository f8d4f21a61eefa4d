"""The images of the recipes that come with the launcher, built as sites build them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

PLACE = Path(sys.prefix) / "images"
"""Where they stay, with what builds keep for the next ones."""


class Built(NamedTuple):
    """The images.

    Attributes:
        tools: JupyterLab.
        science: The programming environment.
    """

    tools: Path
    science: Path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give time to build to whichever test is the first to need images."""
    for item in items:
        if "built" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def built() -> Built:
    """The finished images; what has not changed since the last run is not built again."""
    return Built(_build("jupyterlab"), _build("python-science"))


def _build(recipe: str) -> Path:
    PLACE.mkdir(exist_ok=True)
    command = [Path(sys.executable).with_name("launcher"), "build", "uenv", recipe, "--json"]
    places = ["--output", PLACE, "--cache", PLACE / "cache"]
    done = subprocess.run([*command, *places], check=False, stdout=subprocess.PIPE, text=True)
    # What it says as it goes is in the output of the test.
    assert done.returncode == 0, f"launcher build uenv {recipe}"
    return Path(json.loads(done.stdout)["image"])
