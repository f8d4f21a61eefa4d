"""When a job ends, asked of Slurm: an admin, or its user, may have moved its end since it began."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping

_PATIENCE = 3
"""Seconds for which Slurm is asked."""

_LEFT = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")
_NO_LIMIT, _OVER = "UNLIMITED", "INVALID"

_HIDING = ("SQUEUE_", "SLURM_CLUSTERS")
"""Beginnings of the names of a user's defaults for squeue, which could hide the job."""


def asked(job_id: str, environment: Mapping[str, str] = os.environ) -> float | None:
    """Return when a job ends by what squeue says now, in seconds since 1970; None if it has no limit.

    Args:
        job_id: The job.
        environment: Where squeue is found.

    Raises:
        LookupError: If Slurm does not tell.
    """
    try:
        done = subprocess.run(
            ["squeue", "--noheader", f"--jobs={job_id}", "--format=%L"],
            env={name: value for name, value in environment.items() if not name.startswith(_HIDING)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LookupError(str(error)) from None
    return end_of(done.stdout.decode(errors="replace").strip())


def end_of(left: str) -> float | None:
    """Return when a job ends that has so much time left, in squeue's word for it: `squeue(1)`, `%L`.

    Raises:
        LookupError: If that is no time.
    """
    if found := _LEFT.fullmatch(left):
        days, hours, minutes, seconds = (int(each or 0) for each in found.groups())
        return time.time() + ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if left == _OVER:
        return time.time()
    if left == _NO_LIMIT:
        return None
    raise LookupError(left)
