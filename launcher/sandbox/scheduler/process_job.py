"""One batch script as a plain process of its account, from its submission to its end."""

import asyncio
import contextlib
import grp
import math
import os
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from launcher.sandbox.accounts import Account, login_environment
from launcher.sandbox.scheduler.directives import Directives
from launcher.sandbox.scheduler.keeper import LAUNCH_FAILURE
from launcher.sandbox.scheduler.kept import Kept
from launcher.sandbox.scheduler.model import Job, JobState
from launcher.sandbox.scheduler.notation import expand

CLUSTER = "sandbox"
NODE = "nid001"
_FIRST_PRIORITY = 4294901760
# What Slurm's accounting shows as the result of a job that was ended so, whatever its script returned.
_RESULTS = {JobState.TIMEOUT: 0, JobState.NODE_FAIL: 0, JobState.PREEMPTED: 0, JobState.OUT_OF_MEMORY: -125}
# The job's files are opened with the rights of its account. As with slurmstepd, a job whose files can't be
# had fails, and one whose directory can't be entered starts in /tmp.
_START = f"""
command exec <"$1" >"$2" && if [ "$2" = "$3" ]; then exec 2>&1; else command exec 2>"$3"; fi ||
    kill -{LAUNCH_FAILURE} $$
cd -- "$4" || cd /tmp
shift 4
exec "$@"
"""


@dataclass
class ProcessJob:
    """One job as it goes on; moments are seconds since the epoch.

    Attributes:
        id: The job id.
        account: Its owner.
        asked: What its script asks for.
        script: The script.
        environment: What `--export` adds to its environment.
        directory: Where it starts.
        partition: Its partition.
        limit: Its time limit in seconds.
        submitted: When it was submitted.
        state: Its state; the last one is set as soon as the end has been decided on.
        reason: Why it waits.
        start: When it started.
        end: When it was over, or its end was decided on.
        result: Exit status of its shell, or minus the signal that ended it.
        begin: The moment before which it does not start.
        restarts: How often it was put back into the queue.
        ended_by: Number of the user who cancelled it.
        task: Runs `execute`, from when it has got a slot.
    """

    id: str
    account: Account
    asked: Directives
    script: str
    environment: dict[str, str]
    directory: str
    partition: str
    limit: float
    submitted: float
    state: JobState = JobState.PENDING
    reason: str = "None"
    start: float | None = None
    end: float | None = None
    result: int = 0
    begin: float = 0.0
    restarts: int = 0
    ended_by: int = 0
    task: asyncio.Task[None] | None = None
    _kept: Kept | None = None
    _requeued: bool = False

    async def execute(self, spool: Path, kill_wait: float) -> None:
        """Run the script; on return none of its processes is left.

        Args:
            spool: Directory that doesn't exist yet, in one that the account can pass.
            kill_wait: Seconds from SIGTERM to SIGKILL.
        """
        start = ("/bin/sh", "-c", _START, "sh", *self._files(NODE), self.directory)
        try:
            script = await asyncio.to_thread(self._keep_script, spool)
            began = time.time()
            self._kept = await Kept.start(
                [*start, *self.asked.interpreter, str(script)],
                environment=self._variables(began),
                kill_wait=kill_wait,
                user=_user(self.account),
            )
            if self.end is None:
                self.state, self.start = JobState.RUNNING, began
            else:
                self._kept.end()
            self.result = await self._watched(self._kept)
        except OSError:
            self.result = -LAUNCH_FAILURE
        if self._requeued:
            self.result, self._kept, self._requeued = 0, None, False
        else:
            self.finish(JobState.FAILED if self.result else JobState.COMPLETED)
        await asyncio.to_thread(shutil.rmtree, spool, ignore_errors=True)

    def finish(self, state: JobState, *, at_once: bool = False, by: int = 0) -> None:
        """Decide on the job's end, unless it has one, and have its processes ended.

        Args:
            state: Its last state.
            at_once: Whether they are killed, so that not even a trap of the script runs.
            by: Number of the user who cancels it.
        """
        if self.end is None:
            self.state, self.end, self.ended_by = state, time.time(), by
            if self._kept and at_once:
                self._kept.kill()
            elif self._kept:
                self._kept.end()

    def requeue(self, begin: float) -> None:
        """Kill a running job's processes; it waits again, to run the same script under the same id.

        Args:
            begin: The moment before which it does not start.
        """
        assert self._kept
        self.state, self.reason, self.begin = JobState.PENDING, "BeginTime", begin
        self.start, self.restarts, self._requeued = None, self.restarts + 1, True
        self._kept.kill()

    @property
    def waits(self) -> bool:
        """Whether it has neither started nor ended."""
        return self.end is None and (self.task is None or self.task.done())

    def shown(self, expected_start: float | None = None) -> Job:
        """The job as FirecREST shows it.

        Args:
            expected_start: When a pending job may start.
        """
        waits = self.state is JobState.PENDING
        cancelled = self.state is JobState.CANCELLED
        never_ran = self.end is not None and self.start is None
        start = expected_start if waits else self.start
        end = self.end or (start + self.limit if start else math.inf)
        result = 0 if never_ran and cancelled else _RESULTS.get(self.state, self.result)
        standard_input, standard_output, standard_error = self._files()
        return Job(
            id=self.id,
            name=self.asked.name,
            account_name=self.account.name,
            unix_user=self.account.unix_name,
            group=_group(self.account.gid),
            project=self.asked.project,
            partition=self.partition,
            state=f"CANCELLED by {self.ended_by}" if cancelled else str(self.state),
            reason=self.reason,
            exit_code=None if waits else max(result, 0),
            signal=None if waits else max(-result, 0),
            nodes="" if waits else "None assigned" if never_ran else NODE,
            allocation_nodes=0 if never_ran else self.asked.nodes,
            # Slurm counts in whole seconds, so the difference of its times is exact.
            elapsed=int(self.end or time.time()) - int(self.start) if self.start else 0,
            start=int(start) if start else None,
            end=None if math.isinf(end) else int(end),
            limit=None if math.isinf(self.limit) else int(self.limit),
            working_directory=self.directory,
            priority=_FIRST_PRIORITY - int(self.id),
            submitted=int(self.submitted),
            script=self.script,
            standard_input=standard_input,
            standard_output=standard_output,
            standard_error=standard_error,
        )

    async def _watched(self, kept: Kept) -> int:
        loop = asyncio.get_running_loop()
        limit = loop.call_later(self.limit, self.finish, JobState.TIMEOUT)
        warning = loop.create_task(self._warn(kept))
        try:
            return await kept.wait()
        finally:
            limit.cancel()
            warning.cancel()

    async def _warn(self, kept: Kept) -> None:
        """Send the signal that the script wants some time before its limit."""
        if self.asked.signal:
            await asyncio.sleep(self.limit - self.asked.signal_time)
            await kept.signal(self.asked.signal)

    def _keep_script(self, spool: Path) -> Path:
        """Write the script where nobody but its owner can read it."""
        spool.mkdir(mode=0o700)
        script = spool / "slurm_script"
        script.touch(mode=0o600)
        script.write_bytes(self.script.encode(errors="replace"))
        for path in (script, spool):
            os.chown(path, self.account.uid, self.account.gid)
        return script

    def _files(self, node: str | None = None) -> tuple[str, str, str]:
        output = self.asked.standard_output or "slurm-%j.out"
        patterns = (self.asked.standard_input or "/dev/null", output, self.asked.standard_error or output)
        names = {"job_id": self.id, "name": self.asked.name, "user": self.account.unix_name}
        standard_input, standard_output, standard_error = (
            os.path.join(self.directory, expand(pattern, node=node, **names))  # noqa: PTH118 - kept as written
            for pattern in patterns
        )
        return standard_input, standard_output, standard_error

    def _variables(self, began: float) -> dict[str, str]:
        """An ssh log-in's environment, what was exported, and Slurm's own variables."""
        slurm = {
            "CLUSTER_NAME": CLUSTER,
            "CPUS_ON_NODE": "1",
            "JOBID": self.id,
            "JOB_GID": str(self.account.gid),
            "JOB_ID": self.id,
            "JOB_NAME": self.asked.name,
            "JOB_NODELIST": NODE,
            "JOB_NUM_NODES": "1",
            "JOB_PARTITION": self.partition,
            "JOB_START_TIME": str(int(began)),
            "JOB_UID": str(self.account.uid),
            "JOB_USER": self.account.unix_name,
            "NNODES": "1",
            "NODEID": "0",
            "NODELIST": NODE,
            "PROCID": "0",
            "SUBMIT_DIR": str(self.account.home),
            "SUBMIT_HOST": socket.gethostname(),
        }
        if not math.isinf(self.limit):
            slurm["JOB_END_TIME"] = str(int(began + self.limit))
        if self.restarts:
            slurm["RESTART_COUNT"] = str(self.restarts)
        if self.asked.project:
            slurm["JOB_ACCOUNT"] = self.asked.project
        return (
            login_environment(self.account)
            | self.environment
            | {f"SLURM_{name}": value for name, value in slurm.items()}
            | {"SLURMD_NODENAME": NODE, "HOSTNAME": NODE, "ENVIRONMENT": "BATCH"}
        )


def _group(gid: int) -> str:
    with contextlib.suppress(KeyError):
        return grp.getgrgid(gid).gr_name
    return str(gid)


def _user(account: Account) -> tuple[int, int, list[int]] | None:
    if account.uid == os.geteuid():
        return None
    return account.uid, account.gid, os.getgrouplist(account.unix_name, account.gid)
