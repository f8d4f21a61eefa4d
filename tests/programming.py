"""A programming environment on disk: an image's directory as it is when mounted, and virtual environments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PYTHON = os.path.realpath(sys.executable)
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


def make_image(
    mount: Path, views: dict[str, dict], *, name: str = "prgenv-gnu", default: str | None = None
) -> Path:
    """Make an image's directory: view → its `values`, as in `meta/env.json`."""
    (mount / "meta").mkdir(parents=True)
    described = {
        "name": name,
        "mount": str(mount),
        "default-view": default,
        "views": {view: {"env": {"values": values}} for view, values in views.items()},
    }
    (mount / "meta/env.json").write_text(json.dumps(described))
    return mount


def make_view(root: Path, *packages: str, path: tuple[str, ...] = (), python: str = PYTHON) -> dict:
    """Make a view with a Python, and packages that hold nothing; return its `values`."""
    folder = root / "bin"
    folder.mkdir(parents=True)
    for name in ("python3", f"python{VERSION}"):
        (folder / name).symlink_to(python)
    site = root / "site-packages"
    make_packages(site, *packages)
    return {
        "list": {
            "PATH": [{"op": "prepend", "value": [str(folder)]}],
            "PYTHONPATH": [{"op": "prepend", "value": [str(site), *path]}],
        },
        "scalar": {"VIEW": root.name},
    }


def make_packages(site: Path, *packages: str) -> None:
    """Make packages that hold nothing."""
    for package in packages:
        (site / package).mkdir(parents=True)
        (site / package / "__init__.py").touch()


def make_venv(path: Path, *packages: str, base: str = PYTHON) -> Path:
    """Make a real virtual environment without pip; return the directory of its packages."""
    subprocess.run([base, "-m", "venv", "--without-pip", path], check=True, env={})
    site = path / f"lib/python{VERSION}/site-packages"
    make_packages(site, *packages)
    return site


def make_program(path: Path, shell: str = "exit 0") -> Path:
    """Make a program of a few lines of shell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{shell}\n")
    path.chmod(0o755)
    return path


def make_kernelspec(
    folder: Path, name: str, *command: str, title: str, language: str, **more: object
) -> Path:
    """Put a kernelspec below a directory of kernelspecs; return its own."""
    directory = folder / name
    directory.mkdir(parents=True)
    described = {"argv": list(command), "display_name": title, "language": language, **more}
    (directory / "kernel.json").write_text(json.dumps(described))
    return directory
