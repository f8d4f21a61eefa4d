"""`/compute/{system}/jobs`: submit, look, cancel."""

import asyncio
import re
import time
from collections.abc import Collection, Coroutine, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from launcher.errors import SandboxError
from launcher.sandbox.accounts import Account
from launcher.sandbox.faults import Answer
from launcher.sandbox.gateway.answers import TIMED_OUT, Call, Refusal, invalid
from launcher.sandbox.gateway.shapes import has_ended, job_metadata, job_status
from launcher.sandbox.scheduler import CancelRefused, Job, Scheduler, Submission, SubmitRefused

_T = TypeVar("_T")

_WINDOWS = {"1h": 3600, "8h": 8 * 3600, "24h": 24 * 3600, "3d": 3 * 86400, "7d": 7 * 86400}
_LIMIT_REACHED = re.compile(r"\b(QOS|Assoc)(Max|Min)\w*Limit\b", re.IGNORECASE)


class _Description(BaseModel):
    """What is to be run, under the API's names or their snake case."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True)

    working_directory: str
    script: str
    env: dict[str, str] = {"F7T_version": "v2.0.0"}
    name: str | None = None
    account: str | None = None
    partition: str | None = None
    reservation: str | None = None
    constraints: str | None = None
    standard_input: str | None = None
    standard_output: str | None = None
    standard_error: str | None = None


class _Submission(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    job: _Description


class Jobs:
    """The jobs of the system.

    Args:
        scheduler: Runs them.
        accounts: Log-in name → account.
        operators: Service accounts that may cancel anybody's job.
        command_timeout: Seconds that the scheduler has for an answer.

    Attributes:
        private: Whether nobody sees another's jobs, operators included: what they may cancel, they know from
            elsewhere.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        accounts: Mapping[str, Account],
        operators: Collection[str],
        command_timeout: float,
    ) -> None:
        self._scheduler = scheduler
        self._accounts = accounts
        self._operators = operators
        self.private = False
        self._timeout = command_timeout
        self._questions: set[asyncio.Task[Any]] = set()

    async def submit(self, call: Call) -> Answer:
        """`POST …/jobs`: sbatch, with the script on its standard input."""
        job = _described(call.body)
        if not job.script:
            # The real sbatch waits for a script until it is killed.
            await asyncio.sleep(self._timeout)
            raise Refusal(408, TIMED_OUT)
        submission = Submission(
            job.script,
            working_directory=job.working_directory,
            environment=job.env,
            name=job.name,
            project=job.account,
            partition=job.partition,
            reservation=job.reservation,
            constraints=job.constraints,
            standard_input=job.standard_input,
            standard_output=job.standard_output,
            standard_error=job.standard_error,
        )
        try:
            submit = self._scheduler.submit(call.account, submission)
            return Answer(201, {"jobId": await self._in_time(submit)})
        except TimeoutError:
            raise Refusal(500, "('Channel not open for sending',)") from None
        except SubmitRefused as error:
            status = 403 if _LIMIT_REACHED.search(error.what) else 500
            raise Refusal(status, _unexpected(error.exit_status, error.what)) from None
        except SandboxError as error:
            raise Refusal(500, _unexpected(1, error.what)) from None

    async def list(self, call: Call) -> Answer:
        """`GET …/jobs`: the caller's (`allusers`: all) that live, or ended within `time_window`."""
        everybody = call.flag("allusers")
        project, name = call.query.get("account"), call.query.get("name")
        window = call.query.get("time_window", "24h")
        if window not in _WINDOWS:
            raise invalid("query.time_window", f"Input should be one of {', '.join(_WINDOWS)}")
        since = time.time() - _WINDOWS[window]
        return self._shown(
            *(
                job
                for job in await self._asked(self._scheduler.jobs())
                if (everybody or job.account_name == call.user)
                and self._shows(job, call)
                and (project is None or job.project == project)
                and (name is None or job.name == name)
                and (not has_ended(job) or (job.end or 0) >= since)
            )
        )

    async def info(self, call: Call) -> Answer:
        """`GET …/jobs/{job}`: anybody's, unless they are private."""
        if not call.job_id.isdigit():
            words = _unexpected(1, f"sacct: fatal: Bad job/step specified: {call.job_id}\n")
            raise Refusal(500, "Error executing Slurm command.", caused_by=[words])
        job = await self._asked(self._scheduler.job(call.job_id))
        if job is None or not self._shows(job, call):
            raise Refusal(404, "Job not found.")
        return self._shown(job)

    async def metadata(self, call: Call) -> Answer:
        """`GET …/jobs/{job}/metadata`: the job's files, and for its owner the script."""
        try:
            job = await self._in_time(self._scheduler.known(call.job_id))
        except (SandboxError, TimeoutError):
            raise Refusal(500, "()") from None
        if job is None or not self._shows(job, call):
            raise Refusal(404, "Job not found.")
        return Answer(200, {"jobs": [job_metadata(job, own=job.account_name == call.user)]})

    async def cancel(self, call: Call) -> Answer:
        """`DELETE …/jobs/{job}`: scancel."""
        try:
            account = call.person or await self._owner(call)
            await self._in_time(self._scheduler.cancel(account, call.job_id))
        except CancelRefused as error:
            raise Refusal(500, _unexpected(error.exit_status, error.what)) from None
        except (SandboxError, TimeoutError):
            raise Refusal(408, TIMED_OUT) from None
        return Answer(204)

    async def _owner(self, call: Call) -> Account:
        job = await self._in_time(self._scheduler.known(call.job_id))
        if job and call.user in self._operators and job.account_name in self._accounts:
            return self._accounts[job.account_name]
        why = "Access/permission denied" if job else "Invalid job id specified"
        raise CancelRefused(
            f"scancel: Terminating job {call.job_id}\n"
            f"scancel: error: Kill job error on job id {call.job_id}: {why}\n",
            exit_status=210 if job else 0,
        )

    def _shows(self, job: Job, call: Call) -> bool:
        return not self.private or job.account_name == call.user

    def _shown(self, *jobs: Job) -> Answer:
        if any("|" in job.name for job in jobs):
            # The real server splits the lines of sacct at bars.
            raise Refusal(500, "Error executing Slurm command.")
        return Answer(200, {"jobs": [job_status(job, self._scheduler.cluster_name) for job in jobs]})

    async def _asked(self, question: Coroutine[Any, Any, _T]) -> _T:
        try:
            return await self._in_time(question)
        except SandboxError as error:
            raise Refusal(500, "Error executing Slurm command.", caused_by=[error.what]) from None
        except TimeoutError:
            raise Refusal(500, "Error executing Slurm command.", caused_by=[TIMED_OUT]) from None

    async def _in_time(self, question: Coroutine[Any, Any, _T]) -> _T:
        # What takes too long goes on, as a command does whose ssh channel was closed: a job may still come.
        task = asyncio.create_task(question)
        self._questions.add(task)
        task.add_done_callback(self._answered)
        async with asyncio.timeout(self._timeout):
            return await asyncio.shield(task)

    def _answered(self, task: asyncio.Task[Any]) -> None:
        self._questions.discard(task)
        if not task.cancelled():
            task.exception()


def _described(body: bytes) -> _Description:
    try:
        return _Submission.model_validate_json(body).job
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(["body", *map(str, first["loc"])])
        raise invalid(where, first["msg"]) from None


def _unexpected(exit_status: int, words: str) -> str:
    return f"Unexpected Slurm command response. exit_status:{exit_status} std_err:{words}"
