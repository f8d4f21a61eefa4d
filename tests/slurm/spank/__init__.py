"""A SPANK plugin with the options of production sites, built from its C source where a test wants it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support import missing, program

_SOURCE = Path(__file__).with_name("options.c")


def build(directory: Path) -> Path:
    """Build the plugin with gcc and Slurm's headers; return its file."""
    gcc = program("gcc")
    header = subprocess.run(
        [gcc, "-E", "-x", "c", "-"],
        input="#include <slurm/spank.h>\n",
        text=True,
        capture_output=True,
        check=False,
    )
    if header.returncode:
        missing("slurm/spank.h is not installed", "as root: apt-get install libslurm-dev libc6-dev")
    plugin = directory / "options.so"
    warnings = ("-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror")
    subprocess.run([gcc, *warnings, "-shared", "-fPIC", "-o", plugin, _SOURCE], check=True)
    return plugin
