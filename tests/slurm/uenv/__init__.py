"""What uenv brings to a cluster: stand-ins of its programs, and of what its Slurm plugin does."""

from __future__ import annotations

import subprocess
from pathlib import Path

from slurm import spank
from support import program

_SOURCES = Path(__file__).parent
_WARNINGS = ("-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror")


def build_programs(directory: Path) -> None:
    """Put squashfs-mount, set-uid root, and uenv into a directory."""
    _compile(directory / "squashfs-mount", "squashfs_mount.c", "mounts.c").chmod(0o4755)
    uenv = directory / "uenv"
    uenv.write_bytes((_SOURCES / "uenv.sh").read_bytes())
    uenv.chmod(0o755)


def build_plugins(directory: Path, opt: Path) -> str:
    """Build the SPANK plugins.

    Args:
        directory: Where they go.
        opt: What is `/opt` in containers.

    Returns:
        What Slurm's plugstack.conf says of them.
    """
    options = spank.build(directory)
    mounts = _compile(directory / "uenv.so", "-shared", "-fPIC", "plugin.c", "mounts.c")
    return f"required {options}\nrequired {mounts} {opt}\n"


def _compile(target: Path, *arguments: str) -> Path:
    subprocess.run([program("gcc"), *_WARNINGS, "-o", target, *arguments], cwd=_SOURCES, check=True)
    return target
