"""Faults that tests put into the gateway's answers: FirecREST's, Slurm's, and of what lies between."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from launcher.sandbox import faults
from launcher.sandbox.faults import Answer, Asked, Fault
from launcher.sandbox.gateway.answers import TIMED_OUT, Refusal

_JOBS = "/compute/{system}/jobs"
_JOB = f"{_JOBS}/{{job}}"
_METADATA = f"{_JOB}/metadata"
_SYSTEMS = "/status/systems"
_USERINFO = "/status/{system}/userinfo"
_NODES, _PARTITIONS = "/status/{system}/nodes", "/status/{system}/partitions"

_FAILED = "Error executing Slurm command."
_Table = Mapping[tuple[str, str], tuple[int, str]]
"""(method, path template) → status and message."""

_NO_ACCOUNTING: _Table = {("GET", path): (500, _FAILED) for path in (_JOBS, _JOB, _USERINFO)}
_NO_CONTROLLER: _Table = {
    ("GET", _JOBS): (500, _FAILED),
    ("GET", _JOB): (500, _FAILED),
    ("GET", _METADATA): (500, "()"),
    ("GET", _NODES): (500, _FAILED),
    ("GET", _PARTITIONS): (500, _FAILED),
    ("POST", _JOBS): (500, "('Channel not open for sending',)"),
    ("DELETE", _JOB): (408, TIMED_OUT),
}


class Faults(faults.Faults):
    """The faults of one gateway, where `user` is the token's `preferred_username`."""

    def error(self, status: int, message: str, *, after: bool = False, **where: Any) -> Fault:
        """An error in FirecREST's shape."""
        return self.answer(Refusal(status, message).answer(None), after=after, **where)

    # ---- what is behind FirecREST is down

    def accounting_down(self, **where: Any) -> Fault:
        """Slurm's accounting is down: no job and nobody's accounts can be told; all else works."""
        return self._refusing(_NO_ACCOUNTING, 0, **where)

    def controller_down(self, *, noticed: bool, after: float = 5, **where: Any) -> Fault:
        """Slurm's controller is down, for jobs as for answers: nothing that is asked for happens.

        Args:
            noticed: Whether FirecREST has looked at its health since: then it refuses at once.
            after: Seconds for which it waits for an answer until then.
            **where: As everywhere.
        """
        return self._unhealthy(**where) if noticed else self._refusing(_NO_CONTROLLER, after, **where)

    def ssh_busy(self, **where: Any) -> Fault:
        """The caller has more commands running than sshd allows."""

        async def act(_: Fault, call: Asked) -> Answer:
            if call.template == _SYSTEMS:
                return await call()
            return Refusal(500, "Unable to open a new SSH channel.").answer(call.user)

        return self.add(act, **where)

    def _refusing(self, table: _Table, after: float, **where: Any) -> Fault:
        async def act(_: Fault, call: Asked) -> Answer:
            refusal = table.get((call.method, call.template))
            if refusal is None:
                return await call()
            await asyncio.sleep(after)
            return Refusal(*refusal).answer(call.user)

        return self.add(act, **where)

    def _unhealthy(self, **where: Any) -> Fault:
        async def act(_: Fault, call: Asked) -> Answer:
            if call.template.startswith("/compute/"):
                system = call.path.split("/")[2]
                message = f"The scheduler service for the requested system ({system}) is unhealthy."
                return Refusal(503, message).answer(call.user)
            answer = await call()
            if call.template == _SYSTEMS and isinstance(answer.body, dict):
                systems = [_without_scheduler(system) for system in answer.body["systems"]]
                return replace(answer, body={"systems": systems})
            return answer

        return self.add(act, **where)

    # ---- answers that are wrong

    def empty(self, **where: Any) -> Fault:
        """Every list in the answer is empty."""

        async def act(_: Fault, call: Asked) -> Answer:
            answer = await call()
            if not isinstance(answer.body, dict):
                return answer
            body = {key: [] if isinstance(value, list) else value for key, value in answer.body.items()}
            return replace(answer, body=body)

        return self.add(act, **where)

    def leaving_out(self, *job_ids: str, **where: Any) -> Fault:
        """Lists of jobs hold all but these, as if they had ended long ago."""
        return self.jobs(lambda job: None if job["jobId"] in job_ids else job, **{"path": _JOBS, **where})

    def jobs(self, change: Callable[[dict[str, Any]], dict[str, Any] | None], **where: Any) -> Fault:
        """Every job in the answer, changed; one that is changed to None is not there."""

        async def act(_: Fault, call: Asked) -> Answer:
            answer = await call()
            if not isinstance(answer.body, dict) or "jobs" not in answer.body:
                return answer
            changed = [change(job) for job in answer.body["jobs"]]
            return replace(answer, body={"jobs": [job for job in changed if job is not None]})

        return self.add(act, **where)

    def state(self, state: str, reason: str = "None", **where: Any) -> Fault:
        """Every job in the answer is in this state."""

        def change(job: dict[str, Any]) -> dict[str, Any]:
            # What metadata tells of a job has no state.
            status = job.get("status")
            return {**job, "status": {**status, "state": state, "stateReason": reason}} if status else job

        return self.jobs(change, **where)

    def backwards(self, **where: Any) -> Fault:
        """Accounting's row of defaults, seen for 1 to 4 s after a start: a running job looks pending."""
        return self.jobs(_row_of_defaults, **where)


def _without_scheduler(system: dict[str, Any]) -> dict[str, Any]:
    health = [
        {**service, "healthy": False} if service["serviceType"] == "scheduler" else service
        for service in system["servicesHealth"] or []
    ]
    return {**system, "servicesHealth": health}


def _row_of_defaults(job: dict[str, Any]) -> dict[str, Any]:
    if job.get("status", {}).get("state") != "RUNNING":
        return job
    return {
        **job,
        "name": "allocation",
        "status": {"state": "PENDING", "stateReason": "None", "exitCode": 0, "interruptSignal": 0},
        "time": {**job["time"], "limit": None},
        "allocationNodes": 0,
        "group": "root",
        "partition": "",
        "workingDirectory": "",
        "priority": 0,
    }
