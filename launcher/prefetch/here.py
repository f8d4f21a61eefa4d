"""Staging on the machine itself."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
from collections.abc import Callable, Sequence

from launcher.check.steps import to_the_end
from launcher.clusters import Cluster
from launcher.errors import MissingPart
from launcher.prefetch.report import Outcome, Told
from launcher.prefetch.script import script
from launcher.prefetch.wanted import Kind, Wanted

_END_WITHIN = 10.0


async def stage_here(
    cluster: Cluster, wanted: Sequence[Wanted], on_change: Callable[[Told], None]
) -> list[Outcome]:
    """Stage images into the repository that the cluster file names, or that of whoever runs this.

    Args:
        cluster: The cluster file.
        wanted: The images.
        on_change: Called whenever something new is known.

    Raises:
        MissingPart: If a program is not there that the images need.
    """
    kinds = {each.kind for each in wanted}
    _need("bash")
    if Kind.LABEL in kinds:
        _need("uenv")
    if Kind.EDF in kinds:
        _need("srun")
    told = Told(list(wanted), secrets.token_hex(8))
    process = await asyncio.create_subprocess_exec(
        *("bash", "--norc", "--noprofile", "-c", script(cluster, wanted, told.mark)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        # Ctrl-C is for whoever reads this: it ends the script by a signal that Bash hands on.
        start_new_session=True,
    )
    assert process.stdout
    try:
        async for line in process.stdout:
            if told.hear(line.decode(errors="replace")):
                on_change(told)
        code = await process.wait()
    finally:
        if process.returncode is None:
            await to_the_end(_end(process))
    return told.all(f"the script that stages images ended before, with exit code {code}")


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_END_WITHIN):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _need(name: str) -> None:
    if not shutil.which(name):
        raise MissingPart(
            f"{name} is not on this machine.",
            todo="Run this where the cluster's users log in, or through FirecREST: launcher prefetch --help",
        )
