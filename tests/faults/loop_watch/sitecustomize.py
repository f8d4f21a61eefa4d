"""Loaded by a hub under test as it starts: notes the long steps of its event loop, and whose code they are.

Each is a line of JSON in `steps.jsonl` of the working directory:

- `ended`: when (seconds since the epoch).
- `worked`, `stood`: seconds for which the loop's thread worked, and for which it waited for anything but a
  processor. Neither holds the collection of garbage.
- `ours`: the share of looks at it that found the launcher's code under way, and `where`: which most often.
- `database`: whether most of them found that code to wait for the hub's database.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

_NOTED = 0.02
_LOOK_EVERY = 0.004
_OURS = f"{Path(find_spec('launcher').origin).parent}/"
_HUB = threading.main_thread()
_run_handle: Any = asyncio.Handle._run


class _Clocks:
    """Seconds that have passed for the loop's thread.

    In all; of work; ready but without a processor; collecting garbage by itself; while another thread did.
    """

    own_garbage = 0.0
    others_garbage = 0.0
    _collecting_since = 0.0
    _accounts = os.open(f"/proc/self/task/{_HUB.native_id}/schedstat", os.O_RDONLY)

    @classmethod
    def read(cls) -> tuple[float, ...]:
        worked, waited, _ = os.pread(cls._accounts, 100, 0).split()
        return (
            time.monotonic(),
            int(worked) / 1e9,
            int(waited) / 1e9,
            cls.own_garbage,
            cls.others_garbage,
        )

    @classmethod
    def collect(cls, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            cls._collecting_since = time.monotonic()
            return
        took = time.monotonic() - cls._collecting_since
        if threading.current_thread() is _HUB:
            cls.own_garbage += took
        else:
            cls.others_garbage += took


class _Step:
    """One step of the loop: what runs until it looks for news again."""

    now: _Step | None = None

    def __init__(self) -> None:
        self.began = _Clocks.read()
        self.seen: list[tuple[str, bool]] = []

    def end(self) -> None:
        passed, worked, waited, own_garbage, others_garbage = (
            after - before for before, after in zip(self.began, _Clocks.read(), strict=True)
        )
        if passed < _NOTED:
            return
        ours = [where for where, _ in self.seen if where]
        noted = {
            "ended": time.time(),
            "worked": max(worked - own_garbage, 0.0),
            "stood": max(passed - worked - waited - others_garbage, 0.0),
            "ours": len(ours) / len(self.seen) if self.seen else 0.0,
            "where": max(ours, key=ours.count) if ours else "",
            "database": sum(database for _, database in self.seen) * 2 > len(self.seen),
        }
        with Path("steps.jsonl").open("a") as file:
            file.write(json.dumps(noted) + "\n")


def _run(handle: asyncio.Handle) -> None:
    step = _Step.now = _Step()
    try:
        _run_handle(handle)
    finally:
        _Step.now = None
        step.end()


def _watch() -> None:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -20)
    while _HUB.is_alive():
        time.sleep(_LOOK_EVERY)
        step = _Step.now
        frame = sys._current_frames().get(_HUB.ident or 0)
        if step is not None and step is _Step.now:
            step.seen.append(_whose(frame))


def _whose(frame: FrameType | None) -> tuple[str, bool]:
    """Return our innermost frame, if there is one, and whether it is the database that it waits for."""
    database = False
    while frame:
        file = frame.f_code.co_filename
        if file.startswith(_OURS):
            return f"{file.removeprefix(_OURS)} {frame.f_code.co_qualname}", database
        database = database or "/sqlalchemy/" in file
        frame = frame.f_back
    return "", database


if "jupyterhub" in sys.orig_argv:
    gc.callbacks.append(_Clocks.collect)
    asyncio.Handle._run = _run  # type: ignore[method-assign]
    threading.Thread(target=_watch, daemon=True).start()
