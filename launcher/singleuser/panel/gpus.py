"""GPUs of the session, as nvidia-smi has them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from launcher.singleuser.environment import Environments

_COMMAND = (
    "nvidia-smi",
    "--query-gpu=name,utilization.gpu,memory.used,memory.total",
    "--format=csv,noheader,nounits",
)
_PATIENCE = 5.0
_AGAIN = 10.0
_AFTER_FAILURE = 300.0
_STALE = 30.0
_MOST = 64
_LONGEST_NAME = 80
_MIB = 2**20

# Indices and UUIDs mean to nvidia-smi what they mean to CUDA; parts of a GPU, which both have too, don't.
_GPU = r"(?:\d{1,4}|GPU-[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
_GPUS = re.compile(rf"{_GPU}(?:,{_GPU})*")
_NUMBER = re.compile(r"[0-9]{1,9}")


class Gpus:
    """Asks nvidia-smi now and then, one at a time; where it is missing, fails or hangs there are no GPUs."""

    def __init__(self, environments: Environments) -> None:
        self._environments = environments
        self._known: list[dict[str, Any]] = []
        self._told = self._next = float("-inf")
        self._asking = threading.Lock()

    def read(self) -> list[dict[str, Any]]:
        """Return what is known of each GPU, as the message `use` has it, and ask anew if that is due.

        It waits for nothing: the first answer comes with a later call.
        """
        now = time.monotonic()
        if now >= self._next and self._asking.acquire(blocking=False):
            # One that can't be killed holds up neither the server nor its end.
            threading.Thread(target=self._ask, name="launcher-gpus", daemon=True).start()
        return self._known if now - self._told < _STALE else []

    def _ask(self) -> None:
        try:
            found = self._answer()
            self._known = [] if found is None else gpus(found)
            self._told = time.monotonic()
            self._next = self._told + (_AFTER_FAILURE if found is None else _AGAIN)
        finally:
            self._asking.release()

    def _answer(self) -> str | None:
        """Return what nvidia-smi prints, or None if it says nothing."""
        visible = self._environments.user.get("CUDA_VISIBLE_DEVICES")
        if visible is not None and not _GPUS.fullmatch(visible):
            return None
        selected = () if visible is None else (f"--id={visible}",)
        for environment in (self._environments.user, self._environments.server):
            if path := shutil.which(_COMMAND[0], path=environment.get("PATH") or os.defpath):
                with suppress(OSError):
                    return _printed((path, *_COMMAND[1:], *selected), environment)
                return None
        return None


def gpus(text: str) -> list[dict[str, Any]]:
    """Return what nvidia-smi has printed of each GPU; one that does not tell its memory is left out."""
    found = []
    for line in text.splitlines()[:_MOST]:
        name, *numbers = (each.strip() for each in line.rsplit(",", 3))
        used, memory, limit = (*map(_number, numbers), None, None, None)[:3]
        if name.isprintable() and memory is not None and limit:
            found.append(
                {
                    "name": name[:_LONGEST_NAME],
                    "used": None if used is None else min(used, 100),
                    "memory": memory * _MIB,
                    "limit": limit * _MIB,
                }
            )
    return found


def _printed(command: tuple[str, ...], environment: Mapping[str, str]) -> str | None:
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with process:
        try:
            # Its output fits into the pipe; a program that prints more waits, and so is ended.
            code = process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return None
        if code or process.stdout is None:
            return None
        # What it may have left behind holds the pipe open.
        os.set_blocking(process.stdout.fileno(), False)
        return os.read(process.stdout.fileno(), 2**16).decode(errors="replace")


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None
