"""Slurm, or plain processes; or whatever else a caller has."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from launcher.errors import LauncherError
from launcher.sandbox.accounts import Account
from launcher.sandbox.scheduler.model import PARTITIONS, Scheduler
from launcher.sandbox.scheduler.process import ProcessScheduler
from launcher.sandbox.scheduler.slurm import SlurmScheduler

SchedulerMaker = Callable[[Path, Mapping[str, int]], Scheduler]
"""Makes a scheduler for a run's state directory and its partitions."""


async def choose(
    kind: str | SchedulerMaker,
    state: Path,
    accounts: Iterable[Account],
    partitions: Mapping[str, int] = PARTITIONS,
    *,
    accounting: bool = False,
) -> Scheduler:
    """Choose the scheduler of a run.

    Args:
        kind: "slurm", "process", or "auto": Slurm where it is installed and answers, else plain processes,
            whose `note` tells why it is them. Or what makes another one.
        state: State directory of the run, which the accounts can pass.
        accounts: Those who submit jobs.
        partitions: Their names, the default one first, and the longest job of each in seconds.
        accounting: Whether Slurm has accounting; plain processes never have.

    Returns:
        A scheduler to start and to stop. To see whether Slurm answers, "auto" has started it already.
    """
    if not isinstance(kind, str):
        return kind(state, partitions)
    note = ""
    if kind != "process":
        slurm = SlurmScheduler(state, accounts, partitions, accounting=accounting)
        if kind == "slurm":
            return slurm
        try:
            await slurm.start()
        except LauncherError as error:
            note = f"Jobs run as plain processes: {error.what}"
        else:
            return slurm
    return ProcessScheduler(state, note=note, partitions=partitions)
