"""Faults that tests put into the gateway's answers.

A fault stands around the handling of one call: it may let the call through or not, wait, and change what
comes back. Of the faults that match a call the one that was put in first acts.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, Self

from launcher.sandbox.gateway.answers import Answer, Dropped, Refusal

Handle = Callable[[], Awaitable[Answer]]
"""Carries the call out."""

Act = Callable[["Fault", Handle], Awaitable[Answer]]


class Fault:
    """One fault; as a context manager it is removed at the end.

    Attributes:
        hits: How many calls it acted on.
        acted: Set with the first.
        removed: Set once it acts no more.
    """

    def __init__(self, act: Act, method: str, path: str, times: int | None) -> None:
        self.hits = 0
        self.acted = asyncio.Event()
        self.removed = asyncio.Event()
        self._act = act
        self._method = method
        self._path = path
        self._times = times

    def remove(self) -> None:
        """Let calls through from now on, and hang up on those that hang."""
        self.removed.set()

    def matches(self, method: str, template: str, path: str) -> bool:
        """Whether it acts on a call, given its path and the template of that path."""
        return (
            not self.removed.is_set()
            and (self._times is None or self.hits < self._times)
            and fnmatchcase(method, self._method)
            and (template == self._path or fnmatchcase(path, self._path))
        )

    async def act(self, handle: Handle) -> Answer:
        """Act on one call."""
        self.hits += 1
        self.acted.set()
        return await self._act(self, handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


class Faults:
    """The faults of one gateway.

    Every method that adds one takes `method` (`*`, `GET`), `path` (a template such as
    `/compute/{system}/jobs/{job}`, or a glob over the path that was asked for) and `times` (how many calls,
    None until it is removed). With `after`, the call is carried out and only its answer is lost: a
    submit that fails this way has submitted.
    """

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def find(self, method: str, template: str, path: str) -> Fault | None:
        """The fault that acts on a call."""
        return next((fault for fault in self._faults if fault.matches(method, template, path)), None)

    def clear(self) -> None:
        """Remove all."""
        for fault in self._faults:
            fault.remove()
        self._faults.clear()

    def add(self, act: Act, *, method: str = "*", path: str = "*", times: int | None = None) -> Fault:
        """A fault of one's own: `act` gets it and a function that carries the call out."""
        fault = Fault(act, method, path, times)
        self._faults.append(fault)
        return fault

    def hang(self, *, after: bool = False, **where: Any) -> Fault:
        """No answer; the connection is closed when the fault is removed."""

        async def act(fault: Fault, handle: Handle) -> Answer:
            if after:
                await handle()
            await fault.removed.wait()
            raise Dropped

        return self.add(act, **where)

    def drop(self, *, after: bool = False, **where: Any) -> Fault:
        """The connection closes without an answer."""

        async def act(_: Fault, handle: Handle) -> Answer:
            if after:
                await handle()
            raise Dropped

        return self.add(act, **where)

    def delay(self, seconds: float, **where: Any) -> Fault:
        """The right answer, late."""

        async def act(_: Fault, handle: Handle) -> Answer:
            await asyncio.sleep(seconds)
            return await handle()

        return self.add(act, **where)

    def answer(self, answer: Answer, *, after: bool = False, **where: Any) -> Fault:
        """Another answer: a proxy's HTML page, half a JSON document."""

        async def act(_: Fault, handle: Handle) -> Answer:
            if after:
                await handle()
            return answer

        return self.add(act, **where)

    def error(self, status: int, message: str, *, after: bool = False, **where: Any) -> Fault:
        """An error in FirecREST's shape."""
        return self.answer(Refusal(status, message).answer(None), after=after, **where)

    def truncate(self, share: float = 0.5, **where: Any) -> Fault:
        """The connection closes after this share of the body."""

        async def act(_: Fault, handle: Handle) -> Answer:
            return replace(await handle(), cut=share)

        return self.add(act, **where)

    def empty(self, **where: Any) -> Fault:
        """Every list in the answer is empty."""

        async def act(_: Fault, handle: Handle) -> Answer:
            answer = await handle()
            if not isinstance(answer.body, dict):
                return answer
            body = {key: [] if isinstance(value, list) else value for key, value in answer.body.items()}
            return replace(answer, body=body)

        return self.add(act, **where)

    def jobs(self, change: Callable[[dict[str, Any]], dict[str, Any]], **where: Any) -> Fault:
        """Every job in the answer, changed."""

        async def act(_: Fault, handle: Handle) -> Answer:
            answer = await handle()
            if not isinstance(answer.body, dict) or "jobs" not in answer.body:
                return answer
            return replace(answer, body={"jobs": [change(job) for job in answer.body["jobs"]]})

        return self.add(act, **where)

    def state(self, state: str, reason: str = "None", **where: Any) -> Fault:
        """Every job in the answer is in this state."""
        return self.jobs(
            lambda job: {**job, "status": {**job["status"], "state": state, "stateReason": reason}}, **where
        )

    def backwards(self, **where: Any) -> Fault:
        """Accounting's row of defaults, seen for 1 to 4 s after a start: a running job looks pending."""
        return self.jobs(_row_of_defaults, **where)


def _row_of_defaults(job: dict[str, Any]) -> dict[str, Any]:
    if job["status"]["state"] != "RUNNING":
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
