"""The spawner as it stands, which notes when it comes to a step: the hub that is measured runs this one."""

from __future__ import annotations

import os
import time
from pathlib import Path

from launcher.spawner import LauncherSpawner
from launcher.spawner.start import Start

NOTES = "BENCH_NOTES"
"""The variable that names the file of notes."""


def _note(name: str) -> None:
    with Path(os.environ[NOTES]).open("a") as file:
        file.write(f"{name} {time.time()}\n")


class NotedSpawner(LauncherSpawner):
    """Notes when what its user asks for is checked, and when the script is rendered and the record saved."""

    def _submitted(self) -> Start:
        _note("checked")
        start = super()._submitted()
        _note("rendered")
        return start
