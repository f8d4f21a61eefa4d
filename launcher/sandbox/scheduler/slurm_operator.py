"""What whoever runs a Slurm can do to it, and what can happen to it."""

from collections.abc import Callable, Coroutine
from typing import Any

from launcher.errors import SandboxError
from launcher.sandbox.scheduler.slurm_daemons import SlurmDaemons
from launcher.sandbox.unix_users import caller

_CONTROLLER = "slurmctld"
_ACCOUNTING = "slurmdbd"
_RESERVATION = "maintenance"

Ask = Callable[..., Coroutine[Any, Any, str]]


class SlurmOperator:
    """The operator of one private Slurm. What Slurm refuses raises `SandboxError` with its words.

    Args:
        daemons: The daemons.
        ask: Runs a command of Slurm and returns what it wrote.
    """

    def __init__(self, daemons: SlurmDaemons, ask: Ask) -> None:
        self._daemons = daemons
        self._ask = ask

    async def stop_controller(self) -> None:
        """End slurmctld. Running jobs go on."""
        await self._daemons.end(_CONTROLLER)

    async def start_controller(self) -> None:
        """Start slurmctld again; it answers when this returns."""
        await self._daemons.start_again(_CONTROLLER)
        await self._daemons.until(lambda: self._answers("sinfo"))

    async def pause_controller(self) -> None:
        """Have slurmctld take requests, and answer none until it is resumed."""
        await self._daemons.signal(_CONTROLLER, "STOP")

    async def resume_controller(self) -> None:
        """Have slurmctld carry out what it was asked in the meantime."""
        await self._daemons.signal(_CONTROLLER, "CONT")

    async def stop_accounting(self) -> None:
        """End slurmdbd. Jobs are taken and run; slurmctld keeps what accounting has to know."""
        await self._daemons.end(_ACCOUNTING)

    async def start_accounting(self) -> None:
        """Start slurmdbd again; it answers when this returns."""
        await self._daemons.start_again(_ACCOUNTING)
        await self._daemons.until(lambda: self._answers("sacctmgr", "show", "cluster"))

    async def kill_node(self, name: str) -> None:
        """Have a node crash: slurmd and all of its jobs' processes are gone at once.

        Slurm is told so, as its own patience with silent nodes is longer than a test's.
        """
        await self._daemons.kill(f"slurmd {name}")
        await self._update("NodeName", name, State="DOWN", Reason="crashed")

    async def start_node(self, name: str) -> None:
        """Start a node again; it takes jobs when this returns."""
        await self._daemons.start_again(f"slurmd {name}")
        usable = ("sinfo", "--noheader", f"--nodes={name}", "--states=idle,mixed,allocated", "--format=%N")
        await self._daemons.until(lambda: self._answers(*usable, words=name))

    async def requeue(self, job_id: str) -> None:
        """Have a running job start again later, with the same id, though its script may not want that."""
        await self._update("JobId", job_id, Requeue="1")
        await self._ask("scontrol", "requeue", job_id)

    async def hold(self, job_id: str) -> None:
        """Keep a pending job from starting."""
        await self._ask("scontrol", "hold", job_id)

    async def release(self, job_id: str) -> None:
        """Let a held job start."""
        await self._ask("scontrol", "release", job_id)

    async def cancel(self, job_id: str) -> None:
        """Cancel anybody's job."""
        await self._ask("scancel", job_id)

    async def set_partition(self, name: str, state: str) -> None:
        """Open or close a partition.

        Args:
            name: The partition.
            state: "UP"; "DOWN" keeps jobs from starting, "DRAIN" from being taken, "INACTIVE" both.
        """
        await self._update("PartitionName", name, State=state)

    async def begin_maintenance(self, start: str = "now", minutes: int = 60) -> None:
        """Reserve all nodes, but leave what runs on them alone.

        Args:
            start: When it begins: "now", "now+10minutes". Jobs that would last into it wait.
            minutes: How long it lasts.
        """
        when = (f"StartTime={start}", f"Duration={minutes}")
        what = ("Nodes=ALL", f"Users={caller().pw_name}", "Flags=MAINT,IGNORE_JOBS")
        await self._ask("scontrol", "create", "reservation", f"ReservationName={_RESERVATION}", *when, *what)

    async def end_maintenance(self) -> None:
        """Remove the reservation."""
        await self._ask("scontrol", "delete", f"ReservationName={_RESERVATION}")

    async def _update(self, kind: str, name: str, **values: str) -> None:
        await self._ask(
            "scontrol", "update", f"{kind}={name}", *(f"{key}={value}" for key, value in values.items())
        )

    async def _answers(self, *question: str, words: str = "") -> bool:
        try:
            return words in await self._ask(*question)
        except SandboxError:
            return False
